; Boot sector that writes every scan code it gets to the text screen, in hex, without the BIOS's keyboard handler.
bits 16
org 0x7c00
    xor ax, ax
    mov ss, ax
    mov sp, 0x7c00
    mov ax, 3
    int 0x10
    cli
    cld
    mov ax, 0xb800
    mov es, ax
    xor di, di
    mov al, '['                 ; ready
    call put
next:
    in al, 0x64
    test al, 1
    jz next
    in al, 0x60
    cmp al, [cs:last]           ; a key that repeats is written once
    je next
    mov [cs:last], al
    mov bl, al
    mov al, ' '
    call put
    mov al, bl
    shr al, 4
    call digit
    mov al, bl
    and al, 15
    call digit
    jmp next
digit:
    cmp al, 10
    sbb al, 0x69                ; 0..15 to '0'..'9', 'A'..'F'
    das
put:
    mov ah, 7
    stosw
    cmp di, 80 * 25 * 2
    jb .done
    xor di, di
.done:
    ret
last: db 0

    times 510 - ($ - $$) db 0
    dw 0xaa55
