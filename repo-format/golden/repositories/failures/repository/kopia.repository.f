{
  "tool": "https://github.com/kopia/kopia",
  "buildVersion": "v0.22.3",
  "buildInfo": "-(unknown_revision)",
  "uniqueID": "C+w+QnqlkmzLG8OJpzmqQHEu/T7DQvpxpdfg18m4A6A=",
  "keyAlgo": "scrypt-65536-8-1",
  "encryption": "AES256_GCM",
  "encryptedBlockFormat": "fjK3ILUcxD55mkrBvjCnAQNsIx7rnHyPhly/M3jjEx6iOAO/GDMBaxSlzVcNS5ic7Uu2ierPMbAM203BwVYvBSdLZ8j99D/xMjaFyUiMCqnoC+D/FqK8g8Lo4StN1kxVlqro/Qb9W3heHYEb5eU5NaNP+QXxTyfjkVEFu9WGlZFxx///uN3H1lMJV3Vu1KgyMxYj088SzBHvqveyTl2slBCNwszcbO0cVM1qtuWQ95xdO1yBxXnFhv/4hmjroxh9IDMR4WNvFeU5adMVVPJZK1/ZE2vuF2b1uQxhrjyRa/xb5BABz95v7Rii+lVEUv3pkz2ftP6PZ4XMKSbuYbmPWD+5FRZGJJXyyjHZDohhvePevpIB6fSlEMHElO33/BEmaUJc5Iz40K+4AThZtL7j6IKnvaxZvs5aEr8vArrNvemvVWuZ6k9UNi6qcs1EzNlgP7uUbu7MVwgfGcNr+b5s9byd+E8j6Yt2o/NqxBCDZRErp03x24REokGPFjOt3Gppkbgbj8t4mDrZ8eFSOBu8EijCPfofoRET77x/cS3Fhe/UNRtubE2lFLBJyyO1FlyOI8wzDbebvJzmD5+AzgLZqJ0Tn3DeKAHi5PKjGxIwnbEavSwgm5YmOpCS5nmef98s5FSOY1BAA5edIxDlUu7t5igP5vkZervtQupO1YmQCWTxd/FDWIq+eTPSOLgZ7AN4FLs4hH6wUjExjFRirC+Z7tVcQ0B4BFOK4C1QXXSARt/pbT9gcdSMdMfsZIXTwb+D4Nf/2IJPMwP5cNeMwhHtWmjledjEiit9kcjDPSE4j2n4"
}
