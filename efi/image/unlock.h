/* The unlocker of the firmware: where an encrypted image's passphrase comes from.
 *
 * Used at attach and detach only. A passphrase comes out of a file of the image's volume, or from a
 * person at the console if whoever asks for the disk is one. While a passphrase is tried, which
 * takes seconds, dots on the console show that work goes on.
 *
 * Keys are stored in struct mc_unlock only, until the hand-off takes the raw ones over, which are
 * kept if the disk is to be handed over. They are wiped when the disk is closed and when boot
 * services end. Out of our reach: the file system's cache of a passphrase file, the firmware's key
 * buffer.
 */
#ifndef METALCOW_EFI_UNLOCK_H
#define METALCOW_EFI_UNLOCK_H

#include <efi.h>

#include "drivers/crypto/unlocker.h"
#include "efi/base/control.h"
#include "efi/config/passphrase.h"
#include "q2_place.h"

/* Some 80 KiB. Does not move between mc_unlock_init() and mc_unlock_close(). */
struct mc_unlock {
    struct q2_unlocker_passphrase unlocker;
    struct mc_passphrase passphrase; /* empty once the disk is open */
    EFI_EVENT ticking;               /* while a passphrase is tried; NULL: no dots */
    EFI_EVENT exiting;               /* wipes keys when boot services end; NULL: there is no key */
};

/* Make an unlocker, and read the file that the specification names.
 *
 * unlock  zeroed
 *
 * Q2_ERR_ARGUMENT  a passphrase file and a key file
 * Q2_ERR_LIMIT     the passphrase is over Q2_MAX_PASSPHRASE_LENGTH
 * Q2_ERR_NOT_FOUND, Q2_ERR_NOT_A_FILE (a directory), Q2_ERR_BAD_NAME, Q2_ERR_IO ...   the file
 */
enum q2_status mc_unlock_init(struct mc_unlock *unlock, struct q2_place *place,
                              const struct mc_disk_spec *spec, struct q2_fault *fault);

/* Forget the passphrase after q2_disk_open() has returned, but not the keys of an unlocker that
 * remembers them.
 *
 * status  what q2_disk_open() returned
 * fault   gets what to do if the image is encrypted and nobody could be asked */
void mc_unlock_forget(struct mc_unlock *unlock, enum q2_status status, struct q2_fault *fault);

/* Wipe everything, after q2_disk_close() or if nothing was opened. */
void mc_unlock_close(struct mc_unlock *unlock);

#endif
