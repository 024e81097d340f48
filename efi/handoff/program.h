/* The bytes of the Linux program that serves the disk to the running system (tools/handoff/). */
#ifndef METALCOW_EFI_HANDOFF_PROGRAM_H
#define METALCOW_EFI_HANDOFF_PROGRAM_H

#include <stddef.h>
#include <stdint.h>

extern const uint8_t mc_handoff_program[];

size_t mc_handoff_program_size(void);

#endif
