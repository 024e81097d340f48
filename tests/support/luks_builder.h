/* LUKS1 headers made in memory: for the tests of the header, of the unlocker, and for the fuzzer.
 *
 * Key material is made by splitting a key as a writer would: random stripes, and a last one that
 * makes the key come out. The inverse of the merge is the merge: merging the others gives what the
 * last one must be XORed with.
 */
#ifndef METALCOW_TESTS_LUKS_BUILDER_H
#define METALCOW_TESTS_LUKS_BUILDER_H

#include <string.h>

#include "core/luks/header.h"
#include "drivers/crypto/luks_key.h"

/* Where QEMU puts key material: 4 KiB from the start, each slot rounded up to 4 KiB. */
#define LUKS_BUILD_PAYLOAD_SECTORS 4040u
#define LUKS_BUILD_LENGTH          (LUKS_BUILD_PAYLOAD_SECTORS * 512ull)
#define LUKS_BUILD_SLOT_SECTORS    504u

static inline void luks_put_be32(uint8_t b[4], uint32_t value)
{
    b[0] = (uint8_t)(value >> 24);
    b[1] = (uint8_t)(value >> 16);
    b[2] = (uint8_t)(value >> 8);
    b[3] = (uint8_t)value;
}

/* A header as QEMU writes it, slot 0 active; every digest and salt is made up. */
static inline void luks_build_header(struct q2_luks_header_disk *disk)
{
    memset(disk, 0, sizeof(*disk));
    memcpy(disk->magic, "LUKS\xba\xbe", 6);
    disk->version[1] = 1;
    memcpy(disk->cipher_name, "aes", 3);
    memcpy(disk->cipher_mode, "xts-plain64", 11);
    memcpy(disk->hash_spec, "sha256", 6);
    luks_put_be32(disk->payload_offset, LUKS_BUILD_PAYLOAD_SECTORS);
    luks_put_be32(disk->key_bytes, 64);
    memset(disk->mk_digest, 0xd1, sizeof(disk->mk_digest));
    memset(disk->mk_digest_salt, 0x5a, sizeof(disk->mk_digest_salt));
    luks_put_be32(disk->mk_digest_iterations, 1000);
    for (uint32_t i = 0; i < Q2_LUKS_NB_SLOTS; i++) {
        struct q2_luks_slot_disk *slot = &disk->slots[i];

        luks_put_be32(slot->active, i == 0 ? Q2_LUKS_SLOT_ACTIVE : Q2_LUKS_SLOT_INACTIVE);
        luks_put_be32(slot->iterations, i == 0 ? 1000 : 0);
        memset(slot->salt, (int)(0xa0 + i), sizeof(slot->salt));
        luks_put_be32(slot->key_material_offset, 8 + i * LUKS_BUILD_SLOT_SECTORS);
        luks_put_be32(slot->stripes, Q2_LUKS_MAX_STRIPES);
    }
}

/* Set cipher mode, hash and key length; call before the two below. */
static inline void luks_build_suite(struct q2_luks_header_disk *disk, const char *mode,
                                    const char *hash, uint32_t key_length)
{
    memset(disk->cipher_mode, 0, sizeof(disk->cipher_mode));
    memcpy(disk->cipher_mode, mode, strlen(mode));
    memset(disk->hash_spec, 0, sizeof(disk->hash_spec));
    memcpy(disk->hash_spec, hash, strlen(hash));
    luks_put_be32(disk->key_bytes, key_length);
}

/* Make the digest that belongs to a key. */
static inline void luks_build_digest(struct q2_luks_header_disk *disk, const uint8_t *key,
                                     uint32_t iterations)
{
    struct q2_luks_header header;

    luks_put_be32(disk->mk_digest_iterations, iterations);
    q2_luks_header_decode(disk, &header);
    q2_pbkdf2(header.hash, key, header.key_length, header.digest_salt, sizeof(header.digest_salt),
              iterations, disk->mk_digest, sizeof(disk->mk_digest));
}

/* Put a key into a slot and switch it on.
 *
 * image  the header and the room after it, LUKS_BUILD_LENGTH bytes
 */
static inline void luks_build_slot(uint8_t *image, uint32_t index, const uint8_t *key,
                                   const char *passphrase, uint32_t iterations, uint32_t stripes)
{
    struct q2_luks_header_disk *disk = (struct q2_luks_header_disk *)image;
    struct q2_luks_slot_disk *slot = &disk->slots[index];
    struct q2_luks_header header;
    struct q2_luks_merge merge;
    struct q2_cipher_aes aes;
    uint8_t slot_key[Q2_AES_MAX_KEY_LENGTH], *material;
    size_t length, last;

    luks_put_be32(slot->active, Q2_LUKS_SLOT_ACTIVE);
    luks_put_be32(slot->iterations, iterations);
    luks_put_be32(slot->stripes, stripes);
    q2_luks_header_decode(disk, &header);
    material = image + header.slots[index].key_material_offset;
    length = header.key_length * stripes;
    last = length - header.key_length;
    for (size_t i = 0; i < length; i++)
        material[i] = i < last ? (uint8_t)(i * 37 + i / 251 + index) : 0;
    q2_luks_merge_init(&merge, header.hash, header.key_length, stripes);
    q2_luks_merge_add(&merge, material, length);
    for (size_t i = 0; i < header.key_length; i++)
        material[last + i] = (uint8_t)(merge.key[i] ^ key[i]);
    q2_pbkdf2(header.hash, (const uint8_t *)passphrase, strlen(passphrase), slot->salt,
              sizeof(slot->salt), iterations, slot_key, header.key_length);
    (void)q2_cipher_aes_init(&aes, header.mode, slot_key, header.key_length);
    aes.cipher.ops->encrypt(&aes.cipher, 0, material, length);
}

#endif
