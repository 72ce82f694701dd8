; A boot sector that plays CD audio on the secondary master: track 2 whole by PLAY AUDIO TRACK INDEX;
; then 150 sectors from LBA 488 by PLAY AUDIO(10), with the drive's volumes at half and a quarter, and
; after a second with the Sound Blaster's CD input muted. Then it leaves through isa-debug-exit; its
; status is 1 when a command failed.
        bits 16
        org 0x7c00

IDE     equ 0x170

start:  xor ax, ax
        mov ds, ax
        mov es, ax
        mov ss, ax
        mov sp, 0x7c00
        sti
        cld
.ready: mov si, test_ready      ; the first ones tell of reset and new medium
        call packet
        jnz .ready
        mov si, play_track
        call packet
        jnz failed
        call until_done
        mov cx, 9
        call pause

        mov si, select
        call packet
        jnz failed
        mov si, play_sectors
        call packet
        jnz failed
        mov cx, 18
        call pause
        mov dx, 0x224           ; mixer: the CD's switches off
        mov al, 0x3c
        out dx, al
        inc dx
        mov al, 0x19
        out dx, al
        call until_done
        mov al, 0
        jmp leave_it
failed: mov al, 1
leave_it:
        mov dx, 0xf4
        out dx, al
        hlt

packet: mov dx, IDE + 6         ; si: a packet, then a word of bytes to send and they; Z: all is well
        mov al, 0xa0
        out dx, al
        mov dx, IDE + 4
        mov al, 64
        out dx, al
        inc dx
        mov al, 0
        out dx, al
        mov dx, IDE + 7
        mov al, 0xa0
        out dx, al
        call idle
        mov cx, 6
        mov dx, IDE
        rep outsw
        call idle
        lodsw
        mov cx, ax
        jcxz .none
        mov dx, IDE
        rep outsw
.none:  mov di, reply
.more:  call idle
        test al, 8
        jz .end
        mov dx, IDE
        in ax, dx
        stosw
        jmp .more
.end:   test al, 1
        ret

idle:   mov dx, IDE + 7         ; until BSY falls; al: status
        in al, dx
        in al, dx
        test al, 0x80
        jnz idle
        ret

until_done:
        mov si, subchannel
        call packet
        jnz failed
        hlt
        cmp byte [reply + 1], 0x11
        je until_done
        ret

pause:  mov ax, [0x46c]
.wait:  hlt
        cmp ax, [0x46c]
        je .wait
        loop pause
        ret

test_ready:
        db 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0
        dw 0
play_track:
        db 0x48, 0, 0, 0, 2, 1, 0, 2, 1, 0, 0, 0
        dw 0
play_sectors:
        db 0x45, 0, 0, 0, 488 >> 8, 488 & 255, 0, 0, 150, 0, 0, 0
        dw 0
subchannel:
        db 0x42, 0, 0, 0, 0, 0, 0, 0, 4, 0, 0, 0
        dw 0
select: db 0x55, 0x10, 0, 0, 0, 0, 0, 0, 24, 0, 0, 0
        dw 12
        db 0, 22, 0, 0, 0, 0, 0, 0
        db 0x0e, 14, 4, 0, 0, 0, 0, 75, 1, 0x80, 2, 0x40, 0, 0, 0, 0

        times 510 - ($ - $$) db 0
        dw 0xaa55
reply:
        times 163840 - ($ - $$) db 0 ; a diskette of 160 KiB
