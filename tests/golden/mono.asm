; Mode 7 at B0000h and ports 3Bxh: underlined, blinking, reversed and bright characters; attribute n in column n.
%include "boot.inc"
start:
    video 0x0007
    call set_palette
    call load_font
    outword 0x3b4, 0x200a       ; no cursor
    outword 0x3b4, 0x0d14       ; underline in line 13
    xor bx, bx                  ; the attribute palette one to one
.palette:
    mov dx, 0x3ba
    in al, dx
    mov dx, 0x3c0
    mov al, bl
    out dx, al
    out dx, al
    inc bx
    cmp bx, 16
    jb .palette
    mov al, 0x20
    out dx, al
    push word 0xb000
    pop es
    xor di, di
    xor bx, bx
.cell:
    mov al, 0x41
    mov ah, bl
    and ah, 0xf7
    stosw
    inc bx
    cmp bx, 2000
    jb .cell
    jmp done
%include "font.inc"
