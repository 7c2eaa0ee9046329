#!/usr/bin/env python3
"""Asks the real Kopia who it thinks it is and what it takes a source argument for, and writes the answers down.

    KOPIA=/path/to/kopia python3 make.py        (as root: host names are set in a namespace by `unshare --uts`)

`kopia policy show ARGUMENT` names its target in the first line. `kopia repository connect` without overrides, followed by
`repository status --json`, tells user and host names.
"""

import json, os, shutil, subprocess, tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
ARGUMENTS = [
    ".", "a", "./a", "a/", "a//b", "a/../a", "a/../..", "../../../../../../..", "link", "link/..", "a/.", "/", "//", "/a/../b//c/.", "/..", "missing",
    "u2@h2:/x/../y", "u2@h2:rel/../x/", "u2@h2", "@h2", "u2@", "@", "(global)", "a@b", "a:b", "x:a@b", "u@h:", "@h:/p", "u@:/p", "@:/p",
    "u@h:/p:q", "u@h@g:/p", "/a@b:c", "/a@b", "./u@h:/p", " u@h:/p", "U@H.example.com:/P", "u@h:~", "a\\b", "u@h:/", "u@h:/p/", "u@h:p@q", "u@h@g", "@h@g",
    "@h:", "u:v@h", "u:v@h:/p", ":", "@:", "a@", "(Global)", " (global)", "ü@hö:/é", " ", "u@h: ", "u@h:./p",
    "default@default:snapshot-data-upload-download/kopia/ns/pvc",
]
HOSTS = ["host", "Host", "HOST.Example.COM", "a.b", "1.2.3.4", "host-1"]
USERS = [{"uid": 0}, {"uid": 65534}, {"uid": 12345}, {"uid": 12345, "USER": "Someone"}, {"uid": 0, "USER": "Other"}, {"uid": 0, "USER": "", "USERNAME": "x"}]


def main():
    answers = {"arguments": [], "hosts": [], "users": []}
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o777)
        kopia = f"{folder}/kopia"
        shutil.copy(os.environ["KOPIA"], kopia)
        env = dict(KOPIA_CHECK_FOR_UPDATES="false", KOPIA_PASSWORD="golden", KOPIA_USE_KEYRING="false", HOME=folder, KOPIA_CONFIG_PATH=f"{folder}/config",
                   KOPIA_LOG_DIR=f"{folder}/logs", TZ="UTC", PATH=os.environ["PATH"])
        run = lambda *args, **more: subprocess.run(args, capture_output=True, text=True, **{"env": env, **more})
        os.makedirs(f"{folder}/work/a/b")
        os.symlink("a/b", f"{folder}/work/link")
        run(kopia, "repository", "create", "filesystem", f"--path={folder}/repository", f"--cache-directory={folder}/cache",
            "--override-hostname=h", "--override-username=u", "--dir-mode=0777", "--file-mode=0666").check_returncode()
        for argument in ARGUMENTS:
            shown = run(kopia, "policy", "show", "--", argument, cwd=f"{folder}/work")
            name = shown.stdout.splitlines()[0].removeprefix("Policy for ").removesuffix(":") if shown.returncode == 0 else None
            answers["arguments"].append([argument, name and name.replace(os.path.realpath(folder), "/tmp")])
        def who(user, host=None):
            uid = user.get("uid", 0)
            more = {**env, **{name: value for name, value in user.items() if name != "uid"}, "KOPIA_CONFIG_PATH": f"{folder}/{uid}/config", "KOPIA_LOG_DIR": f"{folder}/{uid}/logs"}
            shutil.rmtree(f"{folder}/{uid}", ignore_errors=True)
            os.mkdir(f"{folder}/{uid}")
            os.chown(f"{folder}/{uid}", uid, uid)
            connect = f"{kopia} repository connect filesystem --path={folder}/repository --cache-directory={folder}/{uid}/cache >&2 && {kopia} repository status --json"
            args = ["sh", "-c", connect]
            if host is not None:
                args = ["unshare", "--uts", "sh", "-c", 'hostname -- "$0" && ' + connect, host]
            done = run(*args, env=more, **({"user": uid, "group": uid, "extra_groups": []} if uid else {}))
            done.check_returncode()
            options = json.loads(done.stdout)["clientOptions"]
            return {"hostname": options["hostname"], "username": options["username"]}
        for host in HOSTS:
            answers["hosts"].append([host, who({}, host)])
        for user in USERS:
            answers["users"].append([user, who(user)])
    lines = lambda rows: "[\n" + ",\n".join(" " + json.dumps(row, ensure_ascii=False) for row in rows) + "\n]"
    with open(f"{HERE}/cases.json", "w") as file:
        file.write("{" + ",\n".join(f"{json.dumps(key)}: {lines(rows)}" for key, rows in answers.items()) + "}\n")


main()
