/* The PC's character set (IBM code page 437) as UTF-8. */
#ifndef UI_CODEPAGE_H
#define UI_CODEPAGE_H

#include <stddef.h>

/* Converts bytes as they stand in text memory; to has room for 3 bytes each and a NUL. */
void codepage_utf8(const char *bytes, size_t size, char *to);

#endif
