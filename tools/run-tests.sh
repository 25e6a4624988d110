#!/bin/sh
# run-tests.sh [NAME=VALUE...] PROGRAM...: runs C test programs in that environment, each after the
# other, and fails if one of them does, or takes longer than five minutes where there
# is a `timeout` to stop it.
limit=""
command -v timeout >/dev/null && limit="timeout 300"
failed=0
settings=""
for argument in "$@"; do
    case $argument in
    *=*) settings="$settings $argument" ;;
    *)
        echo "== $(basename "$argument")"
        # shellcheck disable=SC2086
        env $settings $limit "$argument" || { failed=1; echo "$(basename "$argument"): FAILED" >&2; }
        ;;
    esac
done
exit $failed
