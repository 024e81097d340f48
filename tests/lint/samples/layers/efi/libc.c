/* Refused: belongs to the C library, which efi/ may not include. */
#include <efi.h>
#include <stdlib.h>
