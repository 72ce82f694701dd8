; Unchained 320 x 200 with a start address: byte i of plane p is 4i + p + i / 80.
%include "boot.inc"
start:
    video 0x0013
    call set_palette
    outword 0x3c4, 0x0604       ; not chained
    outword 0x3d4, 0x0014       ; bytes
    outword 0x3d4, 0xe317
    push word 0xa000
    pop es
    xor bp, bp                  ; plane
.plane:
    call select_plane
    xor di, di
.line:
    mov ax, di
    xor dx, dx
    mov cx, 80
    div cx
    mov bx, ax                  ; i / 80
    add bx, bp
.byte:
    mov ax, di
    shl ax, 2
    add ax, bx
    stosb
    loop .byte
    cmp di, 80 * 240
    jb .line
    inc bp
    cmp bp, 4
    jb .plane
    outword 0x3d4, 0x010c       ; from byte 0150h on
    outword 0x3d4, 0x500d
    jmp done
