#!/bin/sh
# run-tests.sh [NAME=VALUE...] PROGRAM...: runs C test programs in that environment, each after the
# other, and fails if one of them does.
failed=0
settings=""
for argument in "$@"; do
    case $argument in
    *=*) settings="$settings $argument" ;;
    *)
        echo "== $(basename "$argument")"
        # shellcheck disable=SC2086
        env $settings "$argument" || { failed=1; echo "$(basename "$argument"): FAILED" >&2; }
        ;;
    esac
done
exit $failed
