/* The version of the program, in --version, in the man page and in QMP's greeting. */
#ifndef UI_VERSION_H
#define UI_VERSION_H

#define VERSION_MAJOR 0
#define VERSION_MINOR 1
#define VERSION_MICRO 0
#define VERSION_TEXT "0.1.0"

#endif
