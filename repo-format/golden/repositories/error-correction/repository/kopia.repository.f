{
  "tool": "https://github.com/kopia/kopia",
  "buildVersion": "v0.22.3",
  "buildInfo": "-(unknown_revision)",
  "uniqueID": "fnhuGo+0yA/V33U6M/WLqVOO4AMW/StP25mxRpQscZU=",
  "keyAlgo": "scrypt-65536-8-1",
  "encryption": "AES256_GCM",
  "encryptedBlockFormat": "QDmtiXf7e5T80nYyvbVF75ZbGndrxXmwLnQJo/0GrtkO1KoRVi/ki51qqCbXsE2/TW7xXYiCswslKBZvucWtRwP24PvIZYh+s60WO1CePhDZRTarzrot8fod7Za4c3C5B/mp/JIMiL++MBNHaEDt0HuTJHHnkhDibiZ/1Qe2mhjo+9u0w6eaqRktxIS9fXrD9VUzOCnUphTND8jgNTs54c5rA3T6Q4k1erHVzlLpnJQwQ4Xix405JyFYFdlmvQFZ7YxE6MRulaez2k3qXmlKCD83kVL4TyNUo9UsvFCITsebj26YcRhxscw760UiJt2WR+iXrFmVk5YeGB9BvZ21AemBZyNoBRiKysvqYvaDOcafF1UuEvPvn/RYWFptKlZm5jJClr51cK9C4xSrr7nWjSVJqc2+a1sMQytRbIE58jR9KfhySruAA1Y5AkHCmRheHDvty1aPaFxuMcTeVRlr2A/d7po182ZimeeIKlWMOBM3NITeXwNGNobS54keUelR1+kXr7qedx1XPDdthBn4lyn6xxV1cbIw90b+exBsj3caNlru5IaLpduYj6HAuq257UAlz+EbEDNL7m/CIFrVofiDfoSXe+ZskWaH0maLzAemxNLVabNYkSw63tAV8S4q3ef3llztx48zHJootGclYj4O8Rq1ksYJUoXxzIQFiUcDNPGxACuPZj4o7AWJjbbfk4m8yeoeP2SL3AU7A3KVi526BG5WM2e3SMtGUJ0LLamoed42dUoO5KvdS04VD5U3mJO1sVoOJRpEPqUyiEeZL+UDO3FGPc0Cs+uaUYrYqhQAWc1dVSEk2Zqjri2629shVfxdn5oVeU8gsSnR19PcSr3tGd+/y+k36GXteBZyVCK3j9AChRw24NKS"
}
