; Mode 6, 640 x 200 in two colours, lines in two banks at B8000h: byte i of line y is i + y.
%include "boot.inc"
start:
    video 0x0006
    call set_palette
    mov bx, 0x0500              ; attributes 0 and 1 are 5 and 6
.attribute:
    call set_attribute
    add bx, 0x0101
    cmp bl, 2
    jb .attribute
    call draw_cga
    jmp done
%include "cga.inc"
