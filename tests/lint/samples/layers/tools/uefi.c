/* Refused: belongs to UEFI, which tools/ may not include. */
#include <efi.h>
