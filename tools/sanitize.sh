#!/bin/sh
# sanitize.sh address|thread [make's options]: builds with sanitizers and runs the tests under them.
# address: AddressSanitizer, LeakSanitizer, UndefinedBehaviorSanitizer; C tests and all specs.
# thread:  ThreadSanitizer; C tests of the core's threads, and the specs tagged #threads.
# Lua itself and OpenBLAS are not instrumented. `make asan` and `make tsan` run this.
# intercept_tls_get_addr=0: GCC 12's LeakSanitizer crashes on the thread-local variables that a library
# opened at run time has in threads that still live at exit.
set -eu

kind=$1
shift
CC=${FOUND_CC:-cc}
build=${BUILD:-build}
tools=$(pwd)/tools

# The path of the compiler's runtime library, for the interpreter, which was built without it.
runtime() {
    for name in "lib$1.so" "libclang_rt.$2-$(uname -m).so"; do
        path=$("$CC" -print-file-name="$name")
        [ "$path" = "$name" ] || { readlink -f "$path"; return; }
    done
    echo "$CC has no $1 runtime library" >&2
    return 1
}

case $kind in
address)
    build=$build/asan
    flags="-fsanitize=address,undefined -fno-sanitize-recover=undefined -fno-omit-frame-pointer"
    preload=$(runtime asan asan)
    options="ASAN_OPTIONS=detect_leaks=1:detect_stack_use_after_return=1:strict_string_checks=1:\
allocator_may_return_null=1:check_initialization_order=1:intercept_tls_get_addr=0 LSAN_OPTIONS=suppressions=$tools/lsan.supp:\
print_suppressions=0 UBSAN_OPTIONS=print_stacktrace=1"
    select=""
    pattern='_test$'
    specs="--keep-going --output-sync=target ${SPEC:-test-each}"
    ;;
thread)
    build=$build/tsan
    flags="-fsanitize=thread -fno-omit-frame-pointer"
    preload=$(runtime tsan tsan)
    options="TSAN_OPTIONS=suppressions=$tools/tsan.supp:halt_on_error=0:exitcode=66"
    select="--tags=threads"
    specs="test-lua"
    pattern='\(base\|crew\|loader\|pool\|threads\)_test$'
    ;;
*)
    echo "sanitize.sh: address or thread, not $kind" >&2
    exit 2
    ;;
esac

echo "== build with $flags"
"${MAKE:-make}" --no-print-directory -s "$@" BUILD="$build" CFLAGS="-O1 -g" EXTRA_CFLAGS="$flags" all tests
status=0
programs=$(find "$build/tests" -name '*_test' | grep "$pattern" | sort)
tools/run-tests.sh $options SIAMESE_SANITIZED=$kind $programs || status=1
# The preload is for the interpreter alone: busted is started by name, without a shell between.
# shellcheck disable=SC2086
"${MAKE:-make}" --no-print-directory -s "$@" BUILD="$build" CFLAGS="-O1 -g" EXTRA_CFLAGS="$flags" $specs \
    TEST_ENV="$options SIAMESE_SANITIZED=$kind LD_PRELOAD=$preload" BUSTED="$select ${BUSTED:-}" \
    || status=1
exit $status
