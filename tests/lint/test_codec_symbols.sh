#!/bin/bash
# The codecs and the cryptography as firmware links them need nothing from outside but the four mem
# functions, keep no data of their own that could change, and never touch the red zone.
#
#   test_codec_symbols.sh BUILD_DIR     the x64 objects, decoders.a and crypto.a must be built
set -euo pipefail
export LC_ALL=C

build=${1:-build}
cc=${CC:-gcc}
drivers=$build/x64/obj/drivers
libraries=$build/x64/third_party
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

# examine NAME LIBRARY "SYMBOLS THAT MUST BE THERE" OBJECT...
examine()
{
    local name=$1 library=$2 known=$3 undefined missing writable below vectors
    shift 3

    # One object out of everything: what is undefined then comes from outside.
    if ! ld -r -o "$work/all.o" "$@" --whole-archive "$library" 2>"$work/log"; then
        verdict "$name objects of x64 link" "$(cat "$work/log")"
        return
    fi

    undefined=$(nm -u "$work/all.o" | awk '{print $NF}' |
        grep -vxE 'memcpy|memmove|memset|memcmp|_GLOBAL_OFFSET_TABLE_' || true)
    verdict "$name objects of x64 need only memcpy, memmove, memset, memcmp" "$undefined"

    # A lint that sees nothing finds nothing: the calls that we know of must be there.
    missing=$(comm -13 <(nm "$work/all.o" | awk '$2 == "T" {print $3}' | sort) \
        <(tr " " "\n" <<<"$known" | sort))
    verdict "$name objects of x64 hold what they are for" "$missing"

    # Writable data: B, b, C, D, d, except tables that are constant after relocation (.data.rel.ro).
    writable=$(objdump -t "$work/all.o" |
        awk '$4 ~ /^\.(data|bss)/ && $4 !~ /^\.data\.rel\.ro/ && $5 !~ /^0+$/ {print $NF}')
    verdict "$name objects of x64 have no writable data" "$writable"

    # Interrupts run on our stack: nothing may be below rsp, and vector registers are not ours.
    below=$(objdump -d --no-show-raw-insn "$work/all.o" |
        grep -E '(^|[^0-9a-z])-0x[0-9a-f]+\(%rsp' | grep -v 'lea ' || true)
    verdict "$name objects of x64 do not use the red zone" "$below"
    vectors=$(objdump -d --no-show-raw-insn "$work/all.o" |
        grep -E '%[xyz]mm[0-9]|%st\(|%mm[0-9]' || true)
    verdict "$name objects of x64 use general registers only" "$vectors"
}

examine codec "$libraries/decoders.a" \
    "inflate ZSTD_decompressDCtx q2_codec_zlib_init q2_codec_zstd_init" \
    "$drivers"/codec/{zlib,zstd}.o

examine luks "$libraries/crypto.a" \
    "br_aes_ct64_bitslice_decrypt br_hmac_out br_sha512_out q2_unlocker_passphrase_init" \
    "$build"/x64/obj/core/luks/header.o "$drivers"/crypto/{aes,aes_ni,luks_key,unlocker}.o

# The bench compares decoders of two programs, and where a loop is in its page matters there.
place()
{
    nm "$build/x64/$1.so" | awk '$3 ~ /^(inflate|ZSTD_decompressDCtx)$/' | sort -k 3
}
[ "$(place metalcow | wc -l)" -eq 2 ] || verdict "both programs have decoders" "none found"
verdict "the decoders lie at the same place in both programs" \
    "$(diff <(place metalcow) <(place metalcowdxe) || true)"

# Frames: the decoding path is a few calls deep and has 8 KiB together with everything above it.
frames=$(find "$build/x64/third_party" "$build/x64/obj/drivers" -name '*.su' |
    grep -E 'third_party/|/(codec_|cipher_aes|luks_|unlocker)' | xargs cat |
    awk -F '\t' '$2 > 1024 || $3 !~ /static|bounded/ {print $1, $2, $3}')
verdict "codec and luks objects of x64 have no frame above 1 KiB" "$frames"

# The same sources for aarch64 firmware one day: nothing but the shims may be included.
# shellcheck disable=SC2020 # two characters, each a separator
foreign=$(find "$build/x64/third_party" -name '*.d' -exec cat {} + | tr ' \134' '\n\n' |
    grep '^/' | grep -v "^$($cc -print-file-name=include)/" | sort -u || true)
verdict "third-party sources include no system header" "$foreign"

echo "$passed passed, $failed failed"
[ "$failed" = 0 ]
