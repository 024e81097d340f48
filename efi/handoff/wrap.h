/* The first way to deliver the hand-off: another loader's LoadFile2 is wrapped.
 *
 * For loaders that serve the initrd by protocol: systemd-boot, unified kernel images, GRUB 2.12.
 * The firmware tells when such a protocol appears. Its function pointer is replaced by one of ours
 * that asks the original and appends the payload. The struct stays where it is, so the loader can
 * take its protocol away as always.
 */
#ifndef METALCOW_EFI_HANDOFF_WRAP_H
#define METALCOW_EFI_HANDOFF_WRAP_H

#include "efi/base/memory_map.h"
#include "payload.h"

/* Watch for LoadFile2 at the initrd's path, the one that is there already included.
 *
 * map      reserved; used to tell a unified kernel image from a loader
 * returns  EFI_OUT_OF_RESOURCES: the firmware has no event left
 */
EFI_STATUS mc_initrd_wrap_start(struct mc_memory_map *map, struct mc_payload *payload);

/* Stop watching; what is wrapped gets its own function back. */
void mc_initrd_wrap_stop(void);

#endif
