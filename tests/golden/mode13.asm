; Mode 13h: 256 colours, chained.
%include "boot.inc"
start:
    call draw_13
    jmp done
