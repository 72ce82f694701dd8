#!/bin/sh
# Checks every #include "..." against the layers of docs/ARCHITECTURE.md, and that no chip includes another chip's header.
set -u
cd "$(dirname "$0")/.." || exit 1
bad=0

# allowed FOLDER-PATTERN ALLOWED-REGEX: own folder is always allowed unless the rule is for chips.
check() {
    folder=$1
    allowed=$2
    for file in $(find "$folder" -name '*.c' -o -name '*.h' -o -name '*.cpp' -o -name '*.def'); do
        sed -n 's/^[[:space:]]*#[[:space:]]*include[[:space:]]*"\([^"]*\)".*/\1/p' "$file" | while read -r header; do
            own=${file%.*}.h
            part=$(printf '%s' "$own" | sed 's/_[a-z0-9]*\.h$/.h/')
            if [ "$header" = "$own" ] || [ "$header" = "$part" ] || printf '%s' "$header" | grep -Eq "$allowed"; then
                continue
            fi
            echo "$file includes $header, which its layer may not"
        done
    done
}

report=$(
    check machine/core '^machine/core/'
    check machine/host '^machine/(core|host)/'
    check cpu-accel '^(machine/(core|host)|cpu-accel)/'
    # Chips meet through Bus, Line, DmaLine and Clock. Headers ending in _internal.h belong to one chip's several files.
    check chipset '^machine/core/|^chipset/(pci|.*_internal)\.h$|^chipset/.*_internal\.h$'
    check storage '^(machine/(core|host)|storage)/|^chipset/pci\.h$'
    check display '^machine/core/|^display/|^chipset/pci\.h$'
    check ui '^machine/core/|^machine/machine\.h$|^machine/host/|^ui/|^display/screen\.h$'
)
[ -z "$report" ] || { echo "$report"; bad=1; }
[ $bad = 0 ] && echo "check-layers: every include is within its layer"
exit $bad
