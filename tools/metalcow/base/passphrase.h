/* The passphrase of an encrypted image: out of a file, or asked for on the terminal.
 *
 * The bytes are in struct passphrase only, until passphrase_wipe().
 */
#ifndef METALCOW_PASSPHRASE_H
#define METALCOW_PASSPHRASE_H

#include <stdbool.h>

#include "drivers/crypto/unlocker.h"

#include "arguments.h"

struct passphrase {
    uint8_t bytes[Q2_MAX_PASSPHRASE_LENGTH + 8]; /* more, to notice what is too long */
    const struct image_options *options;         /* that have a secret for each encrypted layer */
    uint32_t nb_chosen;                          /* of these secrets */
};

/* Have unlocker use the first line of options->passphrase_file, or every byte of options->key_file
 * (as QEMU's secret objects do), or options->known, or ask on the terminal. A file's is not asked
 * for again when it does not fit. A line ends with LF or CRLF; a byte order mark in front is not
 * part of it.
 *
 * passphrase  must live until passphrase_wipe()
 * returns false, and says why on stderr, if the file cannot be read or is too long, or if both are
 * given
 */
bool passphrase_provide(struct passphrase *passphrase, const struct image_options *options,
                        struct q2_unlocker_passphrase *unlocker);

/* Read a passphrase out of a file: its first line, or every byte.
 *
 * returns false, and says why on stderr, if the file cannot be read or is too long
 */
bool passphrase_load(struct passphrase *passphrase, const char *path, bool line,
                     size_t *ret_length);

/* Wipe it, in the unlocker too. Ciphers that the unlocker has given out still work. */
void passphrase_wipe(struct passphrase *passphrase, struct q2_unlocker_passphrase *unlocker);

#endif
