/* Key material of a LUKS1 key slot: the master key, split and encrypted with a passphrase.
 * (LUKS1 specification, "AFsplit", "Adding a password")
 *
 * Works in memory that the caller gives; knows no file and no source of random numbers.
 */
#ifndef METALCOW_DRIVERS_LUKS_MATERIAL_H
#define METALCOW_DRIVERS_LUKS_MATERIAL_H

#include <stddef.h>
#include <stdint.h>

#include "core/luks/header.h"
#include "luks_key.h"

/* The longest key material of a slot, bytes. */
#define Q2_LUKS_MAX_MATERIAL (Q2_LUKS_MAX_STRIPES * Q2_AES_MAX_KEY_LENGTH)

/* What a slot gets. */
struct q2_luks_new_key {
    const uint8_t *passphrase;
    size_t length;
    uint32_t iterations;               /* >= 1 */
    uint8_t salt[Q2_LUKS_SALT_LENGTH]; /* random */
};

/* Split the master key, and encrypt what comes out with the passphrase's key. Never fails.
 *
 * work      wiped by the caller: it has secrets afterwards
 * header    mode, hash and key_length count
 * stripes   1 to Q2_LUKS_MAX_STRIPES
 * key       the master key, header->key_length bytes
 * material  key_length * stripes random bytes; the key material afterwards
 */
void q2_luks_material_make(struct q2_luks_work *work, const struct q2_luks_header *header,
                           uint32_t stripes, const uint8_t *key,
                           const struct q2_luks_new_key *new_key, uint8_t *material);

#endif
