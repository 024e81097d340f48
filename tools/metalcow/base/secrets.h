/* Secrets that options name: --object secret,id=ID,file=FILE, as in qemu-img. */
#ifndef METALCOW_SECRETS_H
#define METALCOW_SECRETS_H

#include <stdbool.h>
#include <stddef.h>

#include "arguments.h"
#include "passphrase.h"

struct secret {
    char text[Q2_MAX_PATH_LENGTH + 256]; /* what the others point to */
    const char *id, *file, *data;        /* NULL: not given */
};

struct secrets {
    struct secret all[MAX_OPTION_TEXTS];
    size_t nb;
};

/* Parse the texts of --object; false, and said on stderr, if one of them is no secret. No file is
 * opened. */
bool secrets_parse(const struct option_texts *texts, struct secrets *ret_secrets);

/* Load the secret of an id: every byte of its file, or its data.
 *
 * option      that names it, for messages
 * passphrase  gets ret_length bytes; the caller wipes it
 *
 * false  said on stderr
 */
bool secrets_load(const struct secrets *secrets, const char *option, const char *id,
                  struct passphrase *passphrase, size_t *ret_length);

/* Have the unlocker use the secret of options->key_secret for all layers, or what
 * passphrase_provide() would. If options->backing_files has secrets too, the encrypted layers get
 * all of these in order, one each.
 *
 * passphrase  must live until passphrase_wipe()
 *
 * false  said on stderr: the secret cannot be loaded, or another passphrase is given too
 */
bool secrets_provide(struct passphrase *passphrase, const struct image_options *options,
                     struct q2_unlocker_passphrase *unlocker);

#endif
