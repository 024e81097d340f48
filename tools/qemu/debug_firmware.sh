#!/bin/bash
# Build OVMF with its assertions, three times, and put it where machine.py looks for firmware.
#
#   debug_firmware.sh SOURCE_DIR OUT_DIR
#
# SOURCE_DIR  the unpacked sources of Debian's package edk2; the builds leave their objects in there
# OUT_DIR     gets one folder for each build, with OVMF_CODE_4M.fd and OVMF_VARS_4M.fd: what
#             METALCOW_OVMF may name
#
#   plain     assertions; freed memory is overwritten; NULL cannot be read
#   guarded   as plain, and each page and pool allocation ends at a page that cannot be read
#   freed     assertions; freed pages cannot be read until all memory was given out once; NULL can
#             be read, because this edk2 does so itself when it guards freed pages
#
# It is Debian's firmware of 4 MiB for x86-64, built with -b DEBUG, without network and TPM. It
# writes what it finds to the debug console (I/O port 0x402). A failed assertion stops it.
set -eo pipefail

if [ $# != 2 ]; then
    sed -n '4p' "$0" | sed 's/^# *//' >&2
    exit 2
fi
mkdir -p "$2"
source=$(cd "$1" && pwd) out=$(cd "$2" && pwd)
log=$out/build.log
threads=$(nproc)
pcd=gEfiMdeModulePkgTokenSpaceGuid.Pcd

# edksetup.sh takes its folders from these when they are set. A make above would hand down flags.
unset WORKSPACE EDK_TOOLS_PATH CONF_PATH PACKAGES_PATH MAKEFLAGS MFLAGS MAKELEVEL
export PYTHON3_ENABLE=TRUE
cd "$source"

# A mistake of the firmware: it compares the state of a variable with whole values and not with
# bits. So a variable that was deleted or set again counts as invalid, and the next boot stops at an
# assertion. Release firmware goes on; what it skips is for machines without flash memory.
drop_wrong_assertion()
{
    sed -i '/if (!PlatformValidateNvVarStore (Base,/,/return/ { /ASSERT (FALSE);/d }' \
        OvmfPkg/Library/PlatformInitLib/Platform.c
}

# build_firmware FOLDER NULL HEAP: NULL is PcdNullPointerDetectionPropertyMask of MdeModulePkg.dec,
# HEAP its PcdHeapGuardPropertyMask. Only what reads them is built again. The guards are for the
# memory types of boot services, of drivers and of programs.
build_firmware()
{
    local name
    build -a X64 -t GCC5 -b DEBUG -n "$threads" -p OvmfPkg/OvmfPkgX64.dsc -D FD_SIZE_4MB \
        -D SECURE_BOOT_ENABLE=TRUE -D NETWORK_ENABLE=FALSE \
        --pcd "${pcd}NullPointerDetectionPropertyMask=$2" \
        --pcd "${pcd}HeapGuardPropertyMask=$3" \
        --pcd "${pcd}HeapGuardPageType=0x1e" --pcd "${pcd}HeapGuardPoolType=0x1e"
    mkdir -p "$out/$1"
    for name in CODE VARS; do
        cp "Build/OvmfX64/DEBUG_GCC5/FV/OVMF_$name.fd" "$out/$1/OVMF_${name}_4M.fd"
    done
}

build_all()
{
    # shellcheck disable=SC1091 # it comes with the sources
    . ./edksetup.sh
    drop_wrong_assertion
    make -C BaseTools/Source/C -j"$threads" ARCH=X64
    build_firmware plain 1 0
    build_firmware guarded 1 3
    build_firmware freed 0 0x10
}

# Not as a condition, where bash would not stop at the first failure.
trap 'tail -n 40 "$log" >&2; echo "debug_firmware.sh: failed; its output is in $log" >&2' ERR
(set -e; build_all) >"$log" 2>&1
