#!/bin/bash
# Build metalcow.efi of an older commit, for `make bench-firmware BENCH_BEFORE=COMMIT`.
#
#   build_before.sh COMMIT OUT_DIR DOWNLOAD_DIR     prints the program's path
#
# The tree of the commit is unpacked below OUT_DIR and built by its own Makefile, so nothing of this
# tree is mixed in. DOWNLOAD_DIR holds the library sources that were downloaded for this tree.
set -euo pipefail

if [ $# != 3 ]; then
    sed -n '4p' "$0" | sed 's/^# *//' >&2
    exit 2
fi
commit=$(git rev-parse --short=12 --verify "$1^{commit}")
tree=$2/$commit
program=$tree/build/x64/metalcow.efi
if [ ! -e "$program" ]; then
    rm -rf "$tree"
    mkdir -p "$tree/build"
    git archive "$commit" | tar -x -C "$tree"
    [ ! -d "$3" ] || cp -a "$3" "$tree/build/download"
    env -u MAKEFLAGS -u MFLAGS -u MAKELEVEL make -s -C "$tree" -j"$(nproc)" \
        build/x64/metalcow.efi >&2
fi
echo "$program"
