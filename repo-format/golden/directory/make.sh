#!/bin/sh
# Makes the files of this folder and of ../manifest with the real Kopia. Run as root on Linux, with the folder of the
# kopia binary in PATH; the binary must be readable for everyone. Contents are named with a random key, so a second run
# gives other object IDs, and other times.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
manifests=$here/../manifest
work=/tmp/kopia-golden
rm -rf $work && mkdir $work && chown 65534:65534 $work
cp "$(command -v kopia)" $work/kopia && chmod 755 $work/kopia
export KOPIA_CHECK_FOR_UPDATES=false KOPIA_PASSWORD=golden

as_root() { $work/kopia "$@" --config-file=$work/root.config --log-dir=$work/root.logs --no-progress 2>>$work/root.err; }
as_nobody() {
  setpriv --reuid 65534 --regid 65534 --clear-groups env HOME=$work $work/kopia "$@" \
    --config-file=$work/nobody.config --log-dir=$work/nobody.logs --no-progress 2>>$work/nobody.err
}
# The manifest ID and the root object of the only snapshot of a path.
manifest_of() { "$1" manifest list --json --filter=type:snapshot --filter=path:"$2" | sed -n 's/.*"id":"\([0-9a-f]*\)".*/\1/p' | head -1; }
root_of() { "$1" snapshot list --all --json | tr '{' '\n' | grep -A4 "\"path\":\"$2\"" | sed -n 's/.*"type":"[df]".*"obj":"\([^"]*\)".*/\1/p' | head -1; }

# One tree of entries with odd types and attributes.
odd=$work/odd; mkdir -p $odd
python3 - $odd <<'PY'
import os, sys
root = os.fsencode(sys.argv[1])
def put(name, data=b"", mode=0o644, mtime=1_000_000_000_000_000_000, uid=0, gid=0):
    path = os.path.join(root, name)
    with open(path, "wb") as file: file.write(data)
    os.chown(path, uid, gid); os.chmod(path, mode); os.utime(path, ns=(mtime, mtime))
put(b"empty-file")
put(b"one-byte", b"1")
for text in (b"000", b"4755", b"2755", b"1777", b"7777", b"0001"): put(b"mode-" + text, b"x", int(text, 8))
put(b"owner", b"x", uid=1000, gid=2000)
put(b"owner-largest", b"x", uid=4294967294, gid=4294967294)
put(b"group-only", b"x", gid=7)
put(b"mtime-1960", b"x", mtime=-315619200_000000000)
put(b"mtime-1969-odd", b"x", mtime=-1)
put(b"mtime-1970", b"x", mtime=0)
put(b"mtime-1970-odd", b"x", mtime=1)
put(b"mtime-hundredths", b"x", mtime=981173106_120000000)
put(b"mtime-odd", b"x", mtime=981173106_123456789)
put(b"mtime-2262", b"x", mtime=9223372036_854775807)
os.symlink(b"one-byte", os.path.join(root, b"link"))
os.symlink(b"/nowhere\xff<&>", os.path.join(root, b"link-dangling"))
os.mkfifo(os.path.join(root, b"fifo"))
os.link(os.path.join(root, b"one-byte"), os.path.join(root, b"hard-link"))
for link in (b"link", b"link-dangling"): os.utime(os.path.join(root, link), ns=(5, 5), follow_symlinks=False)
def folder(name, mode=0o755, mtime=-315619200_000000000, files=()):
    path = os.path.join(root, name)
    os.mkdir(path)
    for file in files: put(os.path.join(name, file), b"old", mtime=mtime)
    os.chmod(path, mode); os.utime(path, ns=(mtime, mtime))
folder(b"dir-empty-1960")
folder(b"dir-full-1960", files=[b"a", b"b"])
folder(b"dir-setgid", 0o2775, files=[b"c"], mtime=981173106_000000001)
folder(b"dir-sticky", 0o1777)
folder(b"z-dir-after-files-by-name")
os.utime(root, ns=(981173106_500000000,) * 2)
PY
# One folder of names: every byte a name can hold, then every way of not being UTF-8 that a decoder may see differently.
names=$work/names; mkdir -p $names
python3 - $names $here/names.hex <<'PY'
import os, sys
root = os.fsencode(sys.argv[1])
names = [b"byte-%02x-" % byte + bytes([byte]) + b"-" for byte in range(1, 256) if byte != 0x2f]
odd = ["e28080", "e280a8", "e280a9", "e280aa", "efbfbd", "efbfbdff", "c3a9", "f09f9880", "cc81", "7f", "c280", "e2", "e280", "e2ff", "e280ff",
       "f0", "f09f", "f09f98", "f09f98ff", "eda080", "edbfbf", "eda0bdedb880", "c080", "c1bf", "e08080", "e09fbf", "f0808080",
       "f08fbfbf", "f4908080", "f5808080", "f8888080", "fe", "ff", "fffe", "80", "bf80", "c3", "c328", "e228a1", "e28228",
       "f0288cbc", "f09028bc", "f0288c28", "61c3", "c361", "3c3e26", "225c", "080c0a0d09", "00e2"[2:], "f48fbfbf", "efbbbf", "efbfbf"]
names += [b"odd-%02d-" % index + bytes.fromhex(text) for index, text in enumerate(odd)]
names += [bytes.fromhex(text) for text in ("01", "20", "22", "26", "3c", "5c", "7f", "80", "c3a9", "efbfbd", "ff", "2e2e2e", "2d")]
# Two groups by raw bytes that are in another order once replaced.
names += [b"order-\xff", b"order-\xef\xbf\xbd", b"order-\xf0\x9f\x98\x80", b"order-\x80"]
for name in names: open(os.path.join(root, name), "wb").close(); os.utime(os.path.join(root, name), ns=(0, 0))
folders = [b"dir-\xff", b"dir-<", b"zz-dir"]
for name in folders: os.mkdir(os.path.join(root, name)); os.utime(os.path.join(root, name), ns=(0, 0))
os.utime(root, ns=(0, 0))
with open(sys.argv[2], "w") as out:
    for name in sorted(folders) + sorted(names): out.write(name.hex() + "\n")
PY
as_root repository create filesystem --path=$work/root.repo --no-persist-credentials --cache-directory=$work/root.cache \
  --override-hostname=h --override-username=u >/dev/null
mkdir $work/empty; touch -d 1960-01-01T00:00:00Z $work/empty
for tree in odd names empty odd/dir-full-1960; do
  as_root snapshot create $work/$tree >/dev/null
  as_root show "$(root_of as_root $work/$tree)" >$here/"$(basename $tree)".json
done
as_root snapshot create $work/odd/mtime-odd --tags=color:red --tags='note:<&>' --pin=keep --description='a "single" file' >/dev/null
printf 'from a pipe' | as_root snapshot create $work/pipe --stdin-file=dump/all.sql >/dev/null
as_root show "$(root_of as_root $work/pipe)" >$here/stdin.json

# Errors: entries that nobody may read, with and without being told to ignore them; a fifo that is not ignored.
for kind in errors ignored; do
  tree=$work/$kind; mkdir -p $tree/sub/deep $tree/closed
  for file in f1 f2 f3 sub/a sub/b sub/deep/ok; do echo x >$tree/$file; done
  python3 -c 'import os, sys; open(os.fsencode(sys.argv[1]) + b"/bad-\xff<", "w").close(); os.chmod(os.fsencode(sys.argv[1]) + b"/bad-\xff<", 0)' $tree
  chmod 000 $tree/f1 $tree/f2 $tree/sub/a $tree/closed
  chown -R 65534:65534 $tree
done
mkfifo $work/errors/fifo
mkdir $work/many; for file in 01 02 03 04 05 06 07 08 09 10 11 12; do echo x >$work/many/$file; done
chmod 000 $work/many/*; chown -R 65534:65534 $work/many
as_nobody repository create filesystem --path=$work/nobody.repo --no-persist-credentials --cache-directory=$work/nobody.cache \
  --override-hostname=h --override-username=u >/dev/null
as_nobody policy set $work/ignored --ignore-file-errors=true --ignore-dir-errors=true
as_nobody policy set $work/errors --ignore-unknown-types=false
for kind in errors ignored many; do
  as_nobody snapshot create $work/$kind >/dev/null || true # it stores the snapshot, then fails
  as_nobody show "$(root_of as_nobody $work/$kind)" >$here/$kind.json
done
mkdir $work/limited
for n in 1 2 3 4; do head -c 3000000 /dev/urandom >$work/limited/$n; done
chown -R 65534:65534 $work/limited
as_nobody snapshot create $work/limited --upload-limit-mb=4 --parallel=1 >/dev/null || true
as_nobody snapshot delete "$(manifest_of as_nobody $work/many)" --delete >/dev/null

# Every batch of manifests as it is stored, deletions included, named after its snapshot or else its policy.
rm -f "$manifests"/*.gz
for who in root nobody; do
  for content in $(as_$who content list --prefix=m); do
    as_$who content show "$content" >$work/batch
    name=$(python3 -c 'import gzip, json, sys
entries = json.load(gzip.open(sys.argv[1]))["entries"]
labels = max((entry["labels"] or {"type": "deletion"} for entry in entries), key=lambda labels: labels["type"])
print(labels["type"] + "-" + labels.get("path", labels.get("policyType", "x")).rsplit("/")[-1])' $work/batch)
    cp $work/batch "$manifests/$name-$who.gz"
  done
done
