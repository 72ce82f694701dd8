; A boot sector that plays one tone (689.06 Hz) through the Sound Blaster without an end: auto-initialised
; 8-bit DMA at 44100 Hz over two blocks of 8 KiB, whose interrupts it acknowledges. After as many ticks of
; 54.9 ms as the word at 508 says it stops and leaves through isa-debug-exit. It halts in between, unless the
; byte at 507 says that it is to be busy.
        bits 16
        org 0x7c00

start:  xor ax, ax
        mov ds, ax
        mov ss, ax
        mov sp, 0x7c00
        cld
        mov ax, 0x1000          ; 16 KiB of the wave at 1000h:0000
        mov es, ax
        xor di, di
.fill:  mov si, wave
        mov cx, 32
        rep movsw
        cmp di, 16384
        jb .fill
        mov word [0x0d * 4], interrupt
        mov [0x0d * 4 + 2], ds
        in al, 0x21
        and al, 0xdf
        out 0x21, al
        mov al, 0x05
        out 0x0a, al
        out 0x0c, al
        xor al, al
        out 0x02, al
        out 0x02, al
        mov al, 1
        out 0x83, al
        mov al, 16383 & 255
        out 0x03, al
        mov al, 16383 >> 8
        out 0x03, al
        mov al, 0x59
        out 0x0b, al
        mov al, 1
        out 0x0a, al
        mov dx, 0x226           ; reset the DSP
        out dx, al
        in al, 0x61
        in al, 0x61
        in al, 0x61
        in al, 0x61
        xor al, al
        out dx, al
        mov cx, 1000
.reset: in al, 0x61
        loop .reset
        mov si, play
        mov cx, 7
        call dsp
        sti
        mov bx, [0x46c]
.wait:  cmp byte [busy], 0
        jne .look
        hlt
.look:  mov ax, [0x46c]
        sub ax, bx
        cmp ax, [ticks]
        jb .wait
        mov si, stop
        mov cx, 1
        call dsp
        mov al, 0
        mov dx, 0xf4
        out dx, al
        hlt

dsp:    mov dx, 0x22c
.busy:  in al, dx
        test al, 0x80
        jnz .busy
        lodsb
        out dx, al
        loop .busy
        ret

interrupt:
        push ax
        push dx
        mov dx, 0x22e
        in al, dx
        mov al, 0x20
        out 0x20, al
        pop dx
        pop ax
        iret

play:   db 0x41, 44100 >> 8, 44100 & 255, 0xc6, 0x00, 8191 & 255, 8191 >> 8
stop:   db 0xd0
wave:   ; 128 + 100 sin(2 pi i / 64)
        db 128, 138, 148, 157, 166, 175, 184, 191, 199, 205, 211, 216, 220, 224, 226, 228
        db 228, 228, 226, 224, 220, 216, 211, 205, 199, 191, 184, 175, 166, 157, 148, 138
        db 128, 118, 108, 99, 90, 81, 72, 65, 57, 51, 45, 40, 36, 32, 30, 28
        db 28, 28, 30, 32, 36, 40, 45, 51, 57, 65, 72, 81, 90, 99, 108, 118
        times 507 - ($ - $$) db 0
busy:   db 0
ticks:  dw 182
        dw 0xaa55
        times 163840 - ($ - $$) db 0 ; a diskette of 160 KiB
