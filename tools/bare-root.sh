#!/bin/sh
# bare-root.sh [TARGET...]: proves that make's targets (default: test) need nothing but make and apt.
#
# Sets up the smallest Debian or Ubuntu of this system's release in a temporary folder (ROOT=folder
# keeps it there and uses it again), from the same archive as this system's apt, copies the tree
# into it without anything that was built, and runs `make TARGET...` in there. Needs root and
# debootstrap.
set -eu

[ "$(id -u)" = 0 ] || { echo "bare-root.sh: must be run as root" >&2; exit 1; }
command -v debootstrap >/dev/null || { echo "bare-root.sh: needs debootstrap" >&2; exit 1; }
tree=$(cd "$(dirname "$0")/.." && pwd)
. /etc/os-release

# The distribution's own archive, as apt here knows it: "URI suite component" a line.
archive=$(apt-get indextargets --format '$(ORIGIN) $(REPO_URI) $(RELEASE) $(COMPONENT)' \
    'Created-By: Packages' | awk '$1 == "Debian" || $1 == "Ubuntu" { print $2, $3, $4 }' | sort -u)
mirror=$(echo "$archive" | awk -v suite="$VERSION_CODENAME" '$2 == suite { print $1; exit }')
[ -n "$mirror" ] || { echo "bare-root.sh: apt knows no $VERSION_CODENAME archive (apt-get update?)" >&2; exit 1; }

root=${ROOT:-}
if [ -z "$root" ]; then
    root=$(mktemp -d)
    trap 'rm -rf --one-file-system "$root"' EXIT
fi
if [ ! -x "$root/usr/bin/make" ]; then
    echo "== debootstrap: $VERSION_CODENAME with make"
    mkdir -p "$root"
    debootstrap --variant=minbase --include=make,ca-certificates "$VERSION_CODENAME" "$root" "$mirror" \
        >"$root/debootstrap.out" 2>&1 || { tail -n 20 "$root/debootstrap.out" >&2; exit 1; }
    rm -f "$root/debootstrap.out"
    echo "$archive" | sed 's/^/deb /' >"$root/etc/apt/sources.list"
fi
# What lets apt reach the archive here: its settings of transport, the resolver, certificates.
for file in /etc/apt/apt.conf /etc/apt/apt.conf.d/*; do
    if grep -qs 'Acquire' "$file"; then cp "$file" "$root$file"; fi
done
[ ! -d /etc/apt/auth.conf.d ] || cp -r /etc/apt/auth.conf.d "$root/etc/apt/"
for file in /etc/resolv.conf /etc/hosts /etc/ssl/certs/ca-certificates.crt; do
    [ ! -f "$file" ] || cp -L "$file" "$root$file"
done

rm -rf "$root/siamese"
mkdir "$root/siamese"
cd "$tree"
if git rev-parse --git-dir >/dev/null 2>&1; then
    git ls-files -co --exclude-standard | while read -r f; do [ ! -f "$f" ] || echo "$f"; done |
        tar -c -T -
else
    tar -c --exclude=./build .
fi | tar -x -C "$root/siamese"

echo "== in the bare root: make ${*:-test}"
targets=${*:-test}
export root targets
# A mount namespace of its own, so that /proc is gone when the command ends.
unshare --mount sh -c 'mount -t proc proc "$root/proc" &&
    exec env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LC_ALL=C.UTF-8 ${CI:+CI=$CI} \
        ${http_proxy:+http_proxy=$http_proxy} ${https_proxy:+https_proxy=$https_proxy} \
        chroot "$root" make -C /siamese $targets'
