; Mode 12h: set/reset, the write modes, rotation with exclusive or, a copy through the latches.
%include "boot.inc"
start:
    video 0x0012
    call set_palette
    push word 0xa000
    pop es
    ; rows 0-99: all colour 5 by set/reset
    outword 0x3ce, 0x0500
    outword 0x3ce, 0x0f01
    xor di, di
    mov cx, 80 * 100
    rep stosb
    ; rows 0-99, bytes 10-19: bits 2-5 exclusive-ored with F0h rotated by 2 (3Ch), in planes 0 and 1
    outword 0x3ce, 0x0001
    outword 0x3ce, 0x1a03
    outword 0x3ce, 0x3c08
    outword 0x3c4, 0x0302
    mov ax, 0xf0
    mov si, 10
    call columns
    ; rows 0-99, bytes 20-29: write mode 2, colour 9 under 55h
    outword 0x3c4, 0x0f02
    outword 0x3ce, 0x0003
    outword 0x3ce, 0x0205
    outword 0x3ce, 0x5508
    mov ax, 9
    mov si, 20
    call columns
    ; rows 0-99, bytes 30-39: write mode 3, colour 14 where CCh and 0Fh are
    outword 0x3ce, 0x0e00
    outword 0x3ce, 0x0305
    outword 0x3ce, 0x0f08
    mov ax, 0xcc
    mov si, 30
    call columns
    ; rows 100-199 are rows 0-99 again, copied by write mode 1
    outword 0x3ce, 0x0105
    push ds
    push es
    pop ds
    xor si, si
    mov di, 80 * 100
    mov cx, 80 * 100
    rep movsb
    pop ds
    ; row 300: where read mode 1 finds colour 5 in row 0
    outword 0x3ce, 0x0805
    outword 0x3ce, 0x0502
    outword 0x3ce, 0x0f07
    outword 0x3ce, 0xff08
    outword 0x3ce, 0x0001
    outword 0x3ce, 0x0003
    xor si, si
    mov di, 80 * 300
    mov cx, 80
.found:
    mov al, [es:si]
    inc si
    push ax
    outword 0x3ce, 0x0005
    pop ax
    stosb
    outword 0x3ce, 0x0805
    loop .found
    jmp done

; Reads each of ten bytes from column SI in rows 0-99 into the latches and writes AL there.
columns:
    mov di, si
    mov bp, 100
.row:
    mov cx, 10
.byte:
    mov ah, [es:di]
    stosb
    loop .byte
    add di, 70
    dec bp
    jnz .row
    ret
