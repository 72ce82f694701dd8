#!/bin/sh
# make fuzz FUZZ=WHAT [FUZZ_TIME=seconds] [FUZZ_SEED=n], under ASan and UBSan. WHAT:
#   cpu                            random bytes as code, into the decoder and each engine
#   check                          the same under engine check
#   gus sb16 opl3 mpu401 es1370 ac97 speaker gameport lpt uart modem
#                                  ports, DMA and what comes from outside, for a device
#   ne2000 rtl8029 pcnet kbc serialmouse vmwareport
#                                  port accesses, frames and keys, for a device
#   ide atapi fdc                  disk controllers: commands, media changed by hand
#   vga blitter vbe                display cards: registers, memory, blits and the picture
#   qcow2 vmdk vdi vhd cue imd td0 raw
#                                  image files, beginning with some made by our own code
#   telnet                         telnet and its com port option: a peer's bytes in pieces
#   fat snapshot state             hostile folders as a FAT disk; snapshot files; the state of a machine
# With clang's libFuzzer where it is installed (Debian: libclang-rt-14-dev), else with the harness's own inputs. What is found
# is left in out/fuzz.
set -e
what=${1:-cpu}
seconds=${FUZZ_TIME:-600}
folder=out/fuzz
case $what in
    gus | sb16 | opl3 | mpu401 | es1370 | ac97 | speaker | gameport | lpt | uart | modem) kind=device ;;
    ne2000 | rtl8029 | pcnet | kbc | serialmouse | vmwareport) kind=board ;;
    ide | atapi | fdc) kind=drive ;;
    vga | blitter | vbe) kind=video ;;
    qcow2 | vmdk | vdi | vhd | cue | imd | td0 | raw) kind=image ;;
    *) kind=$what ;;
esac
if [ ! -f "tests/fuzz/fuzz_$kind.c" ]; then
    echo "FUZZ=$what: there is no tests/fuzz/fuzz_$kind.c; take one of these:" >&2
    sed -n 's/^#   //p' tests/fuzz/run.sh >&2
    exit 1
fi
mkdir -p "$folder/corpus-$what"
flags="-std=gnu11 -O1 -g -I. -D_GNU_SOURCE -D_FILE_OFFSET_BITS=64 -fno-strict-aliasing -fno-omit-frame-pointer -pthread"
flags="$flags -fsanitize=address,undefined -fno-sanitize-recover=undefined"
if [ "$kind" = state ]; then # a whole machine: with what MODE=asan builds
    make -j"$(nproc)" MODE=asan out/asan/libvitrine.a out/asan/tests/fuzz/fuzz_state.o out/asan/tests/state/pc_rig.o
    # shellcheck disable=SC2046
    ${CC:-cc} -fsanitize=address -pthread -o "$folder/fuzz_state" out/asan/tests/fuzz/fuzz_state.o out/asan/tests/state/pc_rig.o \
        out/asan/libvitrine.a -lcmocka $(sed -n 's/^LIB_LIBS := //p' out/config.mk) -limgui -lstb -lstdc++ -lm -ldl
    export ASAN_OPTIONS="${ASAN_OPTIONS:-detect_leaks=0}" FUZZ_LAST="$folder/last-state"
    # shellcheck disable=SC2086
    exec nice "$folder/fuzz_state" "$seconds" $FUZZ_SEED
fi
if [ "$kind" = cpu ] || [ "$kind" = check ]; then
    sources="tests/fuzz/fuzz_$kind.c tests/cpu/guest.c machine/engine_attach.c machine/host/host_time.c cpu-accel/x86/*.c cpu-accel/interpreter/*.c cpu-accel/translator/*.c cpu-accel/check/*.c"
    libs="-lcmocka -lm -lrt"
    limits="-max_len=500"
    export ASAN_OPTIONS="${ASAN_OPTIONS:-detect_leaks=0:allow_user_segv_handler=1:use_sigaltstack=0}"
elif [ "$kind" = device ]; then
    sources="tests/fuzz/fuzz_device.c $(ls chipset/*.c chipset/cards/*.c | tr "\n" " ")"
    libs="-lz -lm"
    limits="-max_len=4096 -len_control=0 -timeout=20 -rss_limit_mb=2048"
    flags="$flags -DFUZZ_DEVICE=\"$what\""
elif [ "$kind" = drive ]; then
    sources="tests/fuzz/fuzz_drive.c $(ls storage/*.c chipset/dma*.c | tr "\n" " ") chipset/pci.c machine/host/disk_file.c"
    libs="-lz -lzstd -lm"
    limits="-max_len=2048 -len_control=0 -timeout=20 -rss_limit_mb=2048"
    flags="$flags -DFUZZ_DEVICE=\"$what\""
elif [ "$kind" = telnet ]; then
    sources="tests/fuzz/fuzz_telnet.c machine/host/telnet.c machine/host/com_port.c"
    libs="-lz"
    limits="-max_len=4096 -len_control=0 -timeout=20 -rss_limit_mb=2048"
elif [ "$kind" = video ]; then
    sources="tests/fuzz/fuzz_video.c tests/unit/vga_rig.c tests/unit/chip.c chipset/pci.c"
    sources="$sources $(ls display/*.c | grep -v screenshot | tr "\n" " ")"
    libs="-lcmocka -lz"
    limits="-max_len=2048 -len_control=0 -timeout=20 -rss_limit_mb=2048"
    cover=-fno-sanitize-coverage=trace-cmp # comparing pictures would be nearly all of it
    flags="$flags -DFUZZ_DEVICE=\"$what\""
elif [ "$kind" = board ]; then
    sources="tests/fuzz/fuzz_board.c chipset/cards/ne2000.c chipset/cards/dp8390*.c chipset/cards/rtl8029.c chipset/cards/pcnet*.c"
    sources="$sources chipset/cards/serial_mouse.c chipset/cards/vmware_port.c chipset/kbc.c chipset/ps2_*.c chipset/pci.c chipset/uart.c"
    libs="-lz"
    limits="-max_len=2048 -len_control=0 -timeout=20 -rss_limit_mb=2048"
    flags="$flags -DFUZZ_DEVICE=\"$what\""
else
    sources="tests/fuzz/fuzz_$kind.c tests/fuzz/fuzz_seeds.c machine/host/disk_file.c"
    sources="$sources $(ls storage/*.c | grep -v "/ide\|/atapi\|/fdc\.\|/fdc_[ct]" | tr "\n" " ")"
    libs="-lz -lzstd"
    limits="-max_len=262144 -timeout=20 -rss_limit_mb=2048 -malloc_limit_mb=640"
    flags="$flags -DFUZZ_FORMAT=\"$what\""
fi
sources="$sources machine/core/*.c"
binary="$folder/fuzz_$what"
try='extern int LLVMFuzzerTestOneInput(const unsigned char *d, unsigned long n); int LLVMFuzzerTestOneInput(const unsigned char *d, unsigned long n) { (void)d; return n == 99; }'
seeds() {
    if [ "$kind" != cpu ] && [ "$kind" != check ] && [ "$kind" != board ] && [ "$kind" != device ] && [ "$kind" != video ]; then
        FUZZ_SEEDS="$folder/corpus-$what" "$binary"
    fi
}
if command -v clang >/dev/null && echo "$try" | clang -x c -fsanitize=fuzzer - -o "$folder/try" 2>/dev/null; then
    echo "building with clang's libFuzzer"
    # shellcheck disable=SC2086
    clang $flags -fsanitize=fuzzer ${cover:-} -o "$binary" $sources $libs
    seeds
    # shellcheck disable=SC2086
    exec nice "$binary" -max_total_time="$seconds" $limits -artifact_prefix="$folder/$what-" \
        ${FUZZ_SEED:+-seed=$FUZZ_SEED} "$folder/corpus-$what"
fi
echo "building with ${CC:-cc}: clang's libFuzzer is not installed"
# shellcheck disable=SC2086
${CC:-cc} $flags -DFUZZ_STANDALONE -o "$binary" $sources $libs
seeds
FUZZ_LAST="$folder/last-$what" FUZZ_CORPUS="$folder/corpus-$what" exec nice "$binary" "$seconds" $FUZZ_SEED
