{
  "tool": "https://github.com/kopia/kopia",
  "buildVersion": "v0.22.3",
  "buildInfo": "-(unknown_revision)",
  "uniqueID": "CwKpW9tnu/fuj8UKV/mdGBK0otIqdL2kLJT5hU/Mk6s=",
  "keyAlgo": "scrypt-65536-8-1",
  "encryption": "AES256_GCM",
  "encryptedBlockFormat": "ffRAt6V/9AM7N0QppsyfJIim1WTqBrD6ojj6N+bjkdJzkf88chV6eZlemL7rpIch280JoHIbx4OrbMyhW+IG5xeWlLtfZv8rbSTF94Rbjhnb+LIEkJ0rGL3EDfarPT0XHogRF6EIJClvrBtvisog8Qf/+veXXF1BJoAp3TtZ/bdkbpR76O7euAuEl8NC40pAtVQsuVlU0TPp52II82TgDL7yc1WfCdcecYbwvpZsj89TDAkikvNLwvoRZbckvEXNYOYLQdEeq/ZtUGYu4aWek9Dyk2wHjqjWxeqhJwOGVn0OAHTm2QfrSJ1XzcEHyI+qCuop8XgKJgwkaFtw4uNruuvbihoO1tqg6NWvo7kydgWhfMw+yTzju2+M4Z1jbJ3wRdQrMkUOqU2oPWc7pDsIYtlqjGtBtdWFbfVjP/l9qoG/sCBSNEoCkpRIAiyaHT3YSkcpre2XywMceve01f08UHeiFhHeTnxeLLz3Dva549EgIE8fzzAys/MYU/DeBeR1pSkYJA1iU7itK83y661pu2wxXl3emRaOPQpkCRiMw/eosLsSJ6foJ3KInmh6Qn8VI0bwsflAyqyJCjprQCfXk8GgLO3NB0osaj82uDvtq40B6FKai9Ip/fBpIYxmKxEd3BFHDDZ3LRsJS+vPQiwb+CSEYJszs4WVttgoJiGL/LaUKUovedJsBazJwadXWBVCUA/7AaPOK4SBxUyROLWB62OVcLO6SvC1uKBK+byEphPVFloKd5mfDy0swXd3NI6HEisfUYtZ4wnJslFNQ0o50CUfqs3iQEa3na+gYmjuo+9g"
}
