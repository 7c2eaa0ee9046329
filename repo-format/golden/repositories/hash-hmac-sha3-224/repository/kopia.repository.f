{
  "tool": "https://github.com/kopia/kopia",
  "buildVersion": "v0.22.3",
  "buildInfo": "-(unknown_revision)",
  "uniqueID": "X/odMr0V7d3p/4piz2Cb4uW9fwwN0QhnHP6ta4EF8l0=",
  "keyAlgo": "scrypt-65536-8-1",
  "encryption": "AES256_GCM",
  "encryptedBlockFormat": "GOpUT+5cI3xqFaDSH0Wo2sXqEZtnO+LNwL4ttWUytG0zpwWmrcZw9zkAhabSx092WR/NDA78JgS+iRPX7JT/VkJFN9JonQA6TotdlTSdyUiv4x4nip3NrFU89zY5ABd59jBu4Elp0GfocZgrpv4MlTRr/ecWVzT7HvyyYZdJx+dDTvFsUHbJQe/06Dbf2H/wR3n2q9S2BtzGfRvB2ZJZDMvDupywAYH+SZv1N81RP3YF6jhgnDKARqtVxBorUez68YXz0BnkbV0qAN7GUggCydnFeNBkfrNskSgEoXY9cUnK4bS0pvCfU91/d2e4+5Cj68DnCpjpW81owmYhk2u0uYoFAco6TmK1u3qSKyzR1XxiXYBAv/b3S823kRDr/ACJw7ak7ja7NmxpWiOloAqDppdUfc98CfZuA6jgHZrqmhIR7W7Tn+i6gLdg9x0LNfPjS1JPcMjGU1XkXuZP7KHLHX+LOaPUk+fwF593Xog86OClyU23u+DzATL8Q9ar9RpBKQwLPJc5Cf2b7esYDQdfbGO3V0L9Y6PzCp+GmYniNGhqqOGiR9kDu/pqaYX2XCMEl+ulzym/lwS14s3tRFfH3bnar9iz0FviQFMijApe8Tvte2Nbabqs5ffNCSNshW9Z+wQkVFdXkJr0vHWYLY1XP5c3nCYs9a5zMvDV49bYQMSITU83rcKzt7O6FsJVp4HVCyDi0Smbi+qHo2Ug/F3hZhZGfDos6OgLIsRbQ5BYvU/qY3cjqUypdpwE2+jT78qeVuLPQMguZ5X6iLfyh0McFb5GiVdUGMC4S4/Rk5XAHrTsSFWwQy0="
}
