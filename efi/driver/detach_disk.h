/* Detaching disks: one, or all of them before the driver is unloaded.
 *
 * Part of the resident driver.
 */
#ifndef METALCOW_EFI_DETACH_DISK_H
#define METALCOW_EFI_DETACH_DISK_H

#include "registry.h"

/* Detach a disk; its volume is given back with the last one, unless it is kept. On an error the
 * disk is as it was.
 *
 * EFI_DEVICE_ERROR  a request is inside the disk; or the firmware does not let go of it */
EFI_STATUS mc_disk_detach(struct mc_disk *disk);

/* Free a disk that is in no list, and close what it has open. */
void mc_disk_free(struct mc_disk *disk);

/* Take every disk from the firmware, the newest first, or none. While they are away nothing is
 * attached or started. mc_disks_resume() or mc_disks_close() must follow.
 *
 * A disk on a volume inside another disk of ours is detached, because its volume goes with the
 * other disk. It is attached again with that volume if an entry asks for it.
 *
 * fault              which disk, if not EFI_SUCCESS
 * EFI_ACCESS_DENIED  a disk is in use, or on its way in or out; all are as they were */
EFI_STATUS mc_disks_suspend(struct q2_fault *fault);

/* Bring the disks back that are away. */
void mc_disks_resume(void);

/* Flush and free the disks that are away, and give every volume back. */
void mc_disks_close(void);

#endif
