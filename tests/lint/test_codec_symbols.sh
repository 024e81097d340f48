#!/bin/bash
# The codecs as firmware links them need nothing from outside but the four mem functions, keep no
# data of their own that could change, and never touch the red zone.
#
#   test_codec_symbols.sh BUILD_DIR     the x64 codec objects and decoders.a must be built
set -euo pipefail
export LC_ALL=C

build=${1:-build}
cc=${CC:-gcc}
objects=("$build"/x64/obj/drivers/codec_zlib.o "$build"/x64/obj/drivers/codec_zstd.o)
library=$build/x64/third_party/decoders.a
passed=0
failed=0
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# verdict NAME OFFENDERS: a case passes when there is nothing to complain about.
verdict()
{
    if [ -z "$2" ]; then
        echo "ok - $1"
        passed=$((passed + 1))
    else
        echo "not ok - $1: $(echo "$2" | head -n 5 | tr '\n' ';')"
        failed=$((failed + 1))
    fi
}

# One object out of everything: what is undefined then comes from outside.
if ! ld -r -o "$work/all.o" "${objects[@]}" --whole-archive "$library" 2>"$work/log"; then
    verdict "codec objects of x64 link" "$(cat "$work/log")"
    echo "$passed passed, $failed failed"
    exit 1
fi

undefined=$(nm -u "$work/all.o" | awk '{print $NF}' |
    grep -vxE 'memcpy|memmove|memset|memcmp|_GLOBAL_OFFSET_TABLE_' || true)
verdict "codec objects of x64 need only memcpy, memmove, memset, memcmp" "$undefined"

# A lint that sees nothing finds nothing: the calls that we know of must be there.
missing=$(comm -13 <(nm "$work/all.o" | awk '$2 == "T" {print $3}' | sort) \
    <(printf '%s\n' inflate ZSTD_decompressDCtx q2_codec_zlib_init q2_codec_zstd_init | sort))
verdict "codec objects of x64 hold both decoders" "$missing"

# Writable data: B, b, C, D, d, except tables that are constant after relocation (.data.rel.ro).
writable=$(objdump -t "$work/all.o" |
    awk '$4 ~ /^\.(data|bss)/ && $4 !~ /^\.data\.rel\.ro/ && $5 !~ /^0+$/ {print $NF}')
verdict "codec objects of x64 have no writable data" "$writable"

# Interrupts run on our stack: nothing may lie below rsp, and vector registers are not ours.
below=$(objdump -d --no-show-raw-insn "$work/all.o" |
    grep -E '(^|[^0-9a-z])-0x[0-9a-f]+\(%rsp' | grep -v 'lea ' || true)
verdict "codec objects of x64 do not use the red zone" "$below"
vectors=$(objdump -d --no-show-raw-insn "$work/all.o" |
    grep -E '%[xyz]mm[0-9]|%st\(|%mm[0-9]' || true)
verdict "codec objects of x64 use general registers only" "$vectors"

# Frames: the decoding path is a few calls deep and has 8 KiB together with everything above it.
frames=$(find "$build/x64/third_party" "$build/x64/obj/drivers" -name '*.su' |
    grep -E 'third_party/|codec_' | xargs cat |
    awk -F '\t' '$2 > 1024 || $3 !~ /static|bounded/ {print $1, $2, $3}')
verdict "codec objects of x64 have no frame above 1 KiB" "$frames"

# The same sources for aarch64 firmware one day: nothing but the shims may be included.
foreign=$(find "$build/x64/third_party" -name '*.d' -exec cat {} + | tr -s ' \\\n' '\n' |
    grep '^/' | grep -v "^$($cc -print-file-name=include)/" | sort -u || true)
verdict "third-party sources include no system header" "$foreign"

echo "$passed passed, $failed failed"
[ "$failed" = 0 ]
