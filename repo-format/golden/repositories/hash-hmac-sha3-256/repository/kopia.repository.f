{
  "tool": "https://github.com/kopia/kopia",
  "buildVersion": "v0.22.3",
  "buildInfo": "-(unknown_revision)",
  "uniqueID": "m/SdIcTAdMcAea8bOme1cwnvmakoWef+nzbrU6mKYVk=",
  "keyAlgo": "scrypt-65536-8-1",
  "encryption": "AES256_GCM",
  "encryptedBlockFormat": "mBk66ZWIRpzJVs2YGZtsl1xUum0cexvg8pIhOcCNYstFgwTcsQDsPnb6OVHVpxC35tYdzaPiCMbHisaI23/ptwT+ZPM7Cxrqkrw8B86jfUoRtm0iGupEocA8CyrgpxuOpdz2WAt6dsAeaaWfy5Sf7PZYM+8PyUzA6zHkqJgVnSOIRYK9xQymQJzyyMevYh91QBTPM3djo75LT30n+8TlIpczA86WYw7UIbDfgVhqVU72c1VUtMrngp2GOzliLhAzz4e85HmPHvQpJaBh97kP4jhKgxcLSTjs1Yj+IxBXE97+pcpnobc+CwLtBO/R+7+qgNoX7g4PoZO+4T93g5QusWTq5HujDWwk79CDo6r4t3otMGI/7pIA7FHb4Cq0C8wAnQHlQ4D8naPH8Rsj4EZyaLaCcMUX9cdrVikd3S3ohtUx80RfJdnZwi+jwYjT//SAexH9M4FmOmgQ0d9p/AcG5Yhw8vf1DiHHqrlim/uvPqzoieTquwQYVsGmdv5VVLvYR5eAkKWb09GnlURKq4F2dKWvN8QSZECzcLOzkYUksH9DWGn5XHiQK1UKAoKKMIRMppK3prdJLUtayfgo05uo1/E4QnZTKF5LAq7yy7AkjTQE+CPet6eNq4Z3KfOCy/brhCFA2U+73kNDcgTUJHEzpgCzUFE4iONiDe5U1DA7x6L5+8Jlbx+hcIKiN8dCZg7uL3QFX7fkjvHmRVFhxWpm+1+G172ajs7/+kJg1YjvPNyVhHd0TlZSxJa9iYsksztozxK/Vv8oohBPzkC/sT2MyjMPvznSA7vZ3XtRW7T8/A=="
}
