; Option ROM that adds to INT 10h the VBE function which SeaVGABIOS lacks: 4F09h, the palette. Quake ends without it.
;
; VESA BIOS Extension Core Functions 3.0, "Set/Get Palette Data". Colours are as wide as 4F08h has set the palette; there is
; no secondary palette. It keeps the handler before it in its own memory, which the BIOS makes read-only afterwards.
        bits 16
        org 0
        db 0x55, 0xaa
        db (rom_end - $$ + 511) / 512
        jmp near init
        align 16, db 0

old:    dd 0

init:   push ds
        push eax
        xor ax, ax
        mov ds, ax
        mov eax, [4 * 0x10]
        mov [cs:old], eax
        mov word [4 * 0x10], handler
        mov [4 * 0x10 + 2], cs
        pop eax
        pop ds
        retf

handler:
        cmp ax, 0x4f09
        je palette
        jmp far [cs:old]

palette:
        cld
        mov ax, 0x024f                  ; not with this hardware
        and bl, 0x83                    ; 80h: while the retrace hides it; there is no other snow here
        test bl, 2
        jnz .end
        mov ax, 0x014f                  ; failed
        cmp cx, 256
        ja .end
        cmp dx, 256
        ja .end
        push dx
        add dx, cx
        cmp dx, 256
        pop dx
        ja .end
        push cx
        push dx
        push di
        jcxz .done
        mov al, dl
        mov dx, 0x3c7
        test bl, 1
        jnz .read
        inc dx
        out dx, al
        inc dx
.set:   mov al, [es:di + 2]             ; red
        out dx, al
        mov al, [es:di + 1]
        out dx, al
        mov al, [es:di]
        out dx, al
        add di, 4
        loop .set
        jmp .done
.read:  out dx, al
        add dx, 2
.get:   in al, dx
        mov [es:di + 2], al
        in al, dx
        mov [es:di + 1], al
        in al, dx
        mov [es:di], al
        mov byte [es:di + 3], 0
        add di, 4
        loop .get
.done:  pop di
        pop dx
        pop cx
        mov ax, 0x004f
.end:   iret

        times -($ - $$) & 511 db 0
rom_end:
