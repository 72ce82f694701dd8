; 40 x 25 text, scrolled smoothly: from cell 40 on, five lines and three dots further.
%include "boot.inc"
start:
    video 0x0001
    call set_palette
    call load_font
    mov bx, 0
    video 0x1003
    outword 0x3d4, 0x200a
    push word 0xb800
    pop es
    xor di, di
    xor bx, bx
.cell:
    mov al, 0x41
    mov ah, bl
    and ah, 0xf7
    stosw
    inc bx
    cmp bx, 40 * 30
    jb .cell
    outword 0x3d4, 0x000c
    outword 0x3d4, 0x280d
    outword 0x3d4, 0x0508       ; preset row scan
    mov bx, 0x0213              ; panning: two of nine dots is three
    call set_attribute
    jmp done
%include "font.inc"
