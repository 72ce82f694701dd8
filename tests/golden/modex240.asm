; Mode X, 320 x 240 unchained: the second page is the first one line further down, copied through the latches, and shown.
%include "boot.inc"
start:
    video 0x0013
    call set_palette
    outword 0x3c4, 0x0604
    mov dx, 0x3c2
    mov al, 0xe3
    out dx, al
    outword 0x3d4, 0x2c11       ; not protected
    mov si, registers
.register:
    lodsw
    or ax, ax
    jz .write
    mov dx, 0x3d4
    out dx, ax
    jmp .register
.write:
    push word 0xa000
    pop es
    xor bp, bp                  ; plane
.plane:
    call select_plane
    xor di, di
    xor bx, bx                  ; line
.line:
    mov ax, bp                  ; pixel (x, y) = 3x + y
    add ax, bp
    add ax, bp
    add ax, bx
    mov cx, 80
.byte:
    stosb
    add al, 12
    loop .byte
    inc bx
    cmp bx, 240
    jb .line
    inc bp
    cmp bp, 4
    jb .plane
    outword 0x3c4, 0x0f02
    outword 0x3ce, 0x4105       ; write mode 1
    push ds
    push es
    pop ds
    mov si, 80
    mov di, 80 * 240
    mov cx, 80 * 239
    rep movsb
    pop ds
    outword 0x3d4, 0x4b0c
    outword 0x3d4, 0x000d
    jmp done
registers:
    dw 0x0d06, 0x3e07, 0x4109, 0xea10, 0xac11, 0xdf12, 0x0014, 0xe715, 0x0616, 0xe317, 0
