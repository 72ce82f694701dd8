; 80 x 25 text: every third character blinks, a cursor of lines 3 to 9 at row 10, column 20.
%include "boot.inc"
start:
    video 0x0003
    call set_palette
    call load_font
    mov cx, 0x0309
    mov ah, 1
    int 0x10
    mov dx, 0x0a14
    xor bx, bx
    mov ah, 2
    int 0x10
    outword 0x3d4, 0x030a       ; BIOSes translate the shape
    outword 0x3d4, 0x090b
    push word 0xb800
    pop es
    xor di, di
    xor cx, cx
    mov bl, 3
.cell:
    mov ax, cx
    div bl
    cmp ah, 0
    mov ax, 0x1e41
    jne .write
    or ah, 0x80
.write:
    stosw
    inc cx
    cmp cx, 255 * 3
    jb .cell
    jmp done
%include "font.inc"
