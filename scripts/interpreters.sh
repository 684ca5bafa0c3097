#!/usr/bin/env bash
# The interpreters that tachyscope is tested against, on a Debian machine.
# CPython 3.8 to 3.13 are taken from pyenv or the system where they are; nothing is built. 3.14 and 3.15 are
# Debian sid's packages, unpacked into a root of their own under the cache directory.
set -euo pipefail

readonly usage="usage: ${0##*/} install | mount | umount | list | path [VERSION [FLAVOUR]]

  install   unpack the sid root unless it is there (needs root and about 500 MB); report what is missing
  mount     mount /proc inside the root; interpreters there need it to be useful
  umount    undo mount, and only that
  list      one line per interpreter: version, flavour, then a path or 'chroot ROOT PATH'; 'direct' ones are copies
            that run without chroot
  path      print where the root is, or how to run one interpreter: path 3.15 debug

To renew the root: umount it, delete it, install again."

readonly cache="${TACHYSCOPE_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/tachyscope}/interpreters"
readonly root="$cache/sid"  # appears by a rename, so it is complete when it exists
readonly mark=tachyscope    # the source shown in the mount table for what we mounted
readonly sid_versions=(3.14 3.15)

say() { printf '%s\n' "$*" >&2; }
die() { say "${0##*/}: $*"; exit 1; }
need_root() { [[ $EUID == 0 ]] || die "$1 needs root"; }
need_sid() { [[ -d $root ]] || die "no root at $root; run '${0##*/} install' first"; }

lock() {  # held until the script ends
    mkdir -p "$cache"
    exec 9>"$cache/.lock"
    flock 9
}

mirror() {  # the Debian mirror this machine already uses, else Debian's public default
    local found
    # shellcheck disable=SC2016  # $(REPO_URI) is apt's
    found=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' 'Label: Debian' 'Component: main' |
        sed -n '\#^https\?://.#p' | sort -u) || found=
    found=${found%%$'\n'*}
    echo "${found:-http://deb.debian.org/debian}"
}

discard() {  # remove an unfinished root, with whatever debootstrap left mounted in it
    local target
    findmnt -rno TARGET | { grep -F "$1/" || true; } | sort -r | while read -r target; do umount "$target"; done
    rm -rf --one-file-system "$1"
}

make_sid() {
    local half=$cache/sid.half from available version part name packages=(ca-certificates)
    if ! command -v debootstrap >/dev/null; then
        say 'installing debootstrap'
        apt-get -qq update >&2
        apt-get -qq install -y --no-install-recommends debootstrap debian-archive-keyring >&2
    fi
    from=$(mirror)
    [[ ! -e $half ]] || discard "$half"
    trap 'discard "$cache/sid.half"' EXIT
    mkdir -p "$half"
    say "reading the package index of $from"
    debootstrap --variant=minbase --print-debs --keep-debootstrap-dir sid "$half" "$from" >"$cache/install.log" 2>&1 ||
        die "debootstrap failed; see $cache/install.log"
    available=$(sed -n 's/^Package: //p' "$half"/var/lib/apt/lists/*_Packages)
    for version in "${sid_versions[@]}"; do
        for part in python@ python@-dbg python@-nopie python@-dev python@-venv libpython@; do
            name=${part/@/$version}
            if grep -qxF "$name" <<<"$available"; then packages+=("$name"); else say "sid has no $name: left out"; fi
        done
    done

    say "unpacking ${packages[*]}"
    debootstrap --variant=minbase --include="$(IFS=,; echo "${packages[*]}")" sid "$half" "$from" \
        >>"$cache/install.log" 2>&1 || die "debootstrap failed; see $cache/install.log"
    rm -rf "$half"/{var/cache/apt/archives,var/lib/apt/lists}/* "$half"/usr/{lib/debug,share/{doc,locale,man}}
    find "$half/usr/lib" -name 'libpython*.a' -delete
    make_shared "$half"
    make_direct "$half"
    chmod 755 "$half"
    if findmnt -rno TARGET | grep -qF "$half/"; then die "debootstrap left mounts in $half"; fi
    mv -T "$half" "$root"
    trap - EXIT
}

make_shared() {  # Debian's own programs are static: a tiny one that runs its libpython, for each
    local version library
    command -v cc >/dev/null || { say 'no C compiler: the shared flavour is left out'; return; }
    for version in "${sid_versions[@]}"; do
        for library in "$1"/usr/lib/*/libpython"$version".so.1.0; do
            [[ -e $library ]] || continue
            cc -O2 -x c - -x none "$library" -Wl,--allow-shlib-undefined -o "$1/usr/bin/python$version-shared" \
                <<<'int Py_BytesMain(int, char **); int main(int n, char **v) { return Py_BytesMain(n, v); }' ||
                say "$library does not link: no shared flavour of $version"
        done
    done
}

make_direct() {  # copies that run without chroot: with the root's own loader and libraries, wherever the root will be
    local version from
    command -v patchelf >/dev/null || apt-get -qq install -y --no-install-recommends patchelf >&2
    for version in "${sid_versions[@]}"; do
        from=$1/usr/bin/python$version-pie
        [[ -x $from ]] || from=$1/usr/bin/python$version
        [[ -x $from ]] || continue
        cp "$from" "$1/usr/bin/python$version-direct"
        patchelf --force-rpath --set-rpath "$root/usr/lib/$(uname -m)-linux-gnu" \
            --set-interpreter "$root/lib64/ld-linux-x86-64.so.2" "$1/usr/bin/python$version-direct"
    done
}

list_outside() {  # each interpreter tells its own version and flavour
    local python
    for python in "${PYENV_ROOT:-$HOME/.pyenv}"/versions/3.*/bin/python /usr{,/local}/bin/python3.{8,9,10,11,12,13}; do
        [[ -x $python ]] || continue
        "$python" -ISc '
import platform, sys, sysconfig
var = sysconfig.get_config_var
flavours = ["debug"] * bool(var("Py_DEBUG")) + ["freethreaded"] * bool(var("Py_GIL_DISABLED"))
if "libpython" in open("/proc/self/maps").read():  # Debian says Py_ENABLE_SHARED of its static programs, too
    flavours.append("shared")
if sys.version_info >= (3, 8):
    print(platform.python_version(), "+".join(flavours) or "default", sys.argv[1])' "$python" ||
            say "$python does not run"
    done
}

list_sid() {
    local version full flavour flavours program
    for version in "${sid_versions[@]}"; do
        [[ -x $root/usr/bin/python$version ]] || continue
        full=$(dpkg-query --admindir="$root/var/lib/dpkg" -Wf '${source:Upstream-Version}' "python$version")
        program=$root/usr/bin/python$version-direct
        [[ ! -x $program ]] || echo "$full direct $program"
        flavours=default:  # Debian's -nopie package takes over the plain name and moves the default build aside
        [[ ! -x $root/usr/bin/python$version-pie ]] || flavours='default:-pie nopie:'
        for flavour in $flavours debug:-dbg shared:-shared; do
            program=/usr/bin/python$version${flavour#*:}
            [[ ! -x $root$program ]] || echo "$full ${flavour%%:*} chroot $root $program"
        done
    done
}

list() { { list_outside; [[ ! -d $root ]] || list_sid; } | sort -sV -k1,1; }

install() {
    local found version
    if [[ ! -d $root ]]; then need_root install; lock; fi
    [[ -d $root ]] || make_sid
    found=$(list)
    for version in 3.{8..15}; do grep -q "^$version\." <<<"$found" || say "no CPython $version here"; done
    echo "$found"
}

path() {
    [[ $# -gt 0 ]] || { echo "$root"; return; }
    list | grep -m1 -E "^${1//./\\.}(\.[^ ]*)? ${2:-[^ ]+} " | cut -d' ' -f3- || die "no CPython $*; see 'list'"
}

case "${1:-}" in
    install | list) "$1" ;;
    path) shift; path "$@" ;;
    mount) need_root mount; need_sid; lock; mountpoint -q "$root/proc" || mount -t proc "$mark" "$root/proc" ;;
    umount) need_root umount; need_sid; lock
        if [[ $(findmnt -rno SOURCE --mountpoint "$root/proc") == "$mark" ]]; then umount "$root/proc"; fi ;;
    -h | --help) echo "$usage" ;;
    *) say "$usage"; exit 2 ;;
esac
