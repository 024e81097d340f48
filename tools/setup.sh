#!/bin/bash
# Install what building, running and testing metalcow needs, and fetch the guest's parts.
#
#   tools/setup.sh [GROUP]...   build, run, test, bench, aarch64, debug; none given: the first three
#
# Silent and quick when nothing is missing. Debian packages come from the machine's own configured
# apt sources. The guest's kernel, boot loaders and busybox are downloaded and unpacked below
# build/, and never installed, because a test guest must not change this system's /boot.
# The plain `build` group fetches nothing for the guest.

# shellcheck disable=SC2034 # the arrays are read by name, in members()

set -euo pipefail
cd "$(dirname "$0")/.."
BUILD=${BUILD:-build}

packages_build=(gcc libc6-dev make musl-tools binutils gnu-efi dpkg-dev xz-utils python3)
packages_run=(qemu-system-x86 qemu-utils debootstrap ovmf mtools dosfstools fdisk e2fsprogs)
packages_test=(clang clang-tidy clang-format libclang-rt-14-dev universal-ctags cpio lcov
               shellcheck cppcheck genisoimage libqcow-dev libnbd-bin fio man-db groff-base
               sbsigntool openssl gdisk swtpm swtpm-tools)
packages_aarch64=(gcc-aarch64-linux-gnu libc6-dev-arm64-cross qemu-system-arm qemu-efi-aarch64
                  u-boot-qemu)
packages_bench=(qemu-utils libqcow-dev python3)
packages_debug=(g++ nasm acpica-tools uuid-dev python3-distutils)

# Programs that stand for the packages on a system without dpkg.
programs_build=(gcc musl-gcc make ld objcopy nm xz python3)
programs_run=(qemu-system-x86_64 qemu-img debootstrap mcopy mkfs.fat sfdisk mke2fs)
programs_test=(clang clang-tidy clang-format ctags cpio lcov shellcheck cppcheck genisoimage
               nbdinfo nbdcopy fio man groff sbsign openssl
               sgdisk swtpm swtpm_setup)
programs_aarch64=(aarch64-linux-gnu-gcc qemu-system-aarch64)
programs_bench=(qemu-img qcowinfo python3)
programs_debug=(g++ nasm iasl python3)

# Parts of the guest: package, and the file that proves it is unpacked.
guest_root=$BUILD/guest/root
guest_parts=(
    "grub-efi-amd64-signed usr/lib/grub/x86_64-efi-signed/grubx64.efi.signed"
    "systemd-boot-efi usr/lib/systemd/boot/efi/systemd-bootx64.efi"
    "busybox-static bin/busybox"
    "linux-image-cloud-amd64 boot/vmlinuz-*"
)
guest_root_arm64=$BUILD/guest/root-aa64
guest_parts_arm64=(
    "grub-efi-arm64-signed usr/lib/grub/arm64-efi-signed/grubaa64.efi.signed"
    "systemd-boot-efi usr/lib/systemd/boot/efi/systemd-bootaa64.efi"
    "busybox-static bin/busybox"
)

say() { printf 'setup: %s\n' "$*" >&2; }

die() { say "$@"; exit 1; }

# $1...: groups; prints the members of the arrays named PREFIX_GROUP.
members() {
    local prefix=$1 group
    shift
    for group in "$@"; do
        local -n list=${prefix}_$group
        printf '%s\n' "${list[@]}"
    done
}

as_root() {
    if [ "$(id -u)" = 0 ]; then
        "$@"
    elif command -v sudo >/dev/null; then
        sudo "$@"
    else
        die "not root and no sudo; run this as root, then start again: $*"
    fi
}

apt_updated=
apt_update() {
    [ -z "$apt_updated" ] || return 0
    say "refreshing the package lists (apt-get update)"
    as_root apt-get update -qq
    apt_updated=yes
}

# Whether apt's lists know every package given.
apt_knows() {
    local package
    for package in "$@"; do
        apt-cache show --no-all-versions "$package" >/dev/null 2>&1 || return 1
    done
}

missing_packages() {
    local installed
    installed=$(dpkg-query -W -f '${Package} ${db:Status-Status}\n' "$@" 2>/dev/null || true)
    local package
    for package in "$@"; do
        grep -qxF "$package installed" <<<"$installed" || printf '%s\n' "$package"
    done
}

# apt-get's own chatter goes to a file, which is shown when it fails.
apt_install() {
    mkdir -p "$BUILD"
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq -o Dpkg::Use-Pty=0 \
        --no-install-recommends "$@" >"$BUILD/setup.log" 2>&1
}

install_packages() {
    say "installing ${#} Debian package(s): $*"
    say "by hand, on Debian:  apt-get install --no-install-recommends $*"
    say "elsewhere: the same programs from your distribution (make run and make test only look" \
        "whether they are there)"
    apt_knows "$@" || apt_update
    apt_install "$@" && return
    # Old lists name versions that the mirror no longer has; fresh ones cure that.
    [ -n "$apt_updated" ] || { apt_update && apt_install "$@" && return; }
    tail -n 20 "$BUILD/setup.log" >&2
    die "apt-get could not install: $*"
}

check_programs() {
    local program missing=()
    for program in "$@"; do
        PATH=$PATH:/usr/sbin:/sbin command -v "$program" >/dev/null || missing+=("$program")
    done
    [ ${#missing[@]} = 0 ] || die "this is not a Debian system and these programs are missing:" \
        "${missing[*]}. Install them (on Debian 12 they come from: $(members packages \
        "${groups[@]}" | tr '\n' ' ')), and start again."
}

# A package of the guest as one .deb in build/download; prints its path.
guest_deb() {
    local package=$1 deb
    deb=$(compgen -G "$BUILD/download/${package}_*.deb" | sort | tail -n 1) || true
    if [ -z "$deb" ]; then
        apt_knows "$package" || apt_update
        say "downloading $package for the guest (unpacked below $BUILD, not installed)"
        (cd "$BUILD/download" && fetch_deb "$package") || {
            apt_update
            (cd "$BUILD/download" && fetch_deb "$package")
        } || die "apt-get could not download $package; put its .deb into $BUILD/download"
        deb=$(compgen -G "$BUILD/download/${package}_*.deb" | sort | tail -n 1)
    fi
    printf '%s\n' "$deb"
}

# As root, apt downloads as a user of its own, who may not write here.
fetch_deb() { apt-get download -qq -o APT::Sandbox::User=root "$1" >&2; }

# linux-image-cloud-amd64 only depends on the package that holds the kernel of the day.
kernel_package() {
    local deb
    deb=$(compgen -G "$BUILD/download/linux-image-[0-9]*-cloud-amd64_*.deb" | sort | tail -n 1) ||
        true
    if [ -n "$deb" ]; then
        deb=${deb##*/}
        printf '%s\n' "${deb%%_*}"
        return
    fi
    apt_knows linux-image-cloud-amd64 || apt_update
    apt-cache depends linux-image-cloud-amd64 |
        sed -nE 's/^ *Depends: (linux-image-[0-9].*-cloud-amd64)$/\1/p' | head -n 1
}

guest_part() {
    local package=$1 proof=$2 deb
    compgen -G "$guest_root/$proof" >/dev/null && return
    if [ "$package" = linux-image-cloud-amd64 ] && command -v apt-cache >/dev/null; then
        package=$(kernel_package)
        [ -n "$package" ] || die "apt knows no kernel package for linux-image-cloud-amd64"
    fi
    if ! command -v dpkg-deb >/dev/null || ! command -v apt-get >/dev/null; then
        die "the guest is made of Debian's own $package; unpack that package below $guest_root" \
            "(it has to bring $proof), and start again"
    fi
    mkdir -p "$BUILD/download" "$guest_root"
    deb=$(guest_deb "$package")
    dpkg-deb -x "$deb" "$guest_root"
    compgen -G "$guest_root/$proof" >/dev/null || die "$deb holds no $proof"
}

# The same parts for the AArch64 guest, of the same versions; the system's own architectures stay.
guest_parts_of_arm64()
{
    local row kernel rows=("${guest_parts_arm64[@]}")
    kernel=$(compgen -G "$guest_root/boot/vmlinuz-*-cloud-amd64" | sort | tail -n 1) ||
        die "the x86-64 guest has no kernel; run tools/setup.sh run"
    kernel=${kernel##*/vmlinuz-}
    kernel=${kernel%amd64}arm64
    rows+=("linux-image-$kernel boot/vmlinuz-$kernel")
    for row in "${rows[@]}"; do
        [ -e "$guest_root_arm64/${row#* }" ] ||
            efi/arch/aa64/fetch_package.sh "$BUILD/download" "$guest_root_arm64" "${row% *}" \
                "${row#* }"
    done
}

groups=("$@")
[ $# -gt 0 ] || groups=(build run test)
for group in "${groups[@]}"; do
    case $group in
    build | run | test | bench | aarch64 | debug) ;;
    *) die "unknown group '$group'; the groups are: build run test bench aarch64 debug" ;;
    esac
done

if command -v dpkg-query >/dev/null && command -v apt-get >/dev/null; then
    mapfile -t wanted < <(members packages "${groups[@]}")
    mapfile -t missing < <(missing_packages "${wanted[@]}")
    [ ${#missing[@]} = 0 ] || install_packages "${missing[@]}"
else
    mapfile -t wanted < <(members programs "${groups[@]}")
    check_programs "${wanted[@]}"
fi

case " ${groups[*]} " in
*" run "* | *" test "*)
    for part in "${guest_parts[@]}"; do
        # shellcheck disable=SC2086 # a row of two words
        guest_part ${part}
    done
    ;;
esac
case " ${groups[*]} " in
*" aarch64 "*) guest_parts_of_arm64 ;;
esac
