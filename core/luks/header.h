/* The LUKS1 header: decode, then check.  (LUKS1 On-Disk Format Specification 1.2.3, "PHDR")
 *
 * Pure: no I/O, no key, nothing but the bytes and the numbers. The header comes out of an image and
 * is untrusted until q2_luks_header_check() has passed it.
 */
#ifndef Q2_CORE_LUKS_HEADER_H
#define Q2_CORE_LUKS_HEADER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "aes_mode.h"
#include "q2_status.h"

#define Q2_LUKS_SECTOR_SIZE   512u
#define Q2_LUKS_NB_SLOTS      8u
#define Q2_LUKS_SALT_LENGTH   32u
#define Q2_LUKS_DIGEST_LENGTH 20u
#define Q2_LUKS_NAME_LENGTH   32u
#define Q2_LUKS_UUID_LENGTH   40u

/* Stripes of a key slot. The specification's constant is 4000, and no program writes another. */
#define Q2_LUKS_MAX_STRIPES 4000u

/* PBKDF2 iterations that a wrong passphrase costs, all together: see q2_luks_iterations(). Programs
 * choose the number so that their machine takes 2 s per slot: 2 to 8 million on today's. 2^26 is
 * four slots of 8 million with a key of two pieces, and ends after some minutes without SHA
 * instructions; the field would allow 2^35. */
#define Q2_LUKS_MAX_ITERATIONS (1u << 26)

/* As it is stored on disk; numbers are big-endian. */
struct q2_luks_slot_disk {
    uint8_t active[4];
    uint8_t iterations[4];
    uint8_t salt[Q2_LUKS_SALT_LENGTH];
    uint8_t key_material_offset[4]; /* sectors */
    uint8_t stripes[4];
};

struct q2_luks_header_disk {
    uint8_t magic[6];
    uint8_t version[2];
    char cipher_name[Q2_LUKS_NAME_LENGTH];
    char cipher_mode[Q2_LUKS_NAME_LENGTH];
    char hash_spec[Q2_LUKS_NAME_LENGTH];
    uint8_t payload_offset[4]; /* sectors */
    uint8_t key_bytes[4];
    uint8_t mk_digest[Q2_LUKS_DIGEST_LENGTH];
    uint8_t mk_digest_salt[Q2_LUKS_SALT_LENGTH];
    uint8_t mk_digest_iterations[4];
    char uuid[Q2_LUKS_UUID_LENGTH];
    struct q2_luks_slot_disk slots[Q2_LUKS_NB_SLOTS];
};
_Static_assert(sizeof(struct q2_luks_slot_disk) == 48, "LUKS1, key slot");
_Static_assert(offsetof(struct q2_luks_header_disk, payload_offset) == 104, "LUKS1, PHDR");
_Static_assert(sizeof(struct q2_luks_header_disk) == 592, "LUKS1, PHDR");

/* The hash of PBKDF2 and of the anti-forensic splitter. */
enum q2_luks_hash {
    Q2_LUKS_SHA1,
    Q2_LUKS_SHA256,
    Q2_LUKS_SHA512,
    Q2_NB_LUKS_HASHES
};

struct q2_luks_slot {
    uint32_t state; /* Q2_LUKS_SLOT_ACTIVE or _INACTIVE once checked */
    uint32_t iterations;
    uint8_t salt[Q2_LUKS_SALT_LENGTH];
    uint64_t key_material_offset; /* bytes from the header's start */
    uint32_t stripes;
};

#define Q2_LUKS_SLOT_ACTIVE   0x00ac71f3u
#define Q2_LUKS_SLOT_INACTIVE 0x0000deadu

struct q2_luks_header {
    bool has_magic;
    uint16_t version;
    bool names_end; /* each name has its NUL */
    /* Q2_NB_... if the name is none that is built in */
    enum q2_aes_mode mode;
    enum q2_luks_hash hash;
    uint64_t payload_offset; /* bytes from the header's start */
    uint32_t key_length;     /* bytes */
    uint8_t digest[Q2_LUKS_DIGEST_LENGTH];
    uint8_t digest_salt[Q2_LUKS_SALT_LENGTH];
    uint32_t digest_iterations;
    struct q2_luks_slot slots[Q2_LUKS_NB_SLOTS];
};

/* Turn the bytes into numbers. Judges nothing; never fails. */
void q2_luks_header_decode(const struct q2_luks_header_disk *disk,
                           struct q2_luks_header *ret_header);

/* Turn the numbers of a key slot into bytes. key_material_offset is whole sectors below 2^41. */
void q2_luks_slot_encode(const struct q2_luks_slot *slot, struct q2_luks_slot_disk *ret_disk);

/* Turn the numbers of a header into bytes: magic and version 1 come by themselves.
 *
 * header  has a mode, a hash and offsets that can be said: whole sectors below 2^41
 * uuid    text, NUL-terminated; the specification wants 8-4-4-4-12 digits
 */
void q2_luks_header_encode(const struct q2_luks_header *header, const char *uuid,
                           struct q2_luks_header_disk *ret_disk);

/* Judge a decoded header.
 *
 * header_length  bytes from the header's start that it and its key material may use
 * ret_what       static text that says what is wrong; set on every result but Q2_OK
 *
 * Q2_OK               every number can be used: the key material of each active slot is stored
 *                     after the header and inside header_length, no product of them wraps
 * Q2_ERR_BAD_HEADER   it breaks the specification
 * Q2_ERR_UNSUPPORTED  cipher, mode, hash or key length is not built in
 * Q2_ERR_LIMIT        over Q2_LUKS_MAX_STRIPES or Q2_LUKS_MAX_ITERATIONS
 */
enum q2_status q2_luks_header_check(const struct q2_luks_header *header, uint64_t header_length,
                                    const char **ret_what);

/* Bytes of a slot's key material. No wrap in a checked header. */
static inline uint64_t q2_luks_slot_length(const struct q2_luks_header *header,
                                           const struct q2_luks_slot *slot)
{
    return (uint64_t)header->key_length * slot->stripes;
}

/* PBKDF2 iterations that trying one wrong passphrase on every active slot takes. PBKDF2 gives one
 * hash at a time, so a key longer than the hash takes a slot's iterations once per piece; and for
 * each slot the digest of what came out is computed. hash and key_length are known ones. */
uint64_t q2_luks_iterations(const struct q2_luks_header *header);

#endif
