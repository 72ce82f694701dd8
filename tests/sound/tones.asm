; A boot sector that plays a known tone by each path, half a second each: PC speaker (1000 Hz), FM
; synthesizer (its number 244h in block 4: 440 Hz), Sound Blaster by 8-bit DMA (8000 Hz / 16 = 500 Hz),
; MPU-401 (an organ's a'). Then it leaves through isa-debug-exit.
        bits 16
        org 0x7c00

start:  xor ax, ax
        mov ds, ax
        mov ss, ax
        mov sp, 0x7c00
        sti
        call pause

        mov al, 0xb6            ; speaker: counter 2, mode 3
        out 0x43, al
        mov al, 1193 & 255
        out 0x42, al
        mov al, 1193 >> 8
        out 0x42, al
        in al, 0x61
        or al, 3
        out 0x61, al
        call pause
        in al, 0x61
        and al, 0xfc
        out 0x61, al
        call pause

        mov si, fm              ; pairs of register and value, to 388h
        call fm_registers
        call pause
        mov si, fm_off
        call fm_registers
        call pause

        mov ax, 0x1000          ; a square wave at 1000h:0000
        mov es, ax
        xor di, di
        mov cx, 8000
.fill:  mov al, cl
        and al, 8
        shl al, 3
        add al, 0x60
        stosb
        loop .fill
        mov al, 0x05            ; DMA 1: mask, address 10000h, 4000 bytes, single, read
        out 0x0a, al
        out 0x0c, al
        xor al, al
        out 0x02, al
        out 0x02, al
        mov al, 1
        out 0x83, al
        mov al, 3999 & 255
        out 0x03, al
        mov al, 3999 >> 8
        out 0x03, al
        mov al, 0x49
        out 0x0b, al
        mov al, 1
        out 0x0a, al
        mov si, dsp
        mov cx, dsp_end - dsp
.dsp:   mov dx, 0x22c
.busy:  in al, dx
        test al, 0x80
        jnz .busy
        lodsb
        out dx, al
        loop .dsp
        call pause
        call pause

        mov dx, 0x331
        mov al, 0x3f
        out dx, al
        dec dx
        in al, dx
        mov si, midi
        mov cx, midi_end - midi
.midi:  lodsb
        out dx, al
        loop .midi
        call pause
        mov al, 0
        mov dx, 0xf4
        out dx, al
        hlt

fm_registers:
        mov dx, 0x388
.next:  lodsw
        test al, al
        jz .done
        out dx, al
        inc dx
        mov al, ah
        out dx, al
        dec dx
        jmp .next
.done:  ret

pause:  push ax                 ; ten ticks of 54.9 ms
        push ds
        xor ax, ax
        mov ds, ax
        mov ax, [0x46c]
        add ax, 10
.wait:  hlt
        cmp ax, [0x46c]
        jne .wait
        pop ds
        pop ax
        ret

fm:     db 0x40, 0x3f, 0x20, 0x21, 0xe0, 0x01, 0x23, 0x21, 0x43, 0x00, 0x63, 0xf0, 0x83, 0x0f
        db 0xc0, 0x31, 0xa0, 0x44, 0xb0, 0x32, 0
fm_off: db 0xb0, 0x12, 0
dsp:    db 0xd1, 0x40, 0x83, 0x14, 3999 & 255, 3999 >> 8
dsp_end:
midi:   db 0xc0, 16, 0x90, 69, 100
midi_end:

        times 510 - ($ - $$) db 0
        dw 0xaa55
        times 163840 - ($ - $$) db 0 ; a diskette of 160 KiB
