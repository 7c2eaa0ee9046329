{
  "tool": "https://github.com/kopia/kopia",
  "buildVersion": "v0.22.3",
  "buildInfo": "-(unknown_revision)",
  "uniqueID": "8QGYU9IJi78RfhwvqG5wjTsYOLpG5sleQLCJc9q7jxM=",
  "keyAlgo": "scrypt-65536-8-1",
  "encryption": "AES256_GCM",
  "encryptedBlockFormat": "pwyFwa1EKdFw3eDBpttjsEgLPg4a7uop+ID64SYxg66ffZb/MSFKerQ9XN5XI79pWWUgqaAxmIyVYL5IDsFLCYsW5yeLaF7qmWpmrynvvFyWO63C9t8faTrQAiPE1UDxDWtI4Rl0+brksGdQt5s/Q+M9Q1BnSxR/COx8LNOZ0giL21q94oguYeFdxQslMSwZ5FFznXUQPxNJNKNjvrRM2xpkTr/BJqermKk+TYPxrB3NJH8Qn4QVHw1w8b5KqHtyR/RpklIzsyJd4GPjC0++IYNaPFhAy2nbEGM1ffLAZo3EQEMeDa90i/per1uCGnwyH7UVIlv9wPeYqn0/+VkRMfLCcynxMjNTvBA9mHI+P2OEhNW0abV1kJ9J2TOZUYa7HRPRv9GgKrnSaNxMaDT/Ct0esl/Ku/aVubOytGIPmk5/apScbjaVdOYa4Hg3u/vy3JY5jTr0waRB3G8Dia1mCdvhkYpVNb23Tm3FEuRiziMYv92rRYWgK2xe+mSkw9Hggq3iI2zn0GlBWcw7u9zJP4U6NnB5MZisTuKJM0PEJJM3f7BcVRWzcmNNc5fe88ycb3HzkjqtfOAA2XMRFj9wT+Ig+YoyHAzL/xtE6Rg1oEMdO7JzuzPjBgoM4e2zw7GNsilbLHIsolp9jUrDa5z2v7SZkPvkw7ri4PkFoY+FvhQGC45kmD5XM98awaX7ZlepMJdiV+9z4Fl18nZGc68NEzZej9BOLkC49jbOtoUmrkur5uzlt3Hv5thBHWdPKCWU6ialNqtNeVKfSuL+9c6Pa+Q/WjSkQ3nwMDfQ"
}
