/* Refused: binds 2 interfaces: UEFI, the C library. */
#ifndef SAMPLE_TWO_H
#define SAMPLE_TWO_H

#include <efi.h>
#include <unistd.h>

#endif
