#!/bin/sh
# make fuzz [FUZZ=cpu] [FUZZ_TIME=seconds] [FUZZ_SEED=n]: random bytes as code, under ASan and UBSan,
# into the decoder and each engine. With clang's libFuzzer where it is installed, else with the
# harness's own random inputs. What is found is left in out/fuzz.
set -e
what=${1:-cpu}
seconds=${FUZZ_TIME:-600}
folder=out/fuzz
if [ ! -f "tests/fuzz/fuzz_$what.c" ]; then
    echo "FUZZ=$what: there is no tests/fuzz/fuzz_$what.c" >&2
    exit 1
fi
mkdir -p "$folder/corpus-$what"
flags="-std=gnu11 -O1 -g -I. -D_GNU_SOURCE -D_FILE_OFFSET_BITS=64 -fno-strict-aliasing -fno-omit-frame-pointer -pthread"
flags="$flags -fsanitize=address,undefined -fno-sanitize-recover=undefined"
sources="tests/fuzz/fuzz_$what.c tests/cpu/guest.c cpu-accel/x86/*.c cpu-accel/interpreter/*.c cpu-accel/translator/*.c"
sources="$sources machine/core/*.c"
libs="-lcmocka -lm -lrt"
binary="$folder/fuzz_$what"
export ASAN_OPTIONS="${ASAN_OPTIONS:-detect_leaks=0:allow_user_segv_handler=1:use_sigaltstack=0}"
try='extern int LLVMFuzzerTestOneInput(const unsigned char *d, unsigned long n); int LLVMFuzzerTestOneInput(const unsigned char *d, unsigned long n) { (void)d; return n == 99; }'
if command -v clang >/dev/null && echo "$try" | clang -x c -fsanitize=fuzzer - -o "$folder/try" 2>/dev/null; then
    echo "building with clang's libFuzzer"
    # shellcheck disable=SC2086
    clang $flags -fsanitize=fuzzer -o "$binary" $sources $libs
    exec nice "$binary" -max_total_time="$seconds" -max_len=256 -artifact_prefix="$folder/" \
        ${FUZZ_SEED:+-seed=$FUZZ_SEED} "$folder/corpus-$what"
fi
echo "building with ${CC:-cc}: clang's libFuzzer is not installed"
# shellcheck disable=SC2086
${CC:-cc} $flags -DFUZZ_STANDALONE -o "$binary" $sources $libs
FUZZ_LAST="$folder/last-$what" exec nice "$binary" "$seconds" $FUZZ_SEED
