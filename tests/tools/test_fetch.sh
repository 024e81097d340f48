#!/bin/bash
# tools/third_party/fetch.sh: which archives it would ask, and what it says when it cannot. Nothing
# here needs a network; the packages that the build has fetched serve as the good case.
set -euo pipefail
export LC_ALL=C
cd "$(dirname "$0")/../.."

build=${BUILD:-build}
fetch=$PWD/tools/third_party/fetch.sh
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
passed=0
failed=0

# verdict NAME STATUS [WHY]
verdict()
{
    if [ "$2" = 0 ]; then
        echo "ok - $1"
        passed=$((passed + 1))
    else
        echo "not ok - $1: ${3:-}"
        failed=$((failed + 1))
    fi
}

# same NAME GOT WANT
same()
{
    local status=0
    diff <(echo "$2") <(echo "$3") >"$work/diff" || status=1
    sed 's/^/# /' "$work/diff"
    verdict "$1" "$status" "differs from what is expected"
}

# A fresh /etc/apt of our own, for the calls that follow.
new_etc()
{
    rm -rf "${work:?}/etc" "$work/out" "$work/download" "$work/dest"
    mkdir -p "$work/etc/sources.list.d"
    echo 'VERSION_CODENAME=bookworm' >"$work/os-release"
    export METALCOW_APT_ETC=$work/etc METALCOW_OS_RELEASE=$work/os-release
}

# refuses NAME PATTERN COMMAND...: the command fails and says so.
refuses()
{
    local name=$1 pattern=$2
    shift 2
    if "$@" >"$work/said" 2>&1; then
        verdict "$name" 1 "it succeeded"
    elif ! grep -q -- "$pattern" "$work/said"; then
        sed 's/^/# /' "$work/said"
        verdict "$name" 1 "it does not say '$pattern'"
    else
        verdict "$name" 0
    fi
}

new_etc
cat >"$work/etc/sources.list" <<'LIST'
# deb http://commented.example/debian bookworm main
deb http://a.example/debian bookworm main contrib # the usual line
deb-src http://a.example/debian bookworm main
deb [arch=amd64 signed-by=/k.gpg] http://b.example/debian bookworm-updates contrib main
   deb	http://c.example/debian-security	bookworm-security	main
deb http://vendor.example/apt bookworm stable
deb http://vendor.example/apt nodistro main
deb http://old.example/debian bullseye main
deb http://flat.example/debian ./
LIST
echo 'deb http://d.example/debian bookworm main' >"$work/etc/sources.list.d/more.list"
echo 'deb http://no.example/debian bookworm main' >"$work/etc/sources.list.d/more.list.disabled"
"$fetch" --sources "$work/out"
same "fetch: one-line sources get twins" "$(cat "$work/out"/*)" \
"deb-src [arch=amd64 signed-by=/k.gpg] http://b.example/debian bookworm-updates main
deb-src http://a.example/debian bookworm main
deb-src http://c.example/debian-security bookworm-security main
deb-src http://d.example/debian bookworm main"

new_etc
cat >"$work/etc/sources.list.d/debian.sources" <<'DEB822'
Types: deb deb-src
# a comment inside a stanza
URIs: http://a.example/debian
Suites: bookworm bookworm-updates bookworm-backports
Components: main non-free-firmware
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg

Types: deb
URIs: http://vendor.example/apt
Suites: bookworm
Components: stable

enabled: no
types: deb
uris: http://off.example/debian
suites: bookworm
components: main

Types: deb
URIs: http://b.example/debian-security
Suites:
 bookworm-security
Components: contrib
 main
Architectures: amd64
Signed-By:
 -----BEGIN PGP PUBLIC KEY BLOCK-----
 .
 mDMEY865UxYJ
 -----END PGP PUBLIC KEY BLOCK-----
DEB822
"$fetch" --sources "$work/out"
same "fetch: deb822 sources get twins" "$(cat "$work/out"/*)" \
"Types: deb-src
Suites: bookworm bookworm-updates
Components: main
URIs: http://a.example/debian
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg

Types: deb-src
Suites: bookworm-security
Components: main
URIs: http://b.example/debian-security
Signed-By:
 -----BEGIN PGP PUBLIC KEY BLOCK-----
 .
 mDMEY865UxYJ
 -----END PGP PUBLIC KEY BLOCK-----"

new_etc
refuses "fetch: no sources of the distribution is an error" "no entry for the suite 'bookworm'" \
    "$fetch" zlib "$work/download" "$work/dest"
echo "deb file:$work/nothing bookworm main" >"$work/etc/sources.list"
refuses "fetch: an archive out of reach is an error that names the way out" \
    'make ZLIB_SRC=/path/to/zlib' "$fetch" zlib "$work/download" "$work/dest"
refuses "fetch: the same for the other package" 'make ZSTD_SRC=/path/to/libzstd' \
    "$fetch" libzstd "$work/download" "$work/dest"
refuses "fetch: the same for the cryptography" 'make BEARSSL_SRC=/path/to/bearssl' \
    "$fetch" bearssl "$work/download" "$work/dest"
refuses "fetch: the same for the firmware" 'make test-debug-firmware EDK2_SRC=/path/to/edk2' \
    "$fetch" edk2 "$work/download" "$work/dest"
[ ! -e "$work/dest" ] && status=0 || status=1
verdict "fetch: a failure leaves no tree behind" "$status"

refuses "fetch: a path that is not there is an error" 'there is no /nonexistent' \
    "$fetch" zlib "$work/download" "$work/dest" /nonexistent
refuses "fetch: a tree of something else is an error" 'holds no inflate.c' \
    "$fetch" zlib "$work/download" "$work/dest" "$work/etc"
refuses "fetch: an unknown package is an error" 'fetch.sh PACKAGE' \
    "$fetch" openssl "$work/download" "$work/dest"

# gives NAME COMMAND...: the command succeeds and $work/dest is zlib's source tree.
gives()
{
    local name=$1 status=0
    shift
    rm -rf "$work/dest"
    "$@" >"$work/said" 2>&1 && [ -f "$work/dest/inflate.c" ] || status=1
    [ "$status" = 0 ] || sed 's/^/# /' "$work/said"
    verdict "$name" "$status" "no source tree"
}
gives "fetch: a tree of the user's own is taken" \
    "$fetch" zlib "$work/download" "$work/dest" "$build/third_party/zlib"
# From here on the package itself is needed, which a build with ZLIB_SRC has not fetched.
env -u METALCOW_APT_ETC -u METALCOW_OS_RELEASE \
    "$fetch" zlib "$build/download" "$work/dest" >"$work/said" 2>&1 || cat "$work/said"
cp -R "$build/download/zlib" "$work/download/zlib"
gives "fetch: a .dsc of the user's own is taken" \
    "$fetch" zlib "$work/download" "$work/dest" "$(echo "$work"/download/zlib/*.dsc)"
gives "fetch: a package fetched before is taken without an archive" \
    "$fetch" zlib "$work/download" "$work/dest"
# A mirror that lists 1.3-2, and has the files of 1.3-1 only.
mkdir -p "$work/bin"
cat >"$work/bin/apt-get" <<FAKE
#!/bin/sh
for word; do :; done
case \$word in
update) exit 0 ;;
zlib=1.3-1) cp "$PWD/$build"/download/zlib/zlib_* . ;;
*) exit 100 ;;
esac
FAKE
cat >"$work/bin/apt-cache" <<'FAKE'
#!/bin/sh
printf 'Package: zlib\nVersion: %s\n\n' 1.3-1 1.3-2 1.3-1~rc1
FAKE
chmod +x "$work/bin"/*
gives "fetch: an older version is taken when the newest is only listed" \
    env PATH="$work/bin:$PATH" "$fetch" zlib "$work/mirror" "$work/dest"
grep -q 'does not have; taking 1.3-1$' "$work/said" && status=0 || status=1
verdict "fetch: and that is said" "$status" "$(cat "$work/said")"
printf x |
    dd of="$(echo "$work"/download/zlib/*.orig.tar.*)" bs=1 seek=5000 conv=notrunc 2>/dev/null
refuses "fetch: a damaged package is not used" 'could not be downloaded' \
    "$fetch" zlib "$work/download" "$work/dest"
refuses "fetch: a damaged package of the user's own is not used" 'could not be unpacked' \
    "$fetch" zlib "$work/download" "$work/dest" "$(echo "$work"/download/zlib/*.dsc)"

echo "$passed passed, $failed failed"
[ "$failed" = 0 ]
