; What the display costs: a floppy that boots, sets a mode and writes whole pictures 60 times a second, counted by
; timer 0 and asleep in between. Read by tests/bench/video.py, which puts the work's number into byte 3.
        bits 16
        cpu 386
        org 0x7c00

TIMER   equ 19886                       ; 60.0 Hz
BUFFER  equ 0x200000                    ; where a machine without a display writes instead

        jmp near start
work:   db 0                            ; index in `works`

start:  xor ax, ax
        mov ds, ax
        mov ss, ax
        mov sp, 0x7c00
        mov dx, 0x3fb                   ; eight bits
        mov al, 3
        out dx, al
        mov ax, 0x2401                  ; A20
        int 0x15
        mov ax, 0x0201                  ; the second sector
        mov bx, 0x7e00
        mov cx, 2
        xor dx, dx
        mov es, dx
        int 0x13
        jc start
        cli
        mov al, 0x34
        out 0x43, al
        mov al, TIMER & 0xff
        out 0x40, al
        mov al, TIMER >> 8
        out 0x40, al
        mov word [8 * 4], tick
        mov word [8 * 4 + 2], 0
        sti
        jmp choose

tick:   push ax
        inc word [cs:ticks]
        mov al, 0x20
        out 0x20, al
        pop ax
        iret

        %include "put.inc"

; ES reaches all 4 GiB in real mode.
unreal: cli
        lgdt [gdt]
        mov eax, cr0
        or al, 1
        mov cr0, eax
        mov cx, 8
        mov es, cx
        and al, 0xfe
        mov cr0, eax
        sti
        ret

gdt:    dw 15
        dd gdt
        dw 0
        db 0xff, 0xff, 0, 0, 0, 0x92, 0xcf, 0
ticks:  dw 0
target: dd BUFFER
        times 510-($-$$) db 0
        dw 0xaa55

choose: movzx bx, byte [work]
        add bx, bx
        call [works + bx]
        mov bx, [ticks]
.frame: sti
        hlt                             ; a tick, or another interrupt
        mov ax, [ticks]
        cmp ax, bx
        je .frame
        inc bx
        push bx
        call [draw]
        pop bx
        inc word [frames]
        cmp word [frames], 60
        jb .frame
        mov word [frames], 0
        mov al, '.'                     ; a second's frames
        call put
        jmp .frame

works:  dw linear, still, planar, text, memory

nothing:
        ret

memory: call unreal
        mov word [draw], fill
        ret

text:   mov ax, 3
        int 0x10
        mov si, words
.next:  lodsb
        test al, al
        jz .done
        mov ah, 14
        int 0x10
        jmp .next
.done:  ret

still:  mov ax, 0x4f01                  ; 640 x 480, 256 colours
        mov cx, 0x101
        mov di, info
        int 0x10
        mov ax, 0x4f02
        mov bx, 0x4101
        int 0x10
        mov eax, [info + 0x28]
        mov [target], eax
        call unreal
        jmp fill

linear: call still
        mov word [draw], fill
        ret

; 480 lines of 640 bytes: each line has its own value, another in each frame.
fill:   mov edi, [target]
        mov dx, 480
        inc byte [shade]
        mov bl, [shade]
.line:  inc bl
        mov bh, bl
        mov ax, bx
        shl eax, 16
        mov ax, bx
        mov ecx, 160
        a32 rep stosd
        dec dx
        jnz .line
        ret

planar: mov ax, 0x12
        int 0x10
        mov word [draw], planes
        ret

planes: push word 0xa000
        pop es
        mov ah, 1                       ; map mask
.plane: mov al, 2
        mov dx, 0x3c4
        out dx, ax
        push ax
        xor di, di
        mov dx, 480
        inc byte [shade]
        mov al, [shade]
        mov ah, al
.line:  mov cx, 40
        rep stosw
        add ax, 0x0101
        dec dx
        jnz .line
        pop ax
        add ah, ah
        cmp ah, 0x10
        jb .plane
        ret

draw:   dw nothing
frames: dw 0
shade:  db 0
words:  db 'A screen of text that stands still.', 13, 10, 0
        times 1024-($-$$) db 0
info:                                   ; 256 bytes
