; Cirrus hardware cursor of 64 x 64 at (50, 20) over pixel (x, y) = x + y in the first 102 lines of mode 101h.
%include "boot.inc"

start:
    mov bx, 0x0101
    video 0x4f02
    call set_palette
    outword 0x3c4, 0x1206
    push word 0xa000
    pop es
    xor di, di
    xor bx, bx
.line:
    mov al, bl
    mov cx, 640
.pixel:
    stosb
    inc al
    loop .pixel
    inc bx
    cmp bx, 102
    jb .line
    ; the pattern: in row r eight bytes 3r + i, then eight bytes 5r ^ 7i, in the last 16 KiB of 4 MiB
    outword 0x3ce, 0x200b
    outword 0x3ce, 0xff09
    xor di, di
    xor bx, bx
.row:
    mov al, bl
    add al, bl
    add al, bl
    mov cx, 8
.first:
    stosb
    inc al
    loop .first
    mov ah, bl
    shl ah, 2
    add ah, bl
    xor cx, cx
.second:
    mov al, cl
    shl al, 3
    sub al, cl
    xor al, ah
    stosb
    inc cx
    cmp cx, 8
    jb .second
    inc bx
    cmp bx, 64
    jb .row
    outword 0x3ce, 0x0009
    outword 0x3c4, 0x0712       ; the palette's ports reach the cursor's colours
    mov dx, 0x3c8
    xor al, al
    call colour
    mov al, 15
    call colour
    outword 0x3c4, 0x0013
    outword 0x3c4, 0x0650       ; x = 6 * 8 + 2
    outword 0x3c4, 0x0291       ; y = 2 * 8 + 4
    outword 0x3c4, 0x0512       ; on, 64 x 64
    jmp done

; Entry AL becomes (AL, 30, 60).
colour:
    mov dx, 0x3c8
    out dx, al
    inc dx
    out dx, al
    mov al, 30
    out dx, al
    mov al, 60
    out dx, al
    ret
