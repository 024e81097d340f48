/* Refused: belongs to the C library, which include/ may not include. */
#ifndef SAMPLE_LIBC_H
#define SAMPLE_LIBC_H

#include <string.h>

#endif
