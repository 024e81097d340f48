/* The third way to deliver the hand-off: boot parameters are changed while boot services end.
 *
 * For loaders that enter the kernel at its 32-bit entry (GRUB 2.06 without Secure Boot): the kernel
 * never asks the firmware for an initrd, so the loader's own one has to grow. x86 only.
 */
#ifndef METALCOW_EFI_HANDOFF_PATCH_H
#define METALCOW_EFI_HANDOFF_PATCH_H

#include "efi/base/memory_map.h"
#include "payload.h"

/* Append the payload to the initrd of every kernel whose boot parameters are found in memory.
 *
 * The longer initrd is stored in free memory below what the kernel allows. Nothing is allocated:
 * boot services are ending, nobody else takes memory any more, and for the kernel it is ordinary
 * memory that its boot parameters reserve. A second call changes nothing.
 *
 * map      reserved; it is read anew
 * returns  how many kernels got it
 */
unsigned int mc_initrd_patch(struct mc_memory_map *map, struct mc_payload *payload);

#endif
