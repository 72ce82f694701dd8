; Mode 0Dh, 320 x 200 in sixteen colours: plane p of byte i in line y is (i + y) rotated left by p.
%include "boot.inc"
start:
    video 0x000d
    call set_palette
    push word 0xa000
    pop es
    xor bp, bp
.plane:
    call select_plane
    xor di, di
    xor bx, bx
.line:
    mov si, 40
    mov dl, bl
.byte:
    mov al, dl
    mov cx, bp
    rol al, cl
    stosb
    inc dl
    dec si
    jnz .byte
    inc bx
    cmp bx, 200
    jb .line
    inc bp
    cmp bp, 4
    jb .plane
    jmp done
