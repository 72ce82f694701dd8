; 80 x 25 text: two fonts by attribute bit 3, bright backgrounds, the ninth dot, no cursor.
%include "boot.inc"
start:
    video 0x0003
    call set_palette
    mov cx, 0x2000
    video 0x0100
    mov bp, first
    mov bx, 0x1000
    call load
    mov bp, second
    mov bx, 0x1001
    call load
    outword 0x3c4, 0x0403       ; map A is block 1, map B block 0
    mov bx, 0
    video 0x1003                ; no blinking
    push word 0xb800
    pop es
    xor di, di
    xor bx, bx                  ; cell
.cell:
    mov al, 0xc8                ; its ninth dot repeats the eighth
    test bl, 1
    jz .write
    mov al, 0x41
.write:
    mov ah, bl
    stosw
    inc bx
    cmp bx, 2000
    jb .cell
    jmp done

; Characters 41h and C8h of block BL from BP.
load:
    mov dx, 0x41
    call .one
    mov dx, 0xc8
.one:
    push bx
    mov cx, 1
    video 0x1100
    pop bx
    ret

first:
    db 0x81, 0x42, 0x24, 0x18, 0x18, 0x24, 0x42, 0x81, 0xff, 0x00, 0xaa, 0x55, 0x0f, 0xf0, 0x01, 0x80
second:
    db 0x01, 0x03, 0x07, 0x0f, 0x1f, 0x3f, 0x7f, 0xff, 0xfe, 0xfc, 0xf8, 0xf0, 0xe0, 0xc0, 0x80, 0x00
