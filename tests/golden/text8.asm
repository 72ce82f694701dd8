; 80 x 25 text of eight dots a character, 640 wide; attributes with blinking off, no cursor.
%include "boot.inc"
start:
    video 0x0003
    call set_palette
    call load_font
    mov bx, 0
    video 0x1003
    outword 0x3d4, 0x200a
    outword 0x3c4, 0x0101
    mov dx, 0x3c2
    mov al, 0x63
    out dx, al
    push word 0xb800
    pop es
    xor di, di
    xor bx, bx
.cell:
    mov al, 0xc8
    mov ah, bl
    and ah, 0xf7                ; one font
    stosw
    inc bx
    cmp bx, 2000
    jb .cell
    jmp done
%include "font.inc"
