; VBE mode 101h with the palette set by function 4F09h, of eight bits after 4F08h: colour i is (i, 255 - i, i exclusive-or 55h).
%include "boot.inc"
start:
    mov bx, 0x0101
    video 0x4f02
    mov bx, 0x0800
    video 0x4f08
    mov di, table
    xor al, al
.entry:
    mov [di], al
    xor byte [di], 0x55         ; blue
    mov [di + 1], al
    not byte [di + 1]
    mov [di + 2], al
    mov byte [di + 3], 0
    add di, 4
    inc al
    jnz .entry
    mov di, table
    mov cx, 256
    xor dx, dx
    xor bx, bx
    video 0x4f09
    mov di, second              ; read, overwritten and set again
    mov cx, 256
    xor dx, dx
    mov bx, 1
    video 0x4f09
    call set_palette
    mov di, second
    mov cx, 256
    xor dx, dx
    mov bx, 0x80
    video 0x4f09
    mov cx, 2                   ; one colour too many: nothing happens
    mov dx, 255
    mov di, start
    xor bx, bx
    video 0x4f09
    push word 0xa000
    pop es
    xor di, di
    xor bx, bx
.line:                          ; pixel (x, y) = x + y in the first hundred lines
    mov al, bl
    mov cx, 640
.pixel:
    stosb
    inc al
    loop .pixel
    inc bx
    cmp bx, 100
    jb .line
    jmp done

table   equ 0x2000              ; 1 KiB each
second  equ 0x2400
