; Text written to the planes themselves, characters to plane 0 and attributes to plane 1; then row 0 is copied to row 24 by
; words of odd and even addresses.
%include "boot.inc"
start:
    video 0x0003
    call set_palette
    call load_font
    mov bx, 0
    video 0x1003
    outword 0x3d4, 0x200a
    outword 0x3c4, 0x0604       ; sequential
    outword 0x3ce, 0x0005
    outword 0x3ce, 0x0406       ; at A0000h, not chained
    push word 0xa000
    pop es
    outword 0x3c4, 0x0102
    xor di, di
    mov cx, 2000
    mov al, 0x41
.character:
    stosb
    xor al, 0x41 ^ 0xc8
    inc di                      ; the CRTC counts words
    loop .character
    outword 0x3c4, 0x0202
    xor di, di
    xor ax, ax
    mov cx, 2000
.attribute:
    push ax
    and al, 0xf7
    stosb
    pop ax
    inc di
    inc al
    loop .attribute
    outword 0x3c4, 0x0302
    outword 0x3c4, 0x0204       ; odd and even
    outword 0x3ce, 0x1005
    outword 0x3ce, 0x0e06
    push word 0xb800
    pop es
    push ds
    push es
    pop ds
    xor si, si
    mov di, 24 * 160
    mov cx, 80
    rep movsw
    pop ds
    jmp done
%include "font.inc"
