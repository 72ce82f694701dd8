#!/bin/sh
# Asks QEMU and Bochs, where they are installed, what they make of the programs of this folder:
# sh tests/system/peers.sh [PROGRAM...]. Prints their failed checks; docs/CPU.md has the list.
out=${VITRINE_OUT:-out/release}/tests/system
folder=$(mktemp -d) || exit 1
trap 'rm -rf "$folder"' EXIT
qemu=$(command -v qemu-system-i386)
bochs=$(command -v bochs)
[ -n "$qemu" ] || echo "# QEMU is not installed: left out"
[ -n "$bochs" ] || echo "# Bochs is not installed: left out"
show() { # name, file
    if grep -q '^1\.\.' "$2"; then
        echo "$1: $(grep -ac '^ok ' "$2") checks agree"
    else
        echo "$1: did not come to its end"
    fi
    grep -a -A1 '^not ok' "$2" | sed 's/^/    /'
}
[ $# -gt 0 ] || set -- "$out"/*.bin
for image in "$@"; do
    [ -f "$image" ] || image=$out/$image.bin
    name=$(basename "$image" .bin)
    if [ -n "$qemu" ]; then
        : >"$folder/lines"
        timeout 30 "$qemu" -accel tcg -cpu pentium3 -bios "$image" -display none -debugcon "file:$folder/lines" \
            -global isa-debugcon.iobase=0x402 -device isa-debug-exit,iobase=0xf4,iosize=4 >/dev/null 2>&1
        show "$name, QEMU" "$folder/lines"
    fi
    if [ -n "$bochs" ]; then
        cat >"$folder/bochsrc" <<EOF
romimage: file=$image, address=0xffff0000, options=none
vgaromimage: file=${VGABIOS:-/usr/share/seabios/vgabios-isavga.bin}
megs: 32
cpu: model=p3_katmai, reset_on_triple_fault=0
display_library: rfb, options="timeout=0"
port_e9_hack: enabled=1
log: $folder/log
panic: action=fatal
EOF
        # a Bochs with a debugger waits for a command
        { echo c; sleep 15; } | timeout 15 "$bochs" -q -f "$folder/bochsrc" >"$folder/lines" 2>/dev/null
        show "$name, Bochs" "$folder/lines"
    fi
done
