#!/bin/bash
# Unpack one of the distribution's arm64 packages: fetch_package.sh DOWNLOADS TARGET PACKAGE PROOF
#
# PROOF is a file that the package must bring, below TARGET.
# apt runs with a configuration, lists and a status file of its own, for arm64 only, so that neither
# the system's architectures nor its package lists change. A package that is in DOWNLOADS already
# is taken as it is.

set -euo pipefail
downloads=$1 target=$2 package=$3 proof=$4

die() { printf 'fetch_package: %s\n' "$@" >&2; exit 1; }

mkdir -p "$downloads" "$target"
deb=$(compgen -G "$downloads/${package}_*_arm64.deb" | sort | tail -n 1) || true
if [ -z "$deb" ]; then
    command -v apt-get >/dev/null || die "this system has no apt-get; put Debian's" \
        "${package}_VERSION_arm64.deb into $downloads, and start again"
    root=$(mktemp -d)
    trap 'rm -rf "$root"' EXIT
    mkdir -p "$root"/etc/apt/{apt.conf.d,preferences.d} "$root/var/lib/dpkg" \
        "$root/var/lib/apt/lists/partial" "$root/var/cache/apt/archives/partial"
    : >"$root/var/lib/dpkg/status"
    # The system's own sources, whichever form they have.
    cp -r /etc/apt/sources.list.d "$root/etc/apt/"
    cp /etc/apt/sources.list "$root/etc/apt/" 2>/dev/null || true
    options=(-qq -o "Dir=$root" -o "Dir::State::status=$root/var/lib/dpkg/status"
        -o Dir::Etc::trustedparts=/etc/apt/trusted.gpg.d/
        -o APT::Architecture=arm64 -o APT::Architectures=arm64
        -o APT::Sandbox::User=root -o Acquire::Languages=none)
    # One source without arm64 packages makes the update fail; the others may have the package.
    apt-get "${options[@]}" update >"$downloads/arm64.log" 2>&1 || true
    if ! (cd "$downloads" && apt-get "${options[@]}" download "$package" >>arm64.log 2>&1); then
        tail -n 5 "$downloads/arm64.log" >&2
        die "apt-get could not download $package for arm64"
    fi
    deb=$(compgen -G "$downloads/${package}_*_arm64.deb" | sort | tail -n 1)
fi
dpkg-deb -x "$deb" "$target"
test -e "$target/$proof" || die "$deb has no $proof"
