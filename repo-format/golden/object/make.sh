#!/bin/sh
# Makes the files of this folder with the real Kopia, whose folder must be in PATH. Contents are named with a random key,
# so a second run gives other object IDs.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
work=/tmp/kopia-golden-objects
rm -rf $work && mkdir $work
export KOPIA_CHECK_FOR_UPDATES=false KOPIA_PASSWORD=golden
k() { kopia "$@" --config-file=$work/config --log-dir=$work/logs --no-progress 2>>$work/err; }
# The object of the only file of a folder.
object_of() { k ls --long "$(k snapshot list --all --json | tr '{' '\n' | grep -A4 "\"path\":\"$1\"" | sed -n 's/.*"type":"d".*"obj":"\([^"]*\)".*/\1/p' | head -1)" | grep -o '[IZ]*[g-z]\{0,1\}[0-9a-f]\{32\}'; }
file() { mkdir -p $work/$1; cat >$work/$1/file; k snapshot create $work/$1 >/dev/null; }
list() { k show "${2#I}" >"$here/$1.json"; }

k repository create filesystem --path=$work/repo --no-persist-credentials --cache-directory=$work/cache \
  --object-splitter=FIXED-128K \
  --override-hostname=h --override-username=u >/dev/null

# A sparse file of 400 MiB in pieces of 128 KiB: the list of its parts is itself cut into parts, because
# lists are cut by the repository's own splitter.
mkdir $work/sparse; truncate -s 400M $work/sparse/file
k snapshot create $work/sparse >/dev/null
outer=$(object_of $work/sparse); case $outer in IIx*) ;; *) echo "expected IIx, got $outer" >&2; exit 1 ;; esac
k show "${outer#II}" >"$here/list-of-list.json"
k show "${outer#I}" | gzip -9n >"$here/list-of-400-mib.json.gz"

# 20 MiB of noise, uploaded in parts of 8 MiB, and each of these parts on its own: 8 + 8 + the open-ended rest.
python3 -c 'import random, sys; sys.stdout.buffer.write(random.Random(1).randbytes(20 << 20))' >$work/noise
for name in whole part-1 part-2 part-3 exact; do k policy set $work/$name --splitter=DYNAMIC-1M-BUZHASH; done
k policy set $work/whole --parallel-upload-above-size-mib=8
file whole <$work/noise
head -c 8388608 $work/noise | file part-1
tail -c +8388609 $work/noise | head -c 8388608 | file part-2
tail -c +16777217 $work/noise | file part-3
for name in whole part-1 part-2 part-3; do list $name "$(object_of $work/$name)"; done

# 3 MiB in parts of 1 MiB: parts too short to be lists, and an empty one at the end.
k policy set $work/exact --splitter=DYNAMIC-4M-BUZHASH --parallel-upload-above-size-mib=1
head -c 3145728 $work/noise | file exact
list exact "$(object_of $work/exact)"
