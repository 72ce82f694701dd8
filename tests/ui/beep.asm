; Boot sector for recordings: a blue text screen; with a key it turns red and the speaker sounds at 440 Hz.
bits 16
org 0x7c00
    xor ax, ax
    mov ds, ax
    mov ss, ax
    mov sp, 0x7c00
    mov ax, 3
    int 0x10
    mov bh, 0x11                ; blue on blue
    call fill
    xor ah, ah
    int 0x16
    mov bh, 0x44
    call fill
    mov al, 0xb6                ; channel 2, both bytes, square wave
    out 0x43, al
    mov ax, 1193182 / 440
    out 0x42, al
    mov al, ah
    out 0x42, al
    in al, 0x61
    or al, 3
    out 0x61, al
halt:
    hlt
    jmp halt

fill:
    mov ax, 0x0600              ; clear the window
    xor cx, cx
    mov dx, 0x184f
    int 0x10
    ret

    times 510 - ($ - $$) db 0
    dw 0xaa55
