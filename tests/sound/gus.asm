; A boot sector that plays three tones of half a second through an UltraSound at 240h, IRQ 7, DMA 3:
; a wave of 8 bits that was poked into its memory (64 samples at 44100 Hz: 689.06 Hz); a wave of 16
; bits that came by DMA (32 samples, 3/4 of a sample a frame: 1033.59 Hz); the first wave with 32
; voices on, two samples a frame (602.93 Hz), as long as 12 interrupts of timer 2 at 40 ms take and
; ended by a volume ramp. Then it leaves through isa-debug-exit.
        bits 16
        org 0x7c00

BASE    equ 0x240
PAGE    equ BASE + 0x102
INDEX   equ BASE + 0x103
DATA    equ BASE + 0x104

%macro reg8 2                   ; register, value
        mov ax, %1 | (%2) << 8
        call set8
%endmacro
%macro reg16 2
        mov al, %1
        mov cx, %2
        call set16
%endmacro

start:  xor ax, ax
        mov ds, ax
        mov es, ax
        mov ss, ax
        mov sp, 0x7c00
        mov ax, 0x0203          ; the rest of the program
        mov bx, 0x7e00
        mov cx, 0x0002
        xor dx, dx
        int 0x13
        mov word [0x0f * 4], interrupt
        mov [0x0f * 4 + 2], ds
        in al, 0x21
        and al, 0x7f
        out 0x21, al
        sti
        jmp main
        times 510 - ($ - $$) db 0
        dw 0xaa55

main:   call pause
        reg8 0x4c, 0x00
        call pause
        reg8 0x4c, 0x07
        mov dx, BASE
        mov al, 0x09
        out dx, al
        reg8 0x0e, 0xcd         ; 14 voices

        xor bx, bx              ; poke the wave, its first sample once more behind it
.poke:  reg16 0x43, bx
        reg8 0x44, 0
        mov si, bx
        and si, 63
        mov al, [wave + si]
        mov dx, BASE + 0x107
        out dx, al
        inc bx
        cmp bx, 65
        jb .poke
        mov byte [voice], 4
        mov di, first
        call note
        call pause
        reg8 0x00, 0x03
        call pause

        cli                     ; channel 3: 66 bytes from memory
        mov al, 7
        out 0x0a, al
        out 0x0c, al
        mov ax, wide_wave
        out 0x06, al
        mov al, ah
        out 0x06, al
        mov al, 65
        out 0x07, al
        xor al, al
        out 0x07, al
        out 0x82, al
        mov al, 0x4b
        out 0x0b, al
        mov al, 3
        out 0x0a, al
        sti
        reg16 0x42, 0x2000 >> 4
        reg8 0x41, 0x61
.wait:  cmp byte [transferred], 0
        je .wait
        mov byte [voice], 13
        mov di, second
        call note
        call pause
        reg8 0x00, 0x03
        call pause

        reg8 0x0e, 0xdf         ; 32 voices
        mov byte [voice], 31
        mov di, third
        call note
        reg8 0x47, 256 - 125
        reg8 0x45, 0x08
        mov dx, BASE + 8
        mov al, 4
        out dx, al
        inc dx
        mov al, 2
        out dx, al
.ticks: hlt
        cmp byte [ticks], 12
        jb .ticks
        reg8 0x06, 0x3f
        reg8 0x07, 0x10
        reg8 0x08, 0xff
        reg8 0x0d, 0x60         ; down, with an interrupt at the end
.ramp:  hlt
        cmp byte [ramped], 31
        jne .ramp
        reg8 0x00, 0x03
        call pause
        mov al, 0
        mov dx, 0xf4
        out dx, al
        hlt

note:   mov dx, PAGE            ; di: step, start, end, control
        mov al, [voice]
        out dx, al
        reg16 0x01, [di]
        mov bx, [di + 2]
        mov al, 0x02
        call place
        mov bx, [di + 2]
        mov al, 0x0a
        call place
        mov bx, [di + 4]
        mov al, 0x04
        call place
        reg16 0x09, 0xf000
        reg8 0x0c, 7
        mov ah, [di + 6]
        mov al, 0
set8:   mov dx, INDEX           ; al: register, ah: value
        out dx, al
        add dx, 2
        mov al, ah
        out dx, al
        ret

place:  mov cx, bx              ; al: register of the upper half, bx: sample
        shr cx, 7
        push ax
        call set16
        pop ax
        inc ax
        mov cx, bx
        shl cx, 9
set16:  mov dx, INDEX           ; al: register, cx: value
        out dx, al
        inc dx
        mov ax, cx
        out dx, ax
        ret

interrupt:
        pusha
        mov dx, INDEX           ; the interrupted program may be between index and data
        in al, dx
        push ax
.again: mov dx, BASE + 6
        in al, dx
        test al, al
        jz .done
        test al, 0x80
        jz .timer
        mov byte [transferred], 1
        mov al, 0x41
        mov dx, INDEX
        out dx, al
        add dx, 2
        in al, dx
        jmp .again
.timer: test al, 0x08
        jz .voice
        inc byte [ticks]
        reg8 0x45, 0
        reg8 0x45, 0x08
        jmp .again
.voice: mov dx, INDEX
        mov al, 0x8f
        out dx, al
        add dx, 2
        in al, dx
        and al, 0x7f            ; bit 6 low: a ramp
        sub al, 0x20
        mov [ramped], al
        jmp .again
.done:  pop ax
        mov dx, INDEX
        out dx, al
        mov al, 0x20
        out 0x20, al
        popa
        iret

pause:  push ax                 ; ten ticks of 54.9 ms
        mov ax, [0x46c]
        add ax, 10
.wait:  hlt
        cmp ax, [0x46c]
        jne .wait
        pop ax
        ret

first:  dw 512 << 1, 0, 64
        db 0x08
second: dw 384 << 1, 0x1000, 0x1000 + 32 ; words: the transfer went to byte 2000h
        db 0x0c
third:  dw 1024 << 1, 0, 64
        db 0x08
voice:  db 0
transferred: db 0
ticks:  db 0
ramped: db 0
wave:   ; 110 sin(2 pi i / 64)
        db 0, 11, 21, 32, 42, 52, 61, 70, 78, 85, 91, 97, 102, 105, 108, 109
        db 110, 109, 108, 105, 102, 97, 91, 85, 78, 70, 61, 52, 42, 32, 21, 11
        db 0, -11, -21, -32, -42, -52, -61, -70, -78, -85, -91, -97, -102, -105, -108, -109
        db -110, -109, -108, -105, -102, -97, -91, -85, -78, -70, -61, -52, -42, -32, -21, -11
wide_wave: ; 28000 sin(2 pi i / 32)
        dw 0, 5463, 10715, 15556, 19799, 23281, 25869, 27462, 28000, 27462, 25869
        dw 23281, 19799, 15556, 10715, 5463, 0, -5463, -10715, -15556, -19799, -23281
        dw -25869, -27462, -28000, -27462, -25869, -23281, -19799, -15556, -10715, -5463, 0
        times 163840 - ($ - $$) db 0 ; a diskette of 160 KiB
