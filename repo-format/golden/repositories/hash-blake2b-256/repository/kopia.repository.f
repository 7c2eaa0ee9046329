{
  "tool": "https://github.com/kopia/kopia",
  "buildVersion": "v0.22.3",
  "buildInfo": "-(unknown_revision)",
  "uniqueID": "MA1s9jIxbnwKL2/CvyrGh83UyXeDIEId8xPgAdSQxu0=",
  "keyAlgo": "scrypt-65536-8-1",
  "encryption": "AES256_GCM",
  "encryptedBlockFormat": "bPgqGtGKRSOkiOjuh/QGy718lYkjQsWFWKNHa0aQ4eYrXIRtOGMJ1BxSagEwq3raZMiuZeMxzmAc9TRvOS1Ou4qlO6pQJuooj7r1jspO8M18C2YIZExG8ulM1NZT1CBcPL99Q+FYVWuR5MC5YVK1DhragsSuiA1S+eqeXGzypbfLPlubSlM2nR4/1NdVzBD6fEYeKwqV/t8AiMu6VbzwnblcKJ6u3iKP0h+zj+fHaax0ro4+iVLFPdwyeWhiNrE3tF1TIb4izsr+VSEB6xmp3yJs5hKAreSNVXR3D8K+ENi6ItHEmRT/XCU3Ag86AJJGAiTgVSdUptdk+iM/ibChzs1ILvAYXFXLruJAkbuQ95ol/ulZR9NeW9I5u2Gxi0zAFDPhY/JyOxTEvMbHwOSMfQNedPoLOVA2ckYwvBr0Y3S6bohMeVBns9Pzjw+cbjMb5wu3XGFCFZvWRwWX4G4a7PPfQzU+DUGRs9i3ObeefymRpKJA7Ax6y9wvCd0Qu2TdnjI8JvhbROAIuPvwCVjF00xlWVa7NJi9IcY4utuqYj2gLVreBH+jx9Iw4srHBOzlLiI6/5RtBXOm/wqNlZquBC0/CKUNRe92nepLwTOSLZ2y+RnVrrXZwnntYeBhQrp/WiPdpngtO4WITSmMWffEbrD3/P4AL7uFbyj3q+IyQfXu/dMWo3cH2JsBqf7aeluTg28dKqqJVacbQQ5yvAB8mdVnTWx0wHWdB8WpuxfGIEc6Vr7KWjfV8bQQjXtEayBH8/Ifz+9z7WEAlnT3/4wunCo0IXdV6nyUExpnNvslFGySdvP6"
}
