#!/usr/bin/env python3
"""Asks the real Kopia which snapshots it would keep, and why, and writes the answers down.

    KOPIA=/path/to/kopia python3 make.py

Sets of empty snapshots with invented times are made (`snapshot create --start-time --end-time --pin`, incomplete ones by
`--upload-limit-mb`), each set is copied once for every policy (`snapshot copy-history`), the policies are imported, and
`snapshot list --all --incomplete --json` gives the reasons, in several time zones. Then `snapshot expire --all --delete`
does what it would do, and what is left is listed again. Times of the sets `now` depend on the clock; the moment of the
question is written down with the answer, though it turned out not to matter. A complete and an incomplete snapshot of the
same times are not asked about: `list` and `expire` give different answers then. `d` (the number of a snapshot in its set) is stored as its description.
"""

import json, os, subprocess, tempfile
from datetime import datetime, timedelta, timezone

KOPIA = os.environ.get("KOPIA", "kopia")
HERE = os.path.dirname(os.path.abspath(__file__))
FORMAT = "%Y-%m-%dT%H:%M:%SZ"
ZONES = ["UTC", "America/New_York", "Asia/Kolkata", "Pacific/Kiritimati"]
KEEPS = ["Latest", "Hourly", "Daily", "Weekly", "Monthly", "Annual"]


def at(text):
    return datetime.strptime(text, "%Y-%m-%d %H:%M:%S" if text.count(":") == 2 else "%Y-%m-%d %H:%M").replace(tzinfo=timezone.utc)


def every(start, step, count):
    return [{"start": at(start) + step * number} for number in range(count)]


def around(moment, *before):
    """The moment and, for each distance, snapshots a second before, at, and a second after it."""
    moment = at(moment)
    seconds = [timedelta(seconds=s) for s in (-1, 0, 1)]
    return [{"start": moment}] + [{"start": moment - distance + s} for distance in before for s in seconds]


def sets(now):
    hours, days = (lambda n: timedelta(hours=n)), (lambda n: timedelta(days=n))
    yield "hours", every("2020-12-31 16:10", timedelta(minutes=25), 24)
    yield "days", every("2020-11-28 05:30", hours(17), 46)
    yield "months", every("2018-10-29 22:00", days(13), 36)
    yield "years", every("2011-02-28 12:00", days(200), 18)
    yield "week one", [{"start": at(f"{day} 12:00")} for day in ["2019-12-29", "2019-12-30", "2019-12-31", "2020-01-01", "2020-01-05", "2020-01-06",
                                                                "2020-01-12", "2020-01-13"]]
    yield "week is month", [{"start": at(f"{day} 12:00")} for day in ["2021-12-15", "2021-03-24", "2021-03-31", "2021-03-20", "2021-12-20", "2021-01-10",
                                                                     "2021-02-14", "2021-03-01"]]
    yield "month ends", [{"start": at(f"{day} 10:00")} for day in ["2021-01-28", "2021-01-29", "2021-01-31", "2021-02-01", "2021-02-28", "2021-03-01",
                                                                   "2021-03-02", "2021-03-03", "2021-03-04", "2021-03-30", "2021-03-31"]]
    yield "leap day", [{"start": at(f"{day} 10:00")} for day in ["2017-02-28", "2017-03-01", "2018-02-28", "2018-03-01", "2018-03-02", "2019-02-28",
                                                                 "2019-03-01", "2020-02-28", "2020-02-29"]]
    yield "spring", every("2021-03-14 04:00", timedelta(minutes=30), 14)
    yield "autumn", every("2021-11-07 03:00", timedelta(minutes=30), 14)
    yield "day edges", [{"start": at(f"2022-05-{day} {hour}")} for day in [10, 11, 12] for hour in ["00:00", "03:59:59", "04:00", "18:29:59", "18:30", "23:59:59"]]
    yield "edges", around("2022-06-15 14:30", hours(3), days(3), days(21), days(31 + 30 + 31), days(365 * 3))
    yield "ties", [
        {"start": at("2022-01-05 10:00"), "end": at("2022-01-05 10:05")},
        {"start": at("2022-01-05 10:00"), "end": at("2022-01-05 10:09")},
        {"start": at("2022-01-05 10:00"), "end": at("2022-01-05 10:01")},
        {"start": at("2022-01-05 09:00"), "end": at("2022-01-06 09:00")},
        {"start": at("2022-01-04 23:59"), "end": at("2022-01-05 00:20")},
        {"start": at("2022-01-04 23:58"), "end": at("2022-01-04 23:59")},
    ]
    yield "pins", [{"start": at("2022-01-05 10:00") + hours(7 * number), "pins": ["keep"] * (number in (0, 3, 9))} for number in range(10)]
    yield "only one", [{"start": at("2020-01-02 03:04:05")}]
    yield "future", [{"start": at("2250-01-01 00:30") - days(40 * number)} for number in range(6)]
    yield "old", [{"start": at(day)} for day in ["1969-12-31 23:59", "1970-01-01 00:00", "1960-02-29 10:00", "1945-05-08 23:00", "1999-12-31 23:30"]]
    ago = lambda hours, incomplete=True, minutes=0, **more: {"start": now - timedelta(hours=hours, minutes=minutes), "incomplete": incomplete, **more}
    yield "now: young incomplete", [ago(h) for h in (0.5, 1, 2, 3, 3.5, 3.9, 4.1, 5, 6)] + [ago(10, False), ago(11, False)]
    yield "now: old incomplete", [ago(h) for h in (5, 6, 7, 8, 9)] + [ago(10, False), ago(11, False)]
    yield "now: incomplete in the middle", [ago(0.5, False)] + [ago(h) for h in (1, 2, 5)] + [ago(6, False)] + [ago(h) for h in (7, 8)] + [ago(9, False)]
    yield "now: only incomplete", [ago(h) for h in (1, 3, 5, 7, 9)]
    yield "now: only old incomplete", [ago(h) for h in (50, 51, 52, 53, 54)]
    yield "now: pinned incomplete", [ago(0.5, False), ago(1), ago(2, pins=["keep"]), ago(6, False)]
    yield "now: incomplete, then young", [ago(h) for h in (5, 6)] + [ago(7, False)] + [ago(h) for h in (1, 2, 3)]
    yield "now: ended later", [ago(1, end=now - timedelta(hours=0.1)), ago(6, end=now - timedelta(hours=0.1)), ago(7, end=now), ago(8, end=now), ago(9, False)]
    yield "now: incomplete in the future", [ago(-2), ago(-1), ago(1), ago(5), ago(6, False)]


def keep(*counts):
    return {"keep" + name: count for name, count in zip(KEEPS, counts) if count is not None}


DEFAULT, ALL, NONE = keep(10, 48, 7, 4, 24, 3), keep(*[2147483647] * 6), keep(0, 0, 0, 0, 0, 0)
ONE_EACH = [keep(*[count if place == other else 0 for other in range(6)]) for place, count in enumerate([3] * 6)]
POLICIES = {
    "default": DEFAULT,
    "velero": ALL,
    "none": NONE,
    **{f"only {name.lower()}": policy for name, policy in zip(KEEPS, ONE_EACH)},
    "one of each": keep(1, 1, 1, 1, 1, 1),
    "two of each": keep(2, 2, 2, 2, 2, 2),
    "large": keep(0, 100000, 100000, 100000, 10000, 1000),
    "five": keep(0, 5, 5, 5, 5, 5),
    "negative": keep(-1, -1, 2, 0, 0, 0),
    "negative only": keep(-1, 0, 0, 0, 0, 0),
    "weeks and months": keep(0, 0, 0, 20, 20, 0),
    "weeks and years": keep(0, 0, 0, 60, 0, 60),
}


class Kopia:
    def __init__(self, folder):
        self.env = dict(os.environ, KOPIA_CHECK_FOR_UPDATES="false", KOPIA_PASSWORD="golden", KOPIA_USE_KEYRING="false",
                        KOPIA_CONFIG_PATH=f"{folder}/config", KOPIA_LOG_DIR=f"{folder}/logs", TZ="UTC")
        os.mkdir(f"{folder}/repository")
        self("repository", "create", "filesystem", f"--path={folder}/repository", f"--cache-directory={folder}/cache",
             "--override-hostname=h", "--override-username=u")
        self("maintenance", "set", "--enable-quick=false", "--enable-full=false")

    def __call__(self, *args, zone="UTC"):
        done = subprocess.run([KOPIA, "--no-progress", *args], env=dict(self.env, TZ=zone), capture_output=True)
        if done.returncode != 0:
            raise SystemExit(f"{args}: {done.stderr.decode()}")
        return done.stdout.decode()

    def policies(self, folder, policies):
        with open(f"{folder}/policies.json", "w") as file:
            json.dump({target: {"retention": retention} for target, retention in policies.items()}, file)
        self("policy", "import", f"--from-file={folder}/policies.json")

    def listed(self, zone="UTC"):
        found = {}
        for snapshot in json.loads(self("snapshot", "list", "--all", "--incomplete", "--show-identical", "--json", zone=zone)):
            source = snapshot["source"]
            found.setdefault(source["userName"], {}).setdefault(source["path"], {})[int(snapshot["description"])] = snapshot
        return found


def main():
    now = datetime.now(timezone.utc).replace(microsecond=0)
    with tempfile.TemporaryDirectory() as folder:
        kopia = Kopia(folder)
        os.mkdir(f"{folder}/empty")
        os.mkdir(f"{folder}/big")
        kopia.policies(folder, {"(global)": ALL})
        for number, (name, snapshots) in enumerate(made := list(sets(now))):
            for d, snapshot in enumerate(snapshots):
                incomplete = snapshot.setdefault("incomplete", False)
                snapshot.setdefault("end", snapshot["start"] + timedelta(seconds=20))
                what = ["--upload-limit-mb=1", f"{folder}/big"] if incomplete else [f"{folder}/empty"]
                if incomplete:
                    with open(f"{folder}/big/file", "wb") as file:
                        file.write(os.urandom(1 << 20) + bytes([d]) * (4 << 20))
                    with open(f"{folder}/big/more", "wb") as file:
                        file.write(os.urandom(2 << 20))
                times = [f"--{edge}-time={snapshot[edge].strftime('%Y-%m-%d %H:%M:%S UTC')}" for edge in ("start", "end")]
                pins = [f"--pin={pin}" for pin in snapshot.get("pins", [])]
                # Each snapshot of these sets has a user of its own at first: on one source, each would expire those before.
                user = f"d{d}" if name.startswith("now") else "u"
                kopia("snapshot", "create", *times, *pins, f"--description={d}", f"--override-source={user}@h:/set{number}", *what)
        for d in range(max(len(snapshots) for name, snapshots in made if name.startswith("now"))):
            kopia("snapshot", "copy-history", f"d{d}@h", "u@h")
        originals = kopia.listed()["u"]
        for number, (name, snapshots) in enumerate(made):
            for d, snapshot in enumerate(snapshots):
                stored = originals[f"/set{number}"][d]
                assert bool(stored.get("incomplete")) == snapshot["incomplete"], (name, d, stored)
                assert stored["startTime"] == snapshot["start"].strftime(FORMAT), (name, d, stored)
        for place in range(len(POLICIES)):
            kopia("snapshot", "copy-history", "u@h", f"p{place}@h")
        kopia.policies(folder, {f"p{place}@h": policy for place, policy in enumerate(POLICIES.values())})
        asked = datetime.now(timezone.utc)
        lists = {zone: kopia.listed(zone) for zone in ZONES}
        kopia("snapshot", "expire", "--all", "--delete")
        left = kopia.listed()

    def answer_for(name, number, place, policy):
        count = len(answer["sets"][name])
        stored = lambda zone: lists[zone][f"p{place}"][f"/set{number}"]
        reasons = lambda zone: [stored(zone)[d].get("retentionReason", []) for d in range(count)]
        left_over = left[f"p{place}"].get(f"/set{number}", {})
        return {"set": name, "policy": policy, "reasons": reasons("UTC"), "deleted": [d for d in range(count) if d not in left_over],
                "zones_that_differ": [zone for zone in ZONES if reasons(zone) != reasons("UTC")]}

    answer = {"now": asked.strftime(FORMAT), "policies": POLICIES, "sets": {}, "cases": []}
    for number, (name, snapshots) in enumerate(made):
        stored = originals[f"/set{number}"]
        answer["sets"][name] = []
        for d, snapshot in enumerate(snapshots):
            answer["sets"][name].append({"start": stored[d]["startTime"], "end": stored[d]["endTime"], "incomplete": snapshot["incomplete"],
                                         "pinned": bool(stored[d].get("pins"))})
        answer["cases"] += [answer_for(name, number, place, policy) for place, policy in enumerate(POLICIES)]
    text = ",\n".join(f" {json.dumps(case)}" for case in answer.pop("cases"))
    text = json.dumps(answer)[:-1].replace('"sets": {', '\n"sets": {').replace('], "', '],\n "') + f',\n"cases": [\n{text}\n]}}\n'
    json.loads(text)
    with open(f"{HERE}/cases.json", "w") as file:
        file.write(text)


main()
