{
  "tool": "https://github.com/kopia/kopia",
  "buildVersion": "v0.22.3",
  "buildInfo": "-(unknown_revision)",
  "uniqueID": "XFcS9qXJz5+ts1QvmvjtnCMBjZimoMnHb7Wvt0FKvLI=",
  "keyAlgo": "scrypt-65536-8-1",
  "encryption": "AES256_GCM",
  "encryptedBlockFormat": "EcldQXZI1tZlnXAlhQdtN38R3bz1DbSO+nxVFMg0mbJZa7gKdIJWN5rUcpG9GMs2+ULFGG8w+Hpf7KJ6sLAMoDd0GS1uG47yk5Lbk73LoyYOKFnUHtq/VrAL/ua7DjMUoKT6DxCKBbLpqCyHOe0v3eTzFVIm9w/v0WDYgV/jKGSjpo8qw7J8JjwIjrcMyki6thrZBzFoBbC9iycF2gHD3lBl7yqYhLqcHT5kua20ztduIFERV7PrK7b8Kt4PN8wpvgWMGATH30BuFG92bgAaYNI2wUt7EzzeCTFB3QJ4ll75fgW8Zjy19H/u8/6H7a5djWyoWPKv5gUqfQ09tUnF79In8kb3OXne00X2zUerbsFOt7jQaZEzDHDx51w5dIPETsRCIQ27Upgjb9CmwOjJvQw/qIifXVkqR/vpGVj9XxEHZBoDyLHhHorjSnHIhWbiz90ZhICkvV/8LiUEGmXB+p7vevSmfgFJDxjhDdh67DxBnZ7iiJagx0x9xGMHXRxhPYb92HmAg03UaOAP5C9S16l4FauHQdPtPleGVgAowqamfozc/2U6BI0T8HiZ4jBvxzGp0w4TvAy54zvpLtQAro9bqI0jZzfJ+e54IShMGEwWrBl/dskIv/5CQMKRYntYmdvvsgHa9y+GDop0cnCP3UsOXoFONh3R2jfeUrT4BDFJX4AgOJcZtcqn/qrLdckfbhQp2iwvp50ND4lAhDvuohw8rUKYA5oEqn8YvOFos2us6SF4hmVChiXTpYnDhnaTjg4aSdDPPpecinskFSFEZChXLyu3tpGIAE3pNETV3bC8eV8="
}
