/* The passphrase of an encrypted image: out of a file, or asked for on the terminal.
 *
 * The bytes are in struct passphrase only, until passphrase_wipe().
 */
#ifndef METALCOW_PASSPHRASE_H
#define METALCOW_PASSPHRASE_H

#include <stdbool.h>

#include "drivers/crypto/unlocker.h"

struct passphrase {
    uint8_t bytes[Q2_MAX_PASSPHRASE_LENGTH + 1]; /* one more, to notice what is too long */
};

/* Have unlocker use the bytes of a file, exactly as they are (as QEMU's secret objects do), or, if
 * path is NULL, ask on the terminal. The file's is not asked for again when it does not fit.
 *
 * passphrase  must live until passphrase_wipe()
 * returns false, and says why on stderr, if the file cannot be read or is too long
 */
bool passphrase_provide(struct passphrase *passphrase, const char *path,
                        struct q2_unlocker_passphrase *unlocker);

/* Forget it: unlocker knows nothing any more, ciphers that it has given out go on. */
void passphrase_wipe(struct passphrase *passphrase, struct q2_unlocker_passphrase *unlocker);

#endif
