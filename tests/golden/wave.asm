; Panning changes in every horizontal blanking of mode 13h: line n + 1 is panned by n mod 4 pixels, for 200 lines.
%include "boot.inc"
start:
    call draw_13
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
    mov dx, 0x3c0
    mov al, 0x33
    out dx, al
    mov al, bl
    and al, 3
    add al, al
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
