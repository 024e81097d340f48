#!/bin/bash
# Put the sources of one third-party package where the build expects them.
#
#   fetch.sh PACKAGE DOWNLOAD_DIR DEST_DIR [SOURCE]
#   fetch.sh --sources DIR      only write the private sources lists into DIR
#
# PACKAGE       Debian source package: zlib, libzstd, bearssl or edk2
# DOWNLOAD_DIR  kept between builds (make clean leaves it): the package and apt's private state
# DEST_DIR      becomes the unpacked and patched source tree
# SOURCE        the user's own: an unpacked source tree, or a .dsc with its files beside it;
#               nothing is downloaded then
#
# The package comes from the archive that this system already trusts: apt runs on a private
# configuration whose sources are the deb-src twins of the system's own entries, so that apt checks
# the archive's signature and every checksum, and nothing on the system changes. dpkg-source checks
# the tarballs against the .dsc once more when it unpacks.
#
# METALCOW_APT_ETC and METALCOW_OS_RELEASE replace /etc/apt and /etc/os-release for the tests.
set -euo pipefail
export LC_ALL=C

etc_apt=${METALCOW_APT_ETC:-/etc/apt}
os_release=${METALCOW_OS_RELEASE:-/etc/os-release}

say() { echo "fetch.sh: $*" >&2; }

usage()
{
    sed -n '4,12s/^# \?//p' "$0" >&2
    exit 2
}

# Print why it failed and what the user can do, and end.
give_up()
{
    say "$1"
    cat >&2 <<TEXT
metalcow compiles this from the distribution's own source package (a prebuilt library must
not run in firmware). Either make the archive reachable and run make again,
or give the sources: an unpacked tree, or a .dsc file with its tarballs beside it, as in
    make $make_variable=/path/to/$package
TEXT
    exit 1
}

# One deb-src line for each "deb" or "deb-src" line of a one-line sources list whose suite belongs
# to this distribution and which has the component main.
twins_of_list()
{
    awk -v codename="$codename" '
        function ours(suite) {
            return suite == codename || suite == codename "-updates" ||
                   suite == codename "-security" || suite == codename "/updates"
        }
        { sub(/#.*/, "") }
        $1 != "deb" && $1 != "deb-src" { next }
        {
            options = ""
            rest = $0
            sub(/^[ \t]*[^ \t]+[ \t]+/, "", rest)
            if (rest ~ /^\[/) {
                end = index(rest, "]")
                options = " " substr(rest, 1, end)
                rest = substr(rest, end + 1)
            }
            n = split(rest, word, " ")
            for (i = 3; i <= n; i++)
                if (word[i] == "main" && ours(word[2]))
                    print "deb-src" options " " word[1] " " word[2] " main"
        }' "$1"
}

# The same for a deb822 file: one stanza for each enabled stanza of ours. Fields other than the
# ones rewritten (URIs, Signed-By with its continuation lines, Trusted, ...) are kept as they are.
twins_of_deb822()
{
    awk -v codename="$codename" '
        function ours(suite) {
            return suite == codename || suite == codename "-updates" ||
                   suite == codename "-security" || suite == codename "/updates"
        }
        function value(line) { sub(/^[^:]*:[ \t]*/, "", line); return line }
        function flush_stanza(    n, i, word, kept) {
            n = split(suites, word, " ")
            for (i = 1; i <= n; i++)
                if (ours(word[i]))
                    kept = kept " " word[i]
            if (kept != "" && enabled && (" " components " ") ~ /[ \t]main[ \t]/)
                printf "Types: deb-src\nSuites:%s\nComponents: main\n%s\n", kept, other
            suites = components = other = field = ""
            enabled = 1
        }
        BEGIN { enabled = 1 }
        /^#/ { next }
        /^[ \t]*$/ { flush_stanza(); next }
        /^[^ \t]/ { field = tolower($0); sub(/:.*/, "", field) }
        field == "types" || field == "architectures" { next }
        field == "suites" { suites = suites " " value($0); next }
        field == "components" { components = components " " value($0); next }
        field == "enabled" {
            enabled = tolower(value($0)) !~ /^(no|false|0|off|without|disable)/
            next
        }
        { other = other $0 "\n" }
        END { flush_stanza() }' "$1"
}

# write_private_sources DIR
write_private_sources()
{
    local file parts=$1
    # shellcheck disable=SC1090 # the system's own file
    codename=$(. "$os_release" && echo "${VERSION_CODENAME:-}")
    [ -n "$codename" ] || give_up "$os_release names no VERSION_CODENAME"
    rm -rf "$parts"
    mkdir -p "$parts"
    for file in "$etc_apt/sources.list" "$etc_apt"/sources.list.d/*.list; do
        [ ! -r "$file" ] || twins_of_list "$file"
    done | sort -u >"$parts/twins.list"
    for file in "$etc_apt"/sources.list.d/*.sources; do
        [ ! -r "$file" ] || twins_of_deb822 "$file"
    done >"$parts/twins.sources"
    [ -s "$parts/twins.list" ] || [ -s "$parts/twins.sources" ] ||
        give_up "$etc_apt has no entry for the suite '$codename' with the component main"
}

# System settings (proxies, timeouts) are read first and stay; this file is read last. Hooks are
# cleared because they are written for the system's own apt state.
write_private_config()
{
    mkdir -p "$apt"/{state/lists/partial,cache/archives/partial,log,none}
    : >"$apt/status"
    cat >"$apt/apt.conf" <<CONF
Dir::State "$apt/state";
Dir::State::lists "$apt/state/lists";
Dir::State::status "$apt/status";
Dir::Cache "$apt/cache";
Dir::Cache::archives "$apt/cache/archives";
Dir::Log "$apt/log";
Dir::Etc::sourcelist "/dev/null";
Dir::Etc::sourceparts "$apt/sources";
Dir::Etc::preferences "/dev/null";
Dir::Etc::preferencesparts "$apt/none";
Acquire::Languages "none";
Acquire::Retries "2";
APT::Get::Download-Only "true";
#clear APT::Update::Pre-Invoke;
#clear APT::Update::Post-Invoke;
#clear APT::Update::Post-Invoke-Success;
CONF
    [ "$(id -u)" != 0 ] || echo 'APT::Sandbox::User "root";' >>"$apt/apt.conf"
}

# A foreign repository may use the distribution's suite names, so its lists are removed before a
# source package is chosen. The origin is in the signed Release file that apt has just checked.
drop_foreign_lists()
{
    local release
    for release in "$apt"/state/lists/*_{InRelease,Release}; do
        [ -e "$release" ] || continue
        grep -q '^Origin: Debian$' "$release" || rm -f "${release%_*}"_*
    done
}

update_lists()
{
    say "reading the archive's list of source packages"
    # One failing repository does not matter as long as the package is found in another.
    apt-get -c "$apt/apt.conf" -q update >"$apt/log/update" 2>&1 || true
    drop_foreign_lists
}

# try_download PACKAGE or PACKAGE=VERSION
try_download()
{
    rm -rf "$store.new"
    mkdir -p "$store.new"
    (cd "$store.new" &&
        apt-get -c "$apt/apt.conf" -q --only-source source "$1" >"$apt/log/source" 2>&1 &&
        sha256sum -- * >SHA256SUMS) || return 1
    rm -rf "$store"
    mv "$store.new" "$store"
}

# The versions that the archive lists, the newest first.
versions()
{
    apt-cache -c "$apt/apt.conf" --only-source showsrc "$package" 2>/dev/null |
        sed -n 's/^Version: //p' | sort -ruV
}

# A mirror may list a version, such as a security update of the day, before it has the files. An
# older one that it lists beside is as well signed.
try_older()
{
    local version
    for version in $(versions); do
        try_download "$package=$version" || continue
        say "the archive lists a newer $package that it does not have; taking $version"
        return
    done
    return 1
}

download()
{
    apt=$download/apt
    type apt-get >/dev/null 2>&1 || give_up "apt-get is not on this system"
    write_private_config
    write_private_sources "$apt/sources"
    say "downloading the source package $package"
    try_download "$package" && return
    update_lists
    try_download "$package" && return
    try_older && return
    grep -hE '^(E|W|Err)' "$apt"/log/{update,source} | sort -u | head -n 8 >&2 || true
    give_up "the source package $package could not be downloaded"
}

unpack_dsc()
{
    type dpkg-source >/dev/null 2>&1 || give_up "dpkg-source is missing: install dpkg-dev"
    local log=$dest.log
    # --no-copy leaves no second copy of the tarballs beside the tree.
    if ! dpkg-source --no-copy -x "$1" "$dest.new" >"$log" 2>&1; then
        cat "$log" >&2
        give_up "$1 could not be unpacked"
    fi
    rm -f "$log"
}

prepare()
{
    if [ -z "$source_path" ]; then
        # What was downloaded once is checked again: a cut-short or damaged file is fetched anew.
        (cd "$store" 2>/dev/null && sha256sum --quiet -c SHA256SUMS >&2) || download
        unpack_dsc "$(echo "$store"/*.dsc)"
    elif [ -d "$source_path" ]; then
        cp -R -- "$source_path" "$dest.new"
    elif [ -f "$source_path" ]; then
        unpack_dsc "$source_path"
    else
        give_up "there is no $source_path"
    fi
    [ -f "$dest.new/$witness" ] || give_up "${source_path:-$package} holds no $witness"
}

if [ $# = 2 ] && [ "$1" = --sources ]; then
    package=zlib make_variable=ZLIB_SRC
    write_private_sources "$2"
    exit
fi
if [ $# -lt 3 ] || [ $# -gt 4 ]; then
    usage
fi
package=$1 source_path=${4:-}
case $package in
zlib) witness=inflate.c make_variable=ZLIB_SRC ;;
libzstd) witness=lib/zstd.h make_variable=ZSTD_SRC ;;
bearssl) witness=inc/bearssl.h make_variable=BEARSSL_SRC ;;
edk2) witness=OvmfPkg/OvmfPkgX64.dsc make_variable='test-debug-firmware EDK2_SRC' ;;
*) usage ;;
esac
mkdir -p "$2" "$(dirname "$3")"
download=$(cd "$2" && pwd) dest=$(cd "$(dirname "$3")" && pwd)/$(basename "$3")
store=$download/$package

# Two packages are fetched by a parallel make; they share apt's private state.
exec 9>"$download/.lock"
flock 9
rm -rf "$dest" "$dest.new"
prepare
mv "$dest.new" "$dest"
