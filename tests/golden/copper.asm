; Colour 0 changes in every horizontal blanking: line n + 1 is (n, 0, n / 4) in 6 bits, for 200 lines.
%include "boot.inc"
start:
    video 0x0013
    cli
    mov dx, 0x3da
frame:
    in al, dx
    test al, 8
    jz frame
.retrace:
    in al, dx
    test al, 8
    jnz .retrace
.top:                           ; the rest of vertical blanking
    in al, dx
    test al, 1
    jnz .top
    xor bx, bx
.line:
    in al, dx
    test al, 1
    jz .line
    mov dx, 0x3c8
    xor al, al
    out dx, al
    inc dx
    mov al, bl
    and al, 63
    out dx, al
    xor al, al
    out dx, al
    mov al, bl
    shr al, 2
    and al, 63
    out dx, al
    mov dx, 0x3da
.blank:
    in al, dx
    test al, 1
    jnz .blank
    inc bx
    cmp bx, 200
    jb .line
    jmp frame
