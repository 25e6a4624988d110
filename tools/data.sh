#!/bin/sh
# Unpacks the archives of real data for tests, examples and benchmarks into build/data.
#
#     tools/data.sh [ARCHIVES [INTO]]
#
# ARCHIVES is a folder with omniglot/, orl_faces/, lfw/ (default: $SIAMESE_DATA, then ../shared/data).
# Afterwards there are INTO/omniglot/images_background, INTO/omniglot/all_runs/runNN,
# INTO/orl_faces/sN and INTO/lfw. What is there already is left alone; what has no archive is
# left out, saying so.
set -eu

archives=${1:-${SIAMESE_DATA:-../shared/data}}
into=${2:-build/data}

# unpack ARCHIVE FOLDER RESULT: unzips into FOLDER (by way of a temporary folder, so that a
# half-unpacked one is never taken for a whole), unless RESULT is there.
unpack() {
    [ -e "$into/$3" ] && return 0
    if [ ! -f "$archives/$1" ]; then
        echo "data.sh: no $archives/$1, left out" >&2
        return 0
    fi
    rm -rf "$into/unpacking"
    mkdir -p "$into/unpacking"
    if command -v unzip >/dev/null; then
        unzip -q "$archives/$1" -d "$into/unpacking"
    elif command -v python3 >/dev/null; then
        python3 -m zipfile -e "$archives/$1" "$into/unpacking"
    else
        echo "data.sh: neither unzip nor python3 is here to unpack $1" >&2
        exit 1
    fi
    mkdir -p "$into/$2"
    for entry in "$into/unpacking"/*; do
        mv "$entry" "$into/$2/"
    done
    rm -rf "$into/unpacking"
}

unpack omniglot/images_background.zip omniglot omniglot/images_background
unpack omniglot/all_runs_01_10.zip omniglot/all_runs omniglot/all_runs/run01
unpack orl_faces/orl_faces.zip . orl_faces
unpack lfw/lfw_view1_112.zip . lfw
