{
  "tool": "https://github.com/kopia/kopia",
  "buildVersion": "v0.22.3",
  "buildInfo": "-(unknown_revision)",
  "uniqueID": "2DNk5SOMHW5c8Zi47ELZci1ftPjIGjTiMqSfvhMsp7k=",
  "keyAlgo": "scrypt-65536-8-1",
  "encryption": "AES256_GCM",
  "encryptedBlockFormat": "FQ3Bd2EPfHrjaPiRZcSgf51qSyDZQjH++7jjd0Eag8hH7yWS6waDrLNLpOy4rANkWOLptVHU0rut2boB+oQJpLVeP3Sal9He1wq68c81Na7u98BWRY2We3xMPccmSGn8Wqx39T7ls2HVAQM5ZqxLsGlV9PQAiur3Le+02o46TaT/Iti2h814jbZ2I2utnLR9w05lMTN4YcuPxV8367vGQwdOy3lzlzzQQCBrMwh7L0/FSMT2L+K2+AyI0G+ZZeGIlx7UEPX6G1HX2esz/ieq4uKg9D8c541QGl/JzpVGd/7AI/fwVvw12+Y1RWoAENPEiwkB8sCZznpFebJbLXcos16bhwDOftpZCa1c3k+kbicRhFQHljUxuxNOEjPgnwh/bhXGWMNemmO4IaqWvPJsCQzGckdnTMatzuU3Y8dicpyf3rNS/Y+bOqArujY+mcTHg3AIbl2kMDU15pNjenCmJO0yt124+yTsUq/uS6KKu8uxGeZqXNLMSc6xVn3jcLfZGiOqLwbcL+Ml0JEsgodT71gaTq1K/a31P8tFJm4WXQqTl+KZJ9SAjpViX4yJk8uQ5vAPNNsp6FMa3rWBEh1c8wANkb58TJsQVqp7IugJ4R9h6eZFrds6C0igbHrxogz9zjBikTyry+PIlTEHB1Cu4OmrU0UMvYmu30XAthLSxku633yuW3sJH3t9Z4OIuUOMuCRxOdon+KyP+EBTVB1W85zmzJoR4YkpzCuvzm6nXGhXna6XUCTjclwnX1EnFnceHqZ/Hba4p15M3EkFq7Z7A/xND99JVyfWZ5ka"
}
