; Cirrus blitter in mode 101h: a fill, copies with SRC and XOR, a pattern, expanded bits from memory and from here.
%include "boot.inc"

%include "cirrus.inc"

start:
    mov bx, 0x0101
    video 0x4f02
    call set_palette
    outword 0x3c4, 0x1206
    push word 0xa000
    pop es
    outword 0x3ce, 0x200e
    blt 0x24, 640
    blt 0x26, 640
    outword 0x3ce, 0x002f
    ; 100 x 50 of colour 21h at (10, 10)
    outword 0x3ce, 0x2101
    outword 0x3ce, 0x0d32
    outword 0x3ce, 0x0433
    blt 0x20, 99
    blt 0x22, 49
    area 10, 10, 0xc0
    go
    outword 0x3ce, 0x0033
    ; the bytes 0..63 at (0, 100), by the processor
    mov di, 640 * 100
    xor al, al
.bytes:
    stosb
    inc al
    cmp al, 64
    jb .bytes
    ; a pattern of those bytes (8 x 8) in 30 x 20 at (200, 10)
    blt 0x20, 29
    blt 0x22, 19
    address 0x2c, 640 * 100
    area 200, 10, 0x40
    go
    ; 50 x 20 from (30, 20) to (300, 10), exclusive or, onto nothing: colour 21h; then the same backward
    outword 0x3ce, 0x5932
    blt 0x20, 49
    blt 0x22, 19
    address 0x2c, 640 * 20 + 30
    area 300, 10, 0x00
    go
    outword 0x3ce, 0x0d32
    address 0x2c, 640 * 29 + 349
    area 349, 79, 0x01
    go
    ; bits from (32, 100): the bytes 20h.. expanded, 24 x 4 at (400, 10)
    outword 0x3ce, 0x3001
    outword 0x3ce, 0x0700
    blt 0x20, 23
    blt 0x22, 3
    address 0x2c, 640 * 100 + 32
    area 400, 10, 0x80
    go
    ; bits from the processor, transparent: 32 x 2 over the fill at (20, 15)
    blt 0x20, 31
    blt 0x22, 1
    area 20, 15, 0x8c
    outword 0x3ce, 0x0231
    mov dword [es:0], 0x0ff055aa
    mov dword [es:0], 0x80c0f0ff
    jmp done
