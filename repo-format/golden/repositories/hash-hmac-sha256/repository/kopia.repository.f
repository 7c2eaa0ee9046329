{
  "tool": "https://github.com/kopia/kopia",
  "buildVersion": "v0.22.3",
  "buildInfo": "-(unknown_revision)",
  "uniqueID": "1fvo+Ne5aE1JjWmdun23f2hDq1w3wuiXpxAMHJb1V4U=",
  "keyAlgo": "scrypt-65536-8-1",
  "encryption": "AES256_GCM",
  "encryptedBlockFormat": "BbAob8Wa3kd7d8JekFeUczyLvIFDRnCJsanQox2tQA4SnYBUSoB1XGHbM2VAOA1cbD0n/LBik/CAzmVmkUH11N+PdjOoavLDkWYHlQORAFfHNVzyWYxAGR5kRna/zOptsOJ7VbpmuWlQj/KVIpwuv/uOJJgXrYs4by0Cjmw9o9Vhom1OltY/+/fnC/aNfswWFUQBlF6JI7DBDu5RzwJSrSSJ87Z6eGykheFxmS1W29DuZ+WwJ25a35MR6knHBzm724XhBmOXJM9qvMHH6Qdt9qzfYfFnC+a8NkNLNfEiAvzjEEpDhB2OWKS0MMCKYtu6BlMQD2HamL7nOW6aUHTx8wkgkY1Yl6htBqaK7QQ77RhrgYw9X0PuvWb4dkB0mpH9a0rOdcZuvPAsBySM/gDUkUGkswZoTgf/dj4NLbFTRdgYw7AbQOUqlI84Cxbze91xXdXZfLSGvmkoCOjD9dv8Qh/VIgQGhG4eQ0RSCMG6Mz8uvV4SWkRMMo7OB1Ssq2E2ZnPs8Gj6xSRKoXIEvRCT6aGXgXfxqvlf6+HYEmIkxSy+EEhvPx8DlFlUgrEscxfwtb4XiC9RQtkbuVOo0FHTCqw6tLp2TPgrmFntQyWhjheVyzUIMMSlF910JO+dmeVPwz7kMSWuBZ6M9hsAtniCFSew4zZ1bfIpw3vBC6GjLO4JAL52I3wkt/kP1ehHEYSBy2Hn+LJIkdjCs2IvaMn9YLPh2WG4Eb/qt5Es1tDL8XvYsz5Zxk64ovMk7LcvbWYUzrLp/0JpN7OfOXPaL2uKJ/SG6TtNj5Ycfsz26yifUFZCszxF"
}
