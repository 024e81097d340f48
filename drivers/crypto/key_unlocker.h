/* An unlocker that has the keys of the images already, as a hand-off record brings them.
 *
 * Implements q2_unlocker of include/q2_cipher.h. No passphrase is needed and nobody is asked. With
 * LUKS the key is compared with the digest in the image's header.
 */
#ifndef METALCOW_DRIVERS_KEY_UNLOCKER_H
#define METALCOW_DRIVERS_KEY_UNLOCKER_H

#include <stddef.h>
#include <stdint.h>

#include "aes.h"
#include "core/luks/header.h"
#include "q2_cipher.h"
#include "q2_limits.h"

/* The key of one image. */
struct q2_image_key {
    const char *path; /* of the image, as its source has it */
    uint32_t crypt_method;
    uint32_t length;      /* bytes */
    const uint8_t *bytes; /* needed inside q2_disk_open() only; the owner wipes it */
};

struct q2_unlocker_key {
    struct q2_unlocker unlocker; /* first: the unlocker's address is this struct's */
    const struct q2_image_key *keys;
    size_t nb_keys;
    struct q2_luks_header header;
    struct q2_cipher_aes ciphers[Q2_MAX_LAYERS]; /* free: without ops */
};

/* Make an unlocker; memory must live until q2_disk_close(), which wipes every key in it. */
struct q2_unlocker *q2_unlocker_key_init(struct q2_unlocker_key *memory,
                                         const struct q2_image_key *keys, size_t nb_keys);

#endif
