/* From a passphrase to the master key of a LUKS1 header: PBKDF2, the anti-forensic merge, and the
 * digest that tells whether the key is right.  (LUKS1 specification, "Reading a key"; RFC 8018)
 *
 * Works in memory that the caller gives, and leaves it to the caller to wipe that. What is on the
 * stack is wiped here.
 */
#ifndef METALCOW_DRIVERS_LUKS_KEY_H
#define METALCOW_DRIVERS_LUKS_KEY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "aes.h"
#include "core/luks/header.h"
#include "q2_source.h"

/* The longest digest of any hash here (SHA-512). */
#define Q2_MAX_DIGEST_LENGTH 64u

/* Key material read at once: one request of 4 KiB costs what one of 512 bytes costs. */
#define Q2_LUKS_CHUNK_SIZE 4096u

/* Derive a key.  (RFC 8018, section 5.2)
 *
 * password, salt  any length, not NULL; iterations >= 1
 * ret_key         gets key_length bytes
 */
void q2_pbkdf2(enum q2_luks_hash hash, const uint8_t *password, size_t password_length,
               const uint8_t *salt, size_t salt_length, uint32_t iterations, uint8_t *ret_key,
               size_t key_length);

/* Merging key material back into a key, as its stripes come.  (LUKS1 specification, "AFmerge") */
struct q2_luks_merge {
    enum q2_luks_hash hash;
    uint32_t key_length; /* bytes, at most Q2_AES_MAX_KEY_LENGTH */
    uint32_t left;       /* stripes not complete yet; the key is there when it is 0 */
    uint32_t within;     /* bytes of the current stripe that have been added */
    uint8_t key[Q2_AES_MAX_KEY_LENGTH];
};

void q2_luks_merge_init(struct q2_luks_merge *merge, enum q2_luks_hash hash, uint32_t key_length,
                        uint32_t stripes);

/* Add the next bytes of decrypted key material. Bytes after the last stripe are ignored. */
void q2_luks_merge_add(struct q2_luks_merge *merge, const uint8_t *material, size_t length);

/* Is this the key that the header's digest was made of? Takes as long for every key. */
bool q2_luks_key_is_right(const struct q2_luks_header *header, const uint8_t *key);

/* Memory to open a slot in. The caller wipes it, because it has secrets afterwards. */
struct q2_luks_work {
    uint8_t slot_key[Q2_AES_MAX_KEY_LENGTH]; /* derived from the passphrase */
    struct q2_cipher_aes slot_cipher;        /* made of it */
    struct q2_luks_merge merge;
    uint8_t material[Q2_LUKS_CHUNK_SIZE];
};

/* Open a key slot.
 *
 * header         has passed q2_luks_header_check() with the bytes at header_offset of image
 * slot           an active one of header's
 * ret_key        gets header->key_length bytes
 *
 * Q2_ERR_ENCRYPTED  the passphrase does not fit this slot
 * Q2_ERR_IO ...     the source failed
 */
enum q2_status q2_luks_slot_open(struct q2_luks_work *work, struct q2_source *image,
                                 uint64_t header_offset, const struct q2_luks_header *header,
                                 const struct q2_luks_slot *slot, const uint8_t *passphrase,
                                 size_t passphrase_length, uint8_t ret_key[Q2_AES_MAX_KEY_LENGTH]);

#endif
