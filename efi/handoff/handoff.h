/* The hand-off: the running system keeps its disk.
 *
 * Block I/O ends with boot services. A program that serves the same image to the running system is
 * therefore added to the kernel's initrd, with a record of where the image's files are stored. This
 * is the part of it that decides: which disk, whether it may be, and what is delivered. wrap.c,
 * own.c and patch.c deliver.
 *
 * Lives in the resident driver. The disk that was read last when a kernel asks for its initrd is
 * the one that is handed over: loader and kernel came from it.
 */
#ifndef METALCOW_EFI_HANDOFF_H
#define METALCOW_EFI_HANDOFF_H

#include "efi/image/attach.h"

/* The hand-off of one disk. */
struct mc_handoff;

/* Once, when the driver starts: watch for loaders. Without events nothing is handed over, and
 * mc_handoff_add() says so. */
void mc_handoff_start(void);

/* Before the driver goes: nothing of it is left in the firmware or in a loader. */
void mc_handoff_stop(void);

/* Get ready to hand a disk over, if the specification asks for it.
 *
 * image        open, until mc_handoff_remove()
 * ret_read     event to be signalled after reads, as drivers/efi/read_watch.h says; NULL if
 *              *ret_handoff is
 * fault        filled on any error; the disk can be attached all the same
 * ret_handoff  pool memory; NULL: not asked for, or an error
 *
 * Q2_ERR_UNSUPPORTED, Q2_ERR_LIMIT, Q2_ERR_IO ...   it cannot be handed over; fault says why
 */
enum q2_status mc_handoff_add(struct mc_image *image, const struct mc_disk_spec *spec,
                              struct q2_fault *fault, EFI_EVENT *ret_read,
                              struct mc_handoff **ret_handoff);

/* Why a loader's initrd will not be extended, known before the loader starts: Secure Boot is on and
 * the entry does not allow it. NULL: nothing is against it, or handoff is NULL. */
const char *mc_handoff_reason_against(const struct mc_handoff *handoff);

/* The files of a disk were made longer: whoever has its record gets a new one. Not while boot
 * services end. Nothing if handoff is NULL. */
void mc_handoff_moved(struct mc_handoff *handoff);

/* Nothing if handoff is NULL. */
void mc_handoff_remove(struct mc_handoff *handoff);

#endif
