/* The PC's character set (IBM code page 437) as UTF-8. */
#ifndef UI_CODEPAGE_H
#define UI_CODEPAGE_H

#include <stddef.h>
#include <stdint.h>

/* Converts bytes as they stand in text memory; to has room for 3 bytes each and a NUL. */
void codepage_utf8(const char *bytes, size_t size, char *to);
/* The character of a byte, as a Unicode code point. */
uint32_t codepage_point(uint8_t byte);
/* The byte of a code point, or -1. */
int codepage_byte(uint32_t point);
/* The next code point of UTF-8; moves on. 0 at the end, U+FFFD for each byte that is none. */
uint32_t codepage_next(const char **utf8);

#endif
