; VBE mode 101h, 640 x 480 x 256 by banks: pixel (x, y) = 3x + y.
%include "boot.inc"
start:
    mov cx, 0x101
    mov di, info
    video 0x4f01
    mov ax, 64                  ; banks are counted in the card's own steps
    cwd
    div word [info + 4]
    mov [step], ax
    mov bx, 0x0101
    video 0x4f02
    call set_palette
    push word 0xa000
    pop es
    xor di, di
    xor bp, bp                  ; bank
    xor bx, bx
    xor dx, dx
    video 0x4f05
    xor si, si                  ; y
.line:
    mov ax, si
    mov cx, 640
.pixel:
    stosb
    or di, di
    jnz .same
    add bp, [step]
    pusha
    xor bx, bx
    mov dx, bp
    video 0x4f05
    popa
.same:
    add al, 3
    loop .pixel
    inc si
    cmp si, 480
    jb .line
    jmp done

step:
    dw 0
info:
    times 256 db 0
