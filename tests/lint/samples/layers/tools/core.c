/* Refused: is in core/, which tools/ may not include. */
#include "../core/libc.c"
