; Mode 4, 320 x 200 in four colours, lines in two banks at B8000h: byte i of line y is i + y.
%include "boot.inc"
start:
    video 0x0004
    call set_palette
    mov bx, 0x0500              ; attributes 0 to 3 are 5 to 8
.attribute:
    call set_attribute
    add bx, 0x0101
    cmp bl, 4
    jb .attribute
    call draw_cga
    jmp done
%include "cga.inc"
