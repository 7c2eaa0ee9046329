{
  "tool": "https://github.com/kopia/kopia",
  "buildVersion": "v0.22.3",
  "buildInfo": "-(unknown_revision)",
  "uniqueID": "T+KKm2biCe2Diu26OvYqIZnePfW8Nn+liAEMMjsV6II=",
  "keyAlgo": "scrypt-65536-8-1",
  "encryption": "AES256_GCM",
  "encryptedBlockFormat": "BtZ2nBa/V3frIxLOb80Kn9+ZAN9on7WIzTbu4rJvGlFmkJASlHJPbiiHGxqHBsYKsg+l8CPlv+S37oB332GJ+UikNukHc/znMIZjH+ne5dM1wSPlu2uWEYSyav5rmg4ZwplueQVib9Ilu/n1Gh00y+0cnL4QEd2k5TQGVEOgY381vShEI1cZX8lfLpOVrDjQrnHFoNOSmoqpjTDg0VGBPyEFTp1G8pRRTLWVs3WCg1/cNE+xBbSnmyIWWFyER9bX/h7ewBfOFQldGeWin29Cj25srp5DwH+5v0siMcimjDC++NmE/jQ4NEHeEsTSlhoDGiS3LfnyEBRzi4jHlMnBaCfqMAQ1mDtabwZL/o2uj8oXP6rc5bqPRnIxk8iArPAVqNh7Gtj0Kw8yPVBw8fukU0KAYT/w/72xj0c3nqZ6Kpqh71tghmD9gE/EZcXmb/ach9CzJQAxR0x7pElkOg9sxYOfAxQO7Ge6Aeeq5z7RpKl1eM5+syWRRBLsVKuFAhPs6TOA4RCd4J2Olk+4ln8NTLtB09a1JHkpsXzN8q02iynJSb8UUiHuzcpIstXUHzMCHTOFcCY4MLwHTy3eojwe/mBr0aG97YeCJZisWJCuB9wIcp3UPI7PJVk3bpfIkITfmWmzX7V71zGMzJV0OV+PTXP1FauLQKf/F99Up/JU5Q4//bkPiHR5SrxyGFUQnapG28hqKj6/vPgz7Z2uyND+1nva8W6+VKR1MBuxisRfqyLEhHm28atlhnOvy9XOLpmVUs9ewBt5LcsOoZtv3NiBKAFhM1UN8sWjxJpVncaNSNfGgw0="
}
