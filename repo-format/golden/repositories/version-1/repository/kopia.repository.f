{
  "tool": "https://github.com/kopia/kopia",
  "buildVersion": "v0.22.3",
  "buildInfo": "-(unknown_revision)",
  "uniqueID": "tPMZSkaCChXUHSl7H7y+fGS0h64381ZYtYcPIiJynlw=",
  "keyAlgo": "scrypt-65536-8-1",
  "encryption": "AES256_GCM",
  "encryptedBlockFormat": "mc5knlSLbEA+8ezwTyxugLOD09Y16EBd47VAiNhnmAR/zE/2ZI+P5rCLPw69yshDu9C+J/oB71ZeJRPcyCa+v5U8AKz1MwpNxuWltAIZm6sa1lg+s2LtBtG8HTSiXOiWYCv9B84bY50GTLzlEB/cgtMv9EjWW9rUU5SwIoTFQDbdElHkUslWxqgVEocR5x3F2fSipnH9RfRGpuY9Ya8A/jgU8KM5BNYEnUgu11dJqa6Ma20Tlm+NITHgI6w+POeChbxcFNLBmkkTwZiU2MY/uZllibmVG6lBM/Tu5cShmsXZ1Fm0gMO89vvzBuOLmtt2PYQaRuJbV9FEdve2sIZW2w8ZizJwBauJNCPIT0kerLlDdut7RSuN9EvEmZ2EmDn9ZM2YQLIu7hvZm9vkF70hstL6u+Qjf8PlX+XDW2OaT6iMm6P+wv7GpJNrVnvZMl/rhtmkqb1PZvhYArwHPaLwXwRmi3jllknieGRel1hm/1SUHMiRXkNJHMESpTA4+8RDw8SFCWziHPZhuq0pQqs1uW3aRmqCu/JBTB7YOZ758OHGmescE2Blq8hgSrPqqNAbdjYeaKO3SRR4jaNL8/Y4IuqfLiy6v+ncGdFcsU2Ga2WoTOkhBPXNcFOl8JjB2r2920ASYueCy7E4wy9+Tl2sznYfiNjPZ9ypcr5ChkhWBc/yPlbp/23rtvG9ZNqlDtesDcLY8VNiTTgEkf7b+ISODp0vy9o0fZJQvl6qAqgD0JVe"
}
