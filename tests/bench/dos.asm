; What DOS programs do, as a floppy that boots: 16-bit code in real mode, timed from outside by lines on COM1
; ("@B name" ... "@E name 0", then "@DONE"). Read by tests/bench/dos.py.
        bits 16
        cpu 386
        org 0x7c00

SECTORS equ 6                           ; of the program behind the boot sector

start:  xor ax, ax
        mov ds, ax
        mov ss, ax
        mov sp, 0x7c00
        mov ax, 0x1000
        mov es, ax
        mov ax, 0x0200 | SECTORS
        mov bx, 0x100
        mov cx, 2
        xor dh, dh
        int 0x13
        jc start
        jmp 0x1000:0x100
        times 510-($-$$) db 0
        dw 0xaa55

        section program vstart=0x100
; One segment for code and data, as a .COM program; the stack is above both.
        mov ax, cs
        mov ds, ax
        mov es, ax
        mov ss, ax
        mov sp, 0xfffe
        xor ax, ax
        mov fs, ax
        mov word [fs:0x60 * 4], service
        mov [fs:0x60 * 4 + 2], cs
        mov dx, 0x3fb                   ; eight bits
        mov al, 3
        out dx, al
        mov bp, works
.next:  mov si, begin
        call print
        mov si, [bp]
        call print
        mov si, newline
        call print
        push bp
        call [bp + 2]
        pop bp
        mov ax, cs
        mov ds, ax
        mov es, ax
        mov si, end
        call print
        mov si, [bp]
        call print
        mov si, zero
        call print
        add bp, 4
        cmp word [bp], 0
        jne .next
        mov si, done
        call print
        cli
.halt:  hlt
        jmp .halt

print:  lodsb
        test al, al
        jz .end
        mov ah, al
        mov dx, 0x3fd
.wait:  in al, dx
        test al, 0x20
        jz .wait
        mov dx, 0x3f8
        mov al, ah
        out dx, al
        jmp print
.end:   ret

; The sieve of Eratosthenes over 16000 bytes, a segment away.
sieve:  mov word [rounds], 8000
.round: mov ax, 0x2000
        mov es, ax
        xor di, di
        mov cx, 8000
        mov ax, 0x0101
        rep stosw
        mov si, 2
.outer: cmp byte [es:si], 0
        je .skip
        mov bx, si
        add bx, si
.inner: cmp bx, 16000
        jae .skip
        mov byte [es:bx], 0
        add bx, si
        jmp .inner
.skip:  inc si
        cmp si, 127
        jb .outer
        dec word [rounds]
        jnz .round
        ret

; Copies: long ones by words, short ones by bytes, and a loop of LODSB and STOSB.
copy:   mov word [rounds], 20000
.round: push ds
        mov ax, 0x3000
        mov ds, ax
        mov ax, 0x4000
        mov es, ax
        xor si, si
        xor di, di
        mov cx, 16000
        rep movsw
        mov bx, 40
.short: xor si, si
        mov di, bx
        mov cx, 17
        rep movsb
        dec bx
        jnz .short
        xor si, si
        xor di, di
        mov cx, 1000
.bytes: lodsb
        inc al
        stosb
        loop .bytes
        pop ds
        dec word [rounds]
        jnz .round
        ret

; Multiplication, division, shifts, 32 bits in pairs, on the stack frames that compilers made.
arith:  mov word [rounds], 60
.round: mov cx, 20000
.again: push cx
        push word 1234
        call .work
        add sp, 2
        add [sum], ax
        adc [sum + 2], dx
        pop cx
        loop .again
        dec word [rounds]
        jnz .round
        ret
.work:  push bp
        mov bp, sp
        sub sp, 4
        mov ax, [bp + 4]
        mov [bp - 2], ax
        imul word [bp + 4]
        mov bx, 77
        and dx, 63
        div bx
        shl ax, 1
        rcl dx, 1
        sar ax, 2
        xor ax, [bp - 2]
        mov [bp - 4], ax
        sub ax, dx
        cwd
        mov sp, bp
        pop bp
        ret

; Calls between segments, far pointers, loads of segment registers.
far_calls:
        mov word [rounds], 60
.round: mov cx, 20000
.again: call 0x1000:.callee
        call far [.pointer]
        les di, [.pointer]
        mov ax, es
        mov es, ax
        loop .again
        dec word [rounds]
        jnz .round
        ret
.callee:
        push ds
        mov ax, 0x1000
        mov ds, ax
        inc word [sum]
        pop ds
        retf
.pointer:
        dw .callee, 0x1000

; Software interrupts with registers saved, as services of DOS.
interrupts:
        mov word [rounds], 30
.round: mov cx, 20000
.again: mov ah, 0x30
        int 0x60
        loop .again
        dec word [rounds]
        jnz .round
        ret
service:
        pusha
        push ds
        push cs
        pop ds
        inc word [sum]
        pushf
        pop ax
        pop ds
        popa
        iret

; Mode 13h: sprites with a transparent colour, then whole screens copied.
blits:  mov ax, 0x13
        int 0x10
        mov word [rounds], 1500
.round: mov ax, 0xa000
        mov es, ax
        mov bp, 200
.sprite:
        imul di, bp, 317
        mov dx, 16
        xor si, si
.line:  mov cx, 16
.pixel: mov al, [si + .sprites]
        inc si
        test al, al
        jz .clear
        mov [es:di], al
.clear: inc di
        loop .pixel
        add di, 320 - 16
        dec dx
        jnz .line
        dec bp
        jnz .sprite
        push ds
        mov ax, 0x5000
        mov ds, ax
        xor si, si
        xor di, di
        mov cx, 16000
        rep movsd
        pop ds
        dec word [rounds]
        jnz .round
        mov ax, 3
        int 0x10
        ret
.sprites:
%assign i 0
%rep 256
        db (i * 7) & 3
%assign i i + 1
%endrep

; Variables in the middle of the code that uses them, and code that changes its own operands.
beside: mov word [rounds], 60
.round: mov cx, 20000
        jmp .again
.a:     dw 0
.b:     dw 0
.again: inc word [.a]
        mov ax, [.a]
        add [.b], ax
        mov [.c], al
        loop .again
        dec word [rounds]
        jnz .round
        ret
.c:     dw 0

patched:
        mov word [rounds], 60
.round: mov cx, 2000
.again: mov [.operand + 1], cx
        add bx, ax
.operand:
        mov ax, 0
        loop .again
        dec word [rounds]
        jnz .round
        ret

rounds: dw 0
sum:    dd 0
works:  dw name.sieve, sieve, name.copy, copy, name.arith, arith, name.far, far_calls
        dw name.int, interrupts, name.blits, blits, name.beside, beside, name.patched, patched, 0
name:
.sieve: db 'sieve', 0
.copy:  db 'copy', 0
.arith: db 'arith', 0
.far:   db 'far', 0
.int:   db 'int', 0
.blits: db 'blits', 0
.beside:
        db 'beside', 0
.patched:
        db 'patched', 0
begin:  db '@B ', 0
end:    db '@E ', 0
zero:   db ' 0'
newline: db 10, 0
done:   db '@DONE', 10, 0
        times 368640 - 512 - ($ - $$) db 0
