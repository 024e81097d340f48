#!/bin/bash
# Boot tests in a debug build of OVMF: first that it tells of wrong calls, then that we make none.
#
#   debug_firmware.sh FOLDER SUITE...
#
# FOLDER holds the firmware (tools/qemu/debug_firmware.sh). SUITE is a part of a suite's name, as
# for tests/run.py. FOLDER/log gets what the firmware wrote to its debug console, one file a boot.
set -euo pipefail

if [ $# -lt 2 ]; then
    sed -n '4p' "$0" | sed 's/^# *//' >&2
    exit 2
fi
METALCOW_OVMF=$(cd "$1" && pwd)
METALCOW_FIRMWARE_LOGS=$METALCOW_OVMF/log
export METALCOW_OVMF METALCOW_FIRMWARE_LOGS
shift
cd "$(dirname "$0")/../.."
rm -rf "$METALCOW_FIRMWARE_LOGS"
mkdir "$METALCOW_FIRMWARE_LOGS"

echo "debug firmware: $METALCOW_OVMF"
tests/boot/debug_control.py
# With freed pages guarded, each round uses up memory, and the firmware stops at a limit of its own:
# it gives guarded pages out again while it changes its memory map (mMapDepth in Page.c).
[ "${METALCOW_OVMF##*/}" = freed ] || tests/boot/driver_rounds.py 10
tests/run.py --build "${BUILD:-build}" "$@"
