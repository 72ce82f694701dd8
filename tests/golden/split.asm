; A split screen at line 200 of 400; the upper part scrolled by 3 lines and 2 pixels, the lower not panned.
%include "boot.inc"
start:
    call draw_13
    outword 0x3d4, 0x000c
    outword 0x3d4, 0xf00d       ; 240: three lines of 80 doublewords
    outword 0x3d4, 0xc718       ; line compare 199
    outword 0x3d4, 0x0f07       ; its bits 8 and 9
    outword 0x3d4, 0x0109
    mov bx, 0x6110
    call set_attribute
    mov bx, 0x0413
    call set_attribute
    jmp done
