/* Refused: is in core/, which drivers/ may not include. */
#include "../core/up.c"
