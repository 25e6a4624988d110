#!/bin/sh
# run-tests.sh PROGRAM...: runs C test programs; fails if one does.
failed=0
for program in "$@"; do
    echo "== $(basename "$program")"
    "$program" || failed=1
done
exit $failed
