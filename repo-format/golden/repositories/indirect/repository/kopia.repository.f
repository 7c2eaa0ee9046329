{
  "tool": "https://github.com/kopia/kopia",
  "buildVersion": "v0.22.3",
  "buildInfo": "-(unknown_revision)",
  "uniqueID": "/+IQVxTmLr06QT2nj6+URBfvTaFzh7SlLna6LM2NnmI=",
  "keyAlgo": "scrypt-65536-8-1",
  "encryption": "AES256_GCM",
  "encryptedBlockFormat": "eSfi/8SpOQxT7/3iMfFDIy24Y4E2ILZA0TmDb4H9Le6B2+pfjAw4nQVSo4NTSn86+rZB8IQJXoYusbFaq4hDU6WckL4Y2uZ7sYgdG2QyVtdgnsHHErojaow5zjLRKHzsDcB+W+Sv53R3mOs5UTd2GDAKveFNeeh00OnMx4RyoqlPUnq/NcAX7UF0iHlyfl81FJy3OPJFxfW6mySW1MtcJoUo9YzHreQVu3iopUZ/6mC3QS4uAmpXVqQmDw+SmoxPqdZGJ+hR3ELAOf5iJ+zRW+dniT5mA3x6uaWypBvMIQeRBKWNncW3Kg8PA9yBuGKznChVWzeO5v3t0h6PHF0Ipy3uLQY0zaHQWLqCBoks2o2Zuf0RjnpRDv6mgEBXeKe2LXFisPFCZrvFy/SuHN1wdo7eykIljNFAZFMRrw5IHWpz1YNI9biTHeR6pkskVXiLtVtixGXtWSLdRauqjRuhKvnTos5rrPS14KVw6JdJDrnKk3ecKeChAzY+TeUqMRkztwoms2VH9l9Kri3SZX5bnqmlGnlP5Q6l1M4/XKI/4S8SSOgFtaSm/nK3p+4hn+kNpGx6UvbMlkSVNMpwABbFNr/MCeVDO9kbwaDPENMkhAjQ7ifv9R8JFlSmz+0KT1AoCm3b3NSsXTwpAAF70LWthyzg3tnNvRzGgTWNCYj0I89kxUwz6tQ5cJlOB1QnEtyaw0wrDljSmWBXnfeTBMu9EF1OgIwb6f1buEhniT2/6gp2tyJFy5QkD02KMIAi13r2DMkzi7OQ4UaXiHAvvS7fcjxwpw=="
}
