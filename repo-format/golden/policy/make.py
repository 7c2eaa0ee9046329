#!/usr/bin/env python3
"""Asks the real Kopia what holds where several policies apply, and writes the answers down.

    KOPIA=/path/to/kopia python3 make.py

Each case has a host of its own, so that `kopia policy import` can write many cases at once; `kopia policy show --json`
then gives the merged policy of a source. Policies of a case are keyed by `global`, `host`, `user` or a path.
"""

import json, os, random, subprocess, tempfile

KOPIA = os.environ.get("KOPIA", "kopia")
HERE = os.path.dirname(os.path.abspath(__file__))


class Kopia:
    def __init__(self, folder):
        self.folder = folder
        self.env = dict(os.environ, KOPIA_CHECK_FOR_UPDATES="false", KOPIA_PASSWORD="golden", KOPIA_USE_KEYRING="false",
                        KOPIA_CONFIG_PATH=f"{folder}/config", KOPIA_LOG_DIR=f"{folder}/logs", TZ="UTC")
        os.mkdir(f"{folder}/repository")
        self("repository", "create", "filesystem", f"--path={folder}/repository", f"--cache-directory={folder}/cache",
             "--override-hostname=h", "--override-username=u")

    def __call__(self, *args):
        done = subprocess.run([KOPIA, "--no-progress", *args], env=self.env, capture_output=True)
        if done.returncode != 0:
            raise SystemExit(f"{args}: {done.stderr.decode()}")
        return done.stdout.decode()

    def write(self, policies):
        with open(f"{self.folder}/policies.json", "w") as file:
            json.dump(policies, file)
        self("policy", "import", "--delete-other-policies", f"--from-file={self.folder}/policies.json")


def target(level, host):
    return {"global": "(global)", "host": f"@{host}", "user": f"u@{host}"}.get(level, f"u@{host}:{level}")


def by_hand(rich):
    files = lambda **more: {"files": more}
    yield {}, ["/a/b"]
    yield {"host": files(ignore=["x"])}, ["/a"]
    yield {"user": files(ignore=["x"]), "host": files(ignore=["y"]), "/a": files(ignore=["z"])}, ["/a", "/a/b", "/b"]
    yield {"/a": files(ignore=["b", "a", "b"]), "/": files(ignore=["c", "a"])}, ["/a", "/"]
    yield {"/a": files(ignore=["b"], noParentIgnore=True), "/": files(ignore=["a"])}, ["/a", "/a/b"]
    yield {"/a": files(noParentIgnore=True), "/": files(ignore=["a"])}, ["/a", "/a/b"]
    yield {"/a/b": files(ignore=["c"]), "/a": files(noParentIgnore=True), "/": files(ignore=["a"])}, ["/a/b"]
    yield {"/a": files(ignoreDotFiles=[".x"]), "user": files(ignoreDotFiles=[".y"])}, ["/a", "/b"]
    yield {"/a": files(ignoreDotFiles=[".x"], noParentDotFiles=True), "user": files(ignoreDotFiles=[".y"])}, ["/a", "/b"]
    yield {"/a": files(noParentDotFiles=True), "user": files(ignoreDotFiles=[".y"])}, ["/a", "/b"]
    yield {"/a": files(ignoreCacheDirs=False), "user": files(ignoreCacheDirs=True)}, ["/a", "/b"]
    yield {"/a": files(oneFileSystem=False), "user": files(oneFileSystem=True)}, ["/a", "/b"]
    yield {"/a": files(maxFileSize=5), "user": files(maxFileSize=6)}, ["/a", "/b"]
    yield {"/a": files(maxFileSize=0), "user": files(maxFileSize=6)}, ["/a"]
    yield {"/a": files(maxFileSize=-3), "user": files(maxFileSize=6)}, ["/a"]
    yield {"/a": {"noParent": True, **files(ignore=["q"])}, "user": files(maxFileSize=6), "/": files(ignore=["r"])}, ["/a", "/a/b"]
    yield {"/": {"noParent": True}, "user": files(maxFileSize=6), "/a": files(ignore=["r"])}, ["/a", "/a/b", "/"]
    yield {"user": {"noParent": True}, "host": files(maxFileSize=6)}, ["/a"]
    compression = lambda **more: {"compression": more}
    yield {"/a": compression(compressorName="zstd"), "user": compression(compressorName="gzip", minSize=5, maxSize=10)}, ["/a", "/b"]
    yield {"/a": compression(onlyCompress=[".b", ".a"]), "user": compression(onlyCompress=[".c", ".a"])}, ["/a", "/b"]
    yield {"/a": compression(onlyCompress=[".b"], noParentOnlyCompress=True), "user": compression(onlyCompress=[".c", ".a"])}, ["/a", "/a/b"]
    yield {"/a": compression(neverCompress=[".b", ".a"]), "user": compression(neverCompress=[".c", ".a"])}, ["/a", "/b"]
    yield {"/a": compression(neverCompress=[".b"], noParentNeverCompress=True), "user": compression(neverCompress=[".c", ".a"])}, ["/a"]
    yield {"/a": compression(noParentNeverCompress=True), "user": compression(neverCompress=[".c", ".a"])}, ["/a"]
    yield {"/a": {"metadataCompression": {"compressorName": "none"}}, "user": {"metadataCompression": {"compressorName": "zstd"}}}, ["/a", "/b"]
    yield {"/a": {"splitter": {"algorithm": "FIXED-1M"}}, "user": {"splitter": {"algorithm": "FIXED-2M"}}}, ["/a", "/b"]
    yield {"/a": {"upload": {"maxParallelFileReads": 3}}, "user": {"upload": {"maxParallelFileReads": 5, "parallelUploadAboveSize": 7}}}, ["/a", "/b"]
    yield {"/a": {"upload": {"parallelUploadAboveSize": 0}}, "user": {"upload": {"parallelUploadAboveSize": 7}}}, ["/a", "/b"]
    yield {"/a": {"retention": {"keepLatest": 0}}, "user": {"retention": {"keepLatest": 5, "keepDaily": 6}}}, ["/a", "/b"]
    scheduling = lambda **more: {"scheduling": more}
    yield {"/a": scheduling(manual=True), "user": scheduling(intervalSeconds=60, cron=["1 2 3 4 5"], timeOfDay=[{"hour": 3, "min": 4}])}, ["/a", "/b"]
    yield {"/a": {"errorHandling": {"ignoreFileErrors": True}}, "host": {"errorHandling": {"ignoreFileErrors": False, "ignoreUnknownTypes": False}}}, ["/a"]
    yield {"/a/b": files(ignore=["1"]), "/a/bc": files(ignore=["2"]), "/a": files(ignore=["3"])}, ["/a/b/c/d/e", "/a/bc/d", "/a/bcd", "/ab"]
    yield {"snap/kopia": files(ignore=["1"]), "snap": files(ignore=["2"]), ".": files(ignore=["3"]), "/": files(ignore=["4"])}, \
        ["snap/kopia/ns/pvc", "snap/kopia", "snap", "snapx", "."]
    yield {"snap/kopia/ns": files(maxFileSize=9), "user": files(ignore=["u"])}, ["snap/kopia/ns", "snap/kopia/ns/x"]
    yield {"user": {"retention": {"keepLatest": None}, "files": None, "unknown": {"x": 1}} if rich else {}}, ["/a"]


def at_random(rng):
    maybe = lambda value: value if rng.random() < .4 else None
    words = lambda letters: rng.sample(letters, rng.randint(1, 3))
    boolean = lambda: maybe(rng.random() < .5)
    section = lambda **keys: {key: value for key, value in keys.items() if value is not None}
    return {
        "retention": section(**{key: maybe(rng.randint(0, 9)) for key in ["keepLatest", "keepHourly", "keepDaily", "keepWeekly", "keepMonthly", "keepAnnual"]},
                             ignoreIdenticalSnapshots=boolean()),
        "files": section(ignore=maybe(words(["a", "b", "/c", "!d"])), ignoreDotFiles=maybe(words([".a", ".b", ".c"])), noParentIgnore=maybe(True),
                         noParentDotFiles=maybe(True), ignoreCacheDirs=boolean(), maxFileSize=maybe(rng.randint(0, 9)), oneFileSystem=boolean()),
        "errorHandling": section(ignoreFileErrors=boolean(), ignoreDirectoryErrors=boolean(), ignoreUnknownTypes=boolean()),
        "compression": section(compressorName=maybe(rng.choice(["none", "zstd", "gzip"])), onlyCompress=maybe(words([".a", ".b", ".c"])),
                               noParentOnlyCompress=maybe(True), neverCompress=maybe(words([".d", ".e", ".f"])), noParentNeverCompress=maybe(True),
                               minSize=maybe(rng.randint(0, 9)), maxSize=maybe(rng.randint(0, 9))),
        "metadataCompression": section(compressorName=maybe(rng.choice(["none", "zstd"]))),
        "splitter": section(algorithm=maybe(rng.choice(["FIXED-1M", "DYNAMIC-1M-BUZHASH"]))),
        "upload": section(maxParallelFileReads=maybe(rng.randint(1, 9)),
                          parallelUploadAboveSize=maybe(rng.randint(0, 9))),
        **({"noParent": True} if rng.random() < .1 else {}),
    }


def main():
    rng = random.Random(5)
    rounds = []
    for global_policy in [None, {}, at_random(rng)]:
        cases = list(by_hand(False)) if global_policy is None else []
        for _ in range(8):
            levels = rng.sample(["host", "user", "/", "/a", "/a/b"], rng.randint(2, 5))
            cases.append(({level: at_random(rng) for level in levels}, ["/a/b", "/a/c"]))
        rounds.append((global_policy, cases))
    answers = []
    with tempfile.TemporaryDirectory() as folder:
        kopia = Kopia(folder)
        created = json.loads(kopia("policy", "export"))["(global)"]
        for global_policy, cases in rounds:
            written = {} if global_policy is None else {"(global)": global_policy}
            for number, (policies, _) in enumerate(cases):
                written.update({target(level, f"h{number}"): policy for level, policy in policies.items()})
            kopia.write(written)
            stored = json.loads(kopia("policy", "export"))
            for number, (policies, paths) in enumerate(cases):
                host = f"h{number}"
                case = {"policies": {level: stored[target(level, host)] for level in policies}, "shown": {}}
                if global_policy is not None:
                    case["policies"]["global"] = stored["(global)"]
                for path in paths:
                    case["shown"][path] = json.loads(kopia("policy", "show", "--json", f"u@{host}:{path}"))
                answers.append(case)
        labels = [line.split(maxsplit=5)[5] for line in kopia("manifest", "list").splitlines() if "type:policy" in line][:12]
    text = ",\n".join(json.dumps(answer) for answer in answers)
    with open(f"{HERE}/cases.json", "w") as file:
        file.write(f'{{"created": {json.dumps(created)},\n"labels": {json.dumps(labels)},\n"cases": [\n{text}\n]}}\n')


main()
