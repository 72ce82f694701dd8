; Cirrus blitter in mode 101h: the sixteen raster operations, a key colour, overlapping copies in both directions, bits
; expanded from memory (inverted, 16 bits a pixel) and as patterns, data from the processor.
%include "boot.inc"
%include "cirrus.inc"

start:
    mov bx, 0x0101
    video 0x4f02
    call set_palette
    outword 0x3c4, 0x1206
    push word 0xa000
    pop es
    blt 0x24, 640
    blt 0x26, 640
    outword 0x3ce, 0x002f
    outword 0x3ce, 0x0033
    mov di, 640 * 100           ; the source: 5i
    mov ax, 0x0500
    call bytes
    ; row 2k: operation k of that on 29i + 7
    size 64, 1
    address 0x2c, 640 * 100
    mov si, rops
    xor di, di
.rop:
    push di
    mov ax, 0x1d07
    call bytes
    pop di
    mov bx, di
    mov dx, 0x3ce
    mov al, 0x28
    mov ah, bl
    out dx, ax
    inc al
    mov ah, bh
    out dx, ax
    outword 0x3ce, 0x002a
    outword 0x3ce, 0x0030
    lodsb
    mov ah, al
    mov al, 0x32
    out dx, ax
    go
    add di, 2 * 640
    cmp di, 32 * 640
    jb .rop
    outword 0x3ce, 0x0d32
    ; row 40: pixels of colour 25 are not written
    mov di, 40 * 640
    mov ax, 0x1d07
    call bytes
    outword 0x3ce, 0x1934
    area 0, 40, 0x08
    go
    ; row 50: 56 bytes eight to the right, backward; row 52: eight to the left, forward
    mov di, 50 * 640
    mov ax, 0x0100
    call bytes
    mov di, 52 * 640
    mov ax, 0x0100
    call bytes
    size 56, 1
    address 0x2c, 50 * 640 + 55
    area 63, 50, 0x01
    go
    address 0x2c, 52 * 640 + 8
    area 0, 52, 0x00
    go
    ; (0, 60): 24 bits from memory, transparent, where they are 0
    address 0x2c, 640 * 100
    colours 0x30, 0x07
    outword 0x3ce, 0x0233
    size 24, 1
    area 0, 60, 0x88
    go
    outword 0x3ce, 0x0033
    ; (100, 60): 20 x 10 of an 8 x 8 pattern of bits; (140, 60): transparent
    size 20, 10
    area 100, 60, 0xc0
    go
    area 140, 60, 0xc8
    go
    ; (200, 60): eight pixels of 16 bits
    colours 0x3412, 0x5607
    size 16, 1
    area 200, 60, 0x90
    go
    ; (100, 80): the pattern of bits exclusive-ored onto a fill
    colours 0x21, 0x00
    size 20, 10
    outword 0x3ce, 0x0433
    area 100, 80, 0xc0
    go
    outword 0x3ce, 0x0033
    outword 0x3ce, 0x5932
    colours 0x7f, 0x01
    area 100, 80, 0xc0
    go
    outword 0x3ce, 0x0d32
    ; (300, 60): 6 x 2 bytes from the processor, whose rows are filled up to doublewords
    size 6, 2
    area 300, 60, 0x04
    outword 0x3ce, 0x0231
    mov dword [es:0], 0x44332211
    mov dword [es:0], 0xeeee6655
    mov dword [es:0], 0x4a3a2a1a
    mov dword [es:0], 0xeeee6a5a
    jmp done

; 64 bytes at ES:DI, from AL on in steps of AH.
bytes:
    mov cx, 64
.next:
    stosb
    add al, ah
    loop .next
    ret

rops:
    db 0x00, 0x05, 0x06, 0x09, 0x0b, 0x0d, 0x0e, 0x50, 0x59, 0x6d, 0x90, 0x95, 0xad, 0xd0, 0xd6, 0xda
