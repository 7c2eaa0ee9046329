{
  "tool": "https://github.com/kopia/kopia",
  "buildVersion": "v0.22.3",
  "buildInfo": "-(unknown_revision)",
  "uniqueID": "GtrEM2Dr5U7XXrmnq0oywOqY4bBK3B4rTva36DpNY/A=",
  "keyAlgo": "scrypt-65536-8-1",
  "encryption": "AES256_GCM",
  "encryptedBlockFormat": "GzjiyF+BrH2SYh2xtYmmDGUkW7TH6k+Vclj+iR0ZQgFvPDRuWVY/mXNvytSYW9MPRS1xKtzU4XvVtH7JbMJe3qht4mok9UlozkBQkoaXiTbpUWN0MynfuvBNbx4A0JOyvqMUAYI27hU4JGixs3u37ks+xKk12Nts6RBXLJJ1obwANQ/Ye+JztYOWv7NL31UUiRVHT1HzhLLtcm1TnNlc3HYLLOn4HgPtUcvqir/3zjAVQ3IuyR6oxcaqOcINxb3eQoqVHEkmClbzJry5cUPFlTAbf4+70CfxYxTxI+oG62ymRc74hydwCtLbMCb0oUBd/eYimooK8H05Sw4ilG04cZbsUY29cSzDEbnvWvn1ImAgArQjeHTeyB9gNiSMyMo9NZkF7n7TOXY1uqQgmjVrRG+3iwHQXZqgPhNApmHTD7Mm741d64v8/LU7icQ1nDSDrM/vA3y6dWyS6hsf1jZzB3Cf9UjfjtcWP9WKo03yWU8/LtVJiGvSctW75uKPqQzfCr8a9uFy3iQ5/Yfyj0ffDRmaztZX6vzQ+CF09YQETZDLtRx9bNKs5wbdACHwKToum91SCD1Mk00BcTBl3w/KiLyK748NTUIxJU8mqw62rbWAogkr5KJebJKXCGyV+zLFr8jWHWRbqP+nOFhwBDlf/QBTd4HZ9NYwig8D5E89C8Ot9lYr/Ln1Sh/xzKgskHP+mxS4CISNHVFFFvBbnXC/4Cz9I+hnJziRyMRSChdDZIeEkTr7u2FEkEpq9crM6v6zKOG455jBxb+67/axo3HE+OwaRlr6tHiX5UD0+i4="
}
