/* The second way to deliver the hand-off: a LoadFile2 of our own.
 *
 * For loaders that enter the kernel through its EFI stub and put the initrd into the boot
 * parameters (GRUB 2.06 with Secure Boot): the stub prefers LoadFile2 to them. Our protocol must
 * not be there earlier, because systemd-boot and GRUB 2.12 refuse to start a kernel when somebody
 * else serves the initrd's path. So it appears only after such boot parameters were seen in memory,
 * and goes when they have gone. x86 only.
 */
#ifndef METALCOW_EFI_HANDOFF_OWN_H
#define METALCOW_EFI_HANDOFF_OWN_H

#include <stdbool.h>

#include "initrd_path.h"
#include "efi/base/memory_map.h"
#include "payload.h"

/* map: reserved; it is read anew at every look. */
void mc_initrd_own_init(struct mc_memory_map *map, struct mc_payload *payload);

/* Look for a kernel that waits in memory, and install or take away our protocol. Not from inside a
 * request: the firmware allocates for it. */
void mc_initrd_own_look(void);

/* Take our protocol away. */
void mc_initrd_own_stop(void);

/* Is this our protocol? */
bool mc_initrd_own_is(const struct mc_load_file2 *load_file2);

#endif
