#!/bin/sh
# `make run`: boots IMAGE in a window, or without one Debian's i386 installer. usage: run-default.sh [IMAGE]
cd "$(dirname "$0")/.." || exit 1
if [ -n "${1:-}" ]; then
    exec ./vitrine run -m 128 "$1"
fi
folder=/usr/lib/debian-installer/images/12/i386/text/debian-installer/i386
if [ ! -r "$folder/linux" ] || [ ! -r "$folder/initrd.gz" ]; then
    echo "make run: the default guest is missing; install debian-installer-12-netboot-i386," >&2
    echo "or boot an image of your own: make run IMAGE=path" >&2
    exit 1
fi
exec ./vitrine run -name 'Debian installer' -m 512 -kernel "$folder/linux" -initrd "$folder/initrd.gz" \
    -append 'vga=normal nomodeset ---'
