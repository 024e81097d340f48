/* Changing the key slots of a LUKS1 header: a passphrase is added, replaced or erased.
 * (LUKS1 specification, "Adding a password", "Revoking a password")
 *
 * For hosts. Works in memory that the caller gives, on the header's bytes in the image file, and
 * flushes. A power cut, or a call that fails, leaves each slot as it was or as it was to be, or
 * inactive: an active slot always has all of its key material. The last active slot is never lost,
 * unless it is erased: while the only one is replaced, another slot has the new key. So after a cut
 * a slot beside may be active, which opens with the new passphrase.
 */
#ifndef METALCOW_DRIVERS_LUKS_SLOTS_H
#define METALCOW_DRIVERS_LUKS_SLOTS_H

#include <stddef.h>
#include <stdint.h>

#include "core/luks/header.h"
#include "luks_key.h"
#include "luks_material.h"
#include "q2_source.h"

/* A header whose slots are changed. Has secrets from q2_luks_slots_open() on, until
 * q2_luks_slots_wipe(). */
struct q2_luks_slots {
    struct q2_source *image;
    uint64_t offset, length;      /* of the header and its key material, bytes into the image */
    struct q2_luks_header header; /* as it is in the image */
    uint8_t key[Q2_AES_MAX_KEY_LENGTH]; /* the master key */
    struct q2_luks_work work;
    uint8_t material[Q2_LUKS_MAX_MATERIAL];
    const char *what; /* static text: why a call failed; NULL: as its status says */
};

/* Read a header.
 *
 * image           writable
 * offset, length  bytes; inside the image
 * key, key_length the image's master key, which is compared with the header's digest
 *
 * Q2_ERR_BAD_HEADER, Q2_ERR_UNSUPPORTED, Q2_ERR_LIMIT   as q2_luks_header_check()
 * Q2_ERR_ENCRYPTED   it is not the key
 * Q2_ERR_IO ...
 */
enum q2_status q2_luks_slots_open(struct q2_luks_slots *slots, struct q2_source *image,
                                  uint64_t offset, uint64_t length, const uint8_t *key,
                                  size_t key_length);

void q2_luks_slots_wipe(struct q2_luks_slots *slots);

/* Active slots: bit n is slot n. */
uint32_t q2_luks_slots_active(const struct q2_luks_slots *slots);

/* Which active slots does a passphrase open? Takes as long as trying all of them.
 *
 * ret_set  bit n: slot n
 */
enum q2_status q2_luks_slots_find(struct q2_luks_slots *slots, const uint8_t *passphrase,
                                  size_t length, uint32_t *ret_set);

/* Could a slot get a key? Nothing is written. Errors as q2_luks_slot_set(). */
enum q2_status q2_luks_slot_can_set(struct q2_luks_slots *slots, uint32_t index,
                                    uint32_t iterations);

/* Have a slot open with a passphrase, whether it is active or not.
 *
 * slots->material  random bytes; gone afterwards
 *
 * Q2_ERR_BAD_HEADER, Q2_ERR_LIMIT   the header has no room for the slot's key material, or would
 *                 have too many iterations; nothing changed
 * Q2_ERR_IO ...   the file failed
 */
enum q2_status q2_luks_slot_set(struct q2_luks_slots *slots, uint32_t index,
                                const struct q2_luks_new_key *key);

/* Make a slot inactive, then overwrite its salt and its key material with zeros. The caller knows
 * whether it is the last one, without which no data can be read any more.
 *
 * Q2_ERR_IO ...   the file failed
 */
enum q2_status q2_luks_slot_erase(struct q2_luks_slots *slots, uint32_t index);

#endif
