#!/bin/sh
# Runs suites that the user has; they are not part of the project. Prints TAP; what is not there is skipped.
#   TEST386=FILE         test386.bin, started as -bios; it reports on POST port 190h and ends with FFh there
#   KVM_UNIT_TESTS=DIR   built for i386: x86/*.flat, started as -kernel (Multiboot), with isa-debug-exit and serial
#   ENGINE=interpreter   under which engine
#   SUITE_SECONDS=120    how long one program may take
# test_suites.py tries the script on small programs of the same make.
out=${VITRINE_OUT:-out/release}
engine=${ENGINE:-interpreter}
folder=$(mktemp -d) || exit 1
trap 'rm -rf "$folder"' EXIT
number=0
failed=0
tell() { # status, name
    number=$((number + 1))
    [ "$1" = ok ] || failed=1
    echo "$1 $number - $2"
}

limit=${SUITE_SECONDS:-120} # for one program

if [ -f "$TEST386" ]; then
    timeout "$limit" "$out/vitrine" run -cpu 386 -bios "$TEST386" -display none -accel "$engine" -log ports=trace \
        >"$folder/log" 2>&1 &
    vitrine=$!
    # it halts in the end, and the machine goes on: watch for the last code
    while kill -0 $vitrine 2>/dev/null; do
        post=$(grep -aiE '\b0x0*190\b' "$folder/log" | tail -1)
        case $post in *0xff*) kill $vitrine ;; esac
        sleep 0.2
    done
    wait $vitrine 2>/dev/null
    case $post in
    *0xff*) tell ok "test386 under $engine" ;;
    *) tell "not ok" "test386 under $engine: last POST line: ${post:-none}" ;;
    esac
else
    tell ok "test386 # SKIP set TEST386 to its test386.bin"
fi

if [ -d "$KVM_UNIT_TESTS/x86" ]; then
    for image in "$KVM_UNIT_TESTS"/x86/*.flat; do
        name=$(basename "$image" .flat)
        timeout "$limit" "$out/vitrine" run -kernel "$image" -display none -accel "$engine" -serial "file:$folder/serial" \
            -device isa-debug-exit,iobase=0xf4,iosize=4 >"$folder/log" 2>&1
        # status 1: the suite wrote 0 to the exit port
        if [ $? -eq 1 ]; then
            tell ok "kvm-unit-tests $name under $engine"
        else
            grep -a '^FAIL' "$folder/serial" 2>/dev/null | sed 's/^/# /'
            tell "not ok" "kvm-unit-tests $name under $engine"
        fi
    done
else
    tell ok "kvm-unit-tests # SKIP set KVM_UNIT_TESTS to a tree built for i386"
fi
echo "1..$number"
exit $failed
