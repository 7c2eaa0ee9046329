{
  "tool": "https://github.com/kopia/kopia",
  "buildVersion": "v0.22.3",
  "buildInfo": "-(unknown_revision)",
  "uniqueID": "tL1GhELrqQYrGf1AG1S4VyoiuxeEWD8vcQM20z1b8+c=",
  "keyAlgo": "scrypt-65536-8-1",
  "encryption": "AES256_GCM",
  "encryptedBlockFormat": "spMuPKUwqOKDGQ9j8hVme3F6w84u9CEi6hkdMGFSF1vf+nsJYudiOXRTEaohAcNrpPP5SSjwXb/S7R7z/tPtq23r8fRs92rHe6QNalQS1u9OP2GQIQQJ3H2D82OrMEQzsBGyaQTM4hLdOQHKdUpWwx7uC/0d7ubRZNIMcna18LbvrTxk1NLRzdgrS8fS3U8orx0sIOTJOukRAl1iqCUVvB5kwF9/xoVxvg9jwG+v7lmxunE+sEpdksHX3gKDf5YRCw7P4d4cZt8hOfgySWvHlLpVuBagXdvPiCmoVMEaA86dl3BdwZ2Zs7NsttRaYUOdVzIE4487Xd2alwoyM2M0uBUn2NF/Z1wjJm1mZYsb8zJ52qyxMXJi3Ua9iA933qgB7X3G+GIQGecCW9ep394gzssTWPWQnzITy9nIZwICWG60I59/ts0pUNS5BlmOrkRJ9PizcOvQGMHbDpYSn8Tn/jPUbSj/5P6cvBodrw6eMi/WDujgPInwgh5GRjv9vBMjQTk5XSBX6w6x5ppEVY6ZAumIw3ZyKELtt84MynZI52KTWwYZkrBgBchWQOfK9hH74RzYNimVc01XsN/mcvd6J5ON09p2okFRId5PoNzr3/OqadZSHzrp6Bqt9fferD0ug3UNGHfYkzmpLaffSqmx5AEN8Am6twFRb68VWbAg7Nw5rYh3Fc2coSkKVjoENVI5Iwy+Vmq74MP+4WRkrwgDrUfOdCr+QpUYVQGGB2KlVCXDQtPF44NH5VnPwrLEU2L/Vk33egnzbU9K1Rr4z0TrLHov+5GpTUVu3PNf0nKs/aLV"
}
