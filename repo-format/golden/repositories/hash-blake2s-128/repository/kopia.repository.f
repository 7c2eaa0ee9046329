{
  "tool": "https://github.com/kopia/kopia",
  "buildVersion": "v0.22.3",
  "buildInfo": "-(unknown_revision)",
  "uniqueID": "TjzdFOeCfFymfrWFCa/J5tSYP5YmTOqnOoH8bkL+fl8=",
  "keyAlgo": "scrypt-65536-8-1",
  "encryption": "AES256_GCM",
  "encryptedBlockFormat": "ZyeUcPhfhbdZsagzmfc3h43NDPrZUQ5/eafetzNp9GxI000XLaPDkXeUjtq49+iI7qt7sur3al80b3ZhPpCel0n7La1aVgPMiZjYnGyElHUFzfXek0MZfqw4ELLgaLUAVmJ8T+XsqLaPDGzqDmBy0JnZNOurz9vJlCs+gpNWP6htjwrhPTbDFBGfgzHCcR38WNBvFqQiVHuXTK3ZfGfpa4BYLQ7J5pHHbZfsQLjY361wTj69+CnM2sCZcvjgHIVbIjUvIz71GixVY+pRq4lYwE5ttTTVScrH6Hh+Z/XIMzAqBeHcaaG95RM3cwZTtKru7PuoJ7jelOjTTIgi3zY++6iAvZyaaSsQl2knmhIuJzYklUrfkWv8WPXV4pLyUqEY9qeROZwZ92/u3io17rk0zXUPE5wOVEOtomGevC4Mqk0WNHL6JIryYhLoS0jX/nNcUpmSkGd7IPqM7fJr/A0rIRq7Rp3rBzZz7vdwdSVTOfuCXwPB18BPCdv6XiXN5g93Y4ffEW7VJF5qFVZrG6tOP3y2f8eUnbGBvGv+lsHFXv+ZDh4Z3Nx8ynOkFGQDdgJ7iZuUyUFjRRufDLpiTWQjQRVtXN+aZ5sSpsaiLXhRIe0kQhTl9eXr4J3S7pOtgcJjFa4AF6l7Nxcf+ZUH7YsbtqFHc8yy981zfHGg524KZN8KyCiAIF0iOXicuQLGvJcIAiVtjk/2MSaMY6VWC/P+vvD1j6y6Lwwn49MyaYx1b6zBhxJyRa2ehjesfZtC2Y2XE7UbEUlAdpbRrnmI/mUM+ACEssmYlq3eXuq8umE="
}
