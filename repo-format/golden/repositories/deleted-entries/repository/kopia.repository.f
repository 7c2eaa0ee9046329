{
  "tool": "https://github.com/kopia/kopia",
  "buildVersion": "v0.22.3",
  "buildInfo": "-(unknown_revision)",
  "uniqueID": "MaL9WDLFBkQ7Z6frlP8IaSXzznlxt9oJ6yw+R0ffh7U=",
  "keyAlgo": "scrypt-65536-8-1",
  "encryption": "AES256_GCM",
  "encryptedBlockFormat": "PwVoeU0oSvN1JlEyAwejRskro5fxR/C+tFHm4SjeVLBxkjmVNGEgFm56ARnA4RHheGKsk3gCpib/8JY9RvloRElq8qNBA9XGIKCj0hi5/JgWyzjEDjV8IebFwmRtsRQJTVdY8TBgD29Ck/a6o0HX4uGWxKdAeyAom+JFzn3GZWNYRre6xQTF40ZyvdBDj2tTZMgudUnX/32UBdl7DdaprzZ5E5H5GHor6WRWnAWbrxFjBwOnZ27aUwFja7WFme1mvpOh5GQ+DmY9AXmdZevPqhuZ6rZOBEKXYOCc8oavqqd0ttLWRS/VpTpaKYnsI3r86SLqRTceEIF8s4LcABc68xrrNKnJNH1LV+Wwm8s5PEN9xpAtC0CzP/BHn2WfpD2zw8CLsNzcfqUPJqRwYsguV85A2f9rlZroJBKwoO0cEeUT/Kmh1oks8Z/7Q6Gq8ooRf0ar48iwHbPaJve8V4LpW8rdOVpK4YO2wzuCbzx32ABX6RZt6srv7bjQZQtBx2xa0MMEx4cqDFfknQW9dTwkMJez2FY0eK6bFwTgWFDIT4TKR/dwGB/JbFbAN5+MK4HlJS++kxtzim/9UGRFU4IEJYgYMwZkQJwwnerlTyQVM1UMLiZvk6CGgom5VQBR/qQKanE6fxc0RG9hYSIeut7wUV6rS8RF1vrz1lOgJ0Mo0WpeloR0d/ppQQCqqPk/9HtcLtcluW2NC6A2H1UlnQCGatn+SeKVU3fI9DB6sHGCWcJWMQSq0z50FiTzBdRxS9jfMkRVMtTKENPh0likNE4nvckQlKhLAVvWNC5ia8A9qCMP"
}
