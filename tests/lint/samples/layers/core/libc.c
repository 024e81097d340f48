/* Refused: <stdio.h> belongs to the C library, which core/ may not include. */
#include <stdint.h>
#include <stdio.h>
