; VBE mode 111h, 640 x 480 x 65536 in the linear frame buffer: pixel (x, y) = 64x + y. The start is moved by 64 lines
; (SeaVGABIOS for the Cirrus gets starts wrong that have other bits).
%include "boot.inc"
start:
    mov cx, 0x111
    mov di, info
    video 0x4f01
    mov bx, 0x4111
    video 0x4f02
    cli
    lgdt [gdt]
    mov eax, cr0
    or al, 1
    mov cr0, eax
    mov cx, 8
    mov es, cx                  ; a segment of 4 GiB, kept in real mode
    and al, 0xfe
    mov cr0, eax
    mov edi, [info + 0x28]
    xor bx, bx                  ; y
.line:
    mov ax, bx
    mov cx, 640
.pixel:
    mov [es:edi], ax
    add edi, 2
    add ax, 64
    loop .pixel
    inc bx
    cmp bx, 544
    jb .line
    xor cx, cx
    mov dx, 64
    xor bx, bx
    video 0x4f07
    jmp done

align 8
gdt:
    dw 15
    dd gdt
    dw 0
    db 0xff, 0xff, 0, 0, 0, 0x92, 0xcf, 0
info:
    times 256 db 0
