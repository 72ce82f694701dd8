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
    push word 0xb800
    pop es
    xor bx, bx
.line:
    mov ax, bx
    shr ax, 1
    mov cx, 80
    mul cx
    mov di, ax
    test bl, 1
    jz .even
    add di, 0x2000
.even:
    mov al, bl
    mov cx, 80
.byte:
    stosb
    inc al
    loop .byte
    inc bx
    cmp bx, 200
    jb .line
    jmp done
