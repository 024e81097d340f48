/* Refused: is in core/, which efi/ may not include. */
#include "../core/libc.c"
