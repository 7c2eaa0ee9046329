{
  "tool": "https://github.com/kopia/kopia",
  "buildVersion": "v0.22.3",
  "buildInfo": "-(unknown_revision)",
  "uniqueID": "3Lj4czGBFSZ/CfXCyvJQxoqQdSso3iJxX9wdDLz3qMw=",
  "keyAlgo": "scrypt-65536-8-1",
  "encryption": "AES256_GCM",
  "encryptedBlockFormat": "Frq1uMYZimi9TQX+dNd3OUktUVlCZQ2126Gpv5w55Qs7PUkY1ECJHGGNBto1e6sOWvgSLrNchT74JjiS8dNRM6OPptamBApZyaMSrVjyu2QfclHKSIBwMktshaubUdqumxOjOmGI07eXib6oE3K+ezAcTUNHVGK5XL1zLxga5VuIMHDYWuyJV98HLi3Zj7owmFtiDF6i0JX7AfiO9gMfblzzBUJ6hA+RRiJ92IC/JWXfVxjetJHHAWNSJWKgsqj1VXgh+B9d17aRZCj9aboagexIRrlb+hS+KGfiM0RMz/kOI7VKOn+7xwQAw0gBVamkS+7mgDHuhZuA5SeJ7W4prDV8UWTecYPOfaPrGqDPgvWyquHpDuOyJtH+4u7Ed+3rQa+lTvnI4ONE54EMZCGyuX3LsZNltt2IrDiJ/6op824mAbF3xQ9K+HjGFvdEOgdDVuv1EVLr+Iv/g5b1LjerA8ssroswGiyToCyaJifvUT6SfAPygTq5FEGWYLrq5frd/UF79DwrKLYSkTu1UnygkcN+stLumz+5A8sHUPGjyEbVg7tsOZIkrmww8sbVGuKkc3xLqkngH86FFinvzwDeblixNGZbyddazFMx74g71sFf8eRNdmcNmpXuUMFDwT6xHgzDu3C4L7SKx5fzrEX6xN55kc3e9HHwcbqALkfn4TA5TU+HQIqW2VQKqHT7y8+G5vN89vXHpUC0SBW6rH8mNQBxPyfImFCrXYOibuewZfrAm5Th+Ho+pyg+Udl4XaAIiR3d1/nZdXXa/TZFAEHCu7s5uNREIhEZtl3C9flU/yk="
}
