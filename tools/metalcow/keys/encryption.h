/* The encryption of an image that is made: -o encrypt.format=luks,... and --object, as in qemu-img.
 *
 * Each function says on stderr why it fails.
 */
#ifndef METALCOW_ENCRYPTION_H
#define METALCOW_ENCRYPTION_H

#include <stdbool.h>
#include <stdint.h>

#include "tools/metalcow/base/arguments.h"

/* Do the options of encryption fit together, and can the engine read and write what they ask for?
 * No file is opened. Options without any encryption fit, unless there is a secret for them. */
bool encryption_check(const struct create_options *options, const struct arguments *arguments);

/* Bytes of the encryption header that the options lead to; 0: the image is not encrypted. The
 * options have passed encryption_check(). */
uint32_t encryption_length(const struct create_options *options);

/* Whether the passphrase that the options name can be had. True if they name none. */
bool encryption_has_secret(const struct create_options *options,
                           const struct option_texts *objects);

struct encryption;

/* Read the passphrase, and compose the encryption header with a new random key. That takes as long
 * as encrypt.iter-time says. The options have passed encryption_check(); options->image gets the
 * header, and options->opens_with the passphrase.
 *
 * ret_encryption  NULL: the image is not encrypted. Has what options point to, until
 *                 encryption_end()
 */
bool encryption_begin(struct create_options *options, const struct option_texts *objects,
                      struct encryption **ret_encryption);

/* Wipe and free; encryption may be NULL. */
void encryption_end(struct encryption *encryption);

#endif
