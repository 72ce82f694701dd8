; A guest that halts between ticks of 4 ms (the PIT at 250 Hz) sees them at that distance by another
; counter, however the host wakes it.
%include "sys.inc"

TICKS    equ 500
PERIOD   equ 4773              ; of 1193182 Hz
STAMPS   equ DATA              ; counter 2 at each tick

tests:
    SETGATE IDT + 0x20 * 8, 0x8e, K_CODE, tick, 0
    mov al, 0x11               ; the PIC from 20h on, all but IRQ 0 masked
    out 0x20, al
    mov al, 0x20
    out 0x21, al
    mov al, 4
    out 0x21, al
    mov al, 1
    out 0x21, al
    mov al, 0x34               ; counter 0, mode 2
    out 0x43, al
    mov al, PERIOD & 255
    out 0x40, al
    mov al, PERIOD >> 8
    out 0x40, al
    in al, 0x61                ; counter 2 runs, unheard: mode 2, 65536
    and al, 0xfc
    or al, 1
    out 0x61, al
    mov al, 0xb4
    out 0x43, al
    xor eax, eax
    out 0x42, al
    out 0x42, al
    xor edi, edi
    mov al, 0xfe
    out 0x21, al
    sti
.wait:
    hlt
    cmp edi, TICKS
    jb .wait
    cli
    mov al, 0xff
    out 0x21, al

    mov edi, 1
    xor esi, esi               ; ticks too near to, or too far from, the one before
.look:
    movzx eax, word [STAMPS + edi * 2 - 2]
    sub ax, [STAMPS + edi * 2]
    sub eax, PERIOD / 2
    cmp eax, PERIOD
    jbe .good
    inc esi
.good:
    inc edi
    cmp edi, TICKS
    jb .look
    cmp esi, TICKS / 20        ; a host that is too busy now and then
    jbe .steady
    SAME "ticks keep their distance", esi, 0
    ret
.steady:
    SAME "ticks keep their distance", 0, 0
    ret

tick:
    push eax
    push edx
    cmp edi, TICKS
    jae .full
    mov al, 0x80               ; latch counter 2
    out 0x43, al
    in al, 0x42
    mov dl, al
    in al, 0x42
    mov dh, al
    mov [STAMPS + edi * 2], dx
    inc edi
.full:
    mov al, 0x20
    out 0x20, al
    pop edx
    pop eax
    iretd

ROM_END
