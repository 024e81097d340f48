/* LUKS1 keys: from a passphrase to the key of the disk.
 *
 * May call the image's source, drivers/crypto/aes.h and BearSSL's hash and HMAC functions (built
 * from the distribution's source package, drivers/crypto/crypto.mk). PBKDF2 and the anti-forensic
 * merge are ours, because the library has neither. Invariant: the work is bounded by the checked
 * header, and no secret is left on the stack by this file.
 */
#include "luks_key.h"

/* Internal header, for the size of a digest. */
#include <inner.h>

#include "wipe.h"

_Static_assert(br_sha512_SIZE <= Q2_MAX_DIGEST_LENGTH, "no longer digest");

static const br_hash_class *const hashes[] = {
    [Q2_LUKS_SHA1] = &br_sha1_vtable,
    [Q2_LUKS_SHA256] = &br_sha256_vtable,
    [Q2_LUKS_SHA512] = &br_sha512_vtable,
};
_Static_assert(sizeof(hashes) / sizeof(hashes[0]) == Q2_NB_LUKS_HASHES, "one row per hash");

static size_t min_size(size_t a, size_t b)
{
    return a < b ? a : b;
}

/* One block of PBKDF2's output: F(password, salt, iterations, number). */
static void derive_block(const br_hmac_key_context *key, const uint8_t *salt, size_t salt_length,
                         uint32_t iterations, uint32_t number, uint8_t sum[Q2_MAX_DIGEST_LENGTH])
{
    uint8_t number_be[4], last[Q2_MAX_DIGEST_LENGTH];
    br_hmac_context hmac;
    size_t digest_length;

    br_enc32be(number_be, number);
    br_hmac_init(&hmac, key, 0);
    br_hmac_update(&hmac, salt, salt_length);
    br_hmac_update(&hmac, number_be, sizeof(number_be));
    digest_length = br_hmac_out(&hmac, last);
    memcpy(sum, last, digest_length);
    for (uint32_t i = 1; i < iterations; i++) {
        br_hmac_init(&hmac, key, 0);
        br_hmac_update(&hmac, last, digest_length);
        (void)br_hmac_out(&hmac, last);
        for (size_t j = 0; j < digest_length; j++)
            sum[j] = (uint8_t)(sum[j] ^ last[j]);
    }
    q2_wipe(&hmac, sizeof(hmac));
    q2_wipe(last, sizeof(last));
}

void q2_pbkdf2(enum q2_luks_hash hash, const uint8_t *password, size_t password_length,
               const uint8_t *salt, size_t salt_length, uint32_t iterations, uint8_t *ret_key,
               size_t key_length)
{
    size_t digest_length = br_digest_size(hashes[hash]);
    uint8_t block[Q2_MAX_DIGEST_LENGTH];
    br_hmac_key_context key;

    br_hmac_key_init(&key, hashes[hash], password, password_length);
    for (uint32_t number = 1; key_length > 0; number++) {
        size_t n = min_size(key_length, digest_length);

        derive_block(&key, salt, salt_length, iterations, number, block);
        memcpy(ret_key, block, n);
        ret_key += n;
        key_length -= n;
    }
    q2_wipe(&key, sizeof(key));
    q2_wipe(block, sizeof(block));
}

/* Replace each digest-sized piece of a key by the digest of its number and itself. */
static void diffuse(enum q2_luks_hash hash, uint8_t *key, size_t key_length)
{
    size_t digest_length = br_digest_size(hashes[hash]);
    uint8_t number_be[4], digest[Q2_MAX_DIGEST_LENGTH];
    br_hash_compat_context context;

    for (uint32_t number = 0; key_length > 0; number++) {
        size_t n = min_size(key_length, digest_length);

        br_enc32be(number_be, number);
        hashes[hash]->init(&context.vtable);
        hashes[hash]->update(&context.vtable, number_be, sizeof(number_be));
        hashes[hash]->update(&context.vtable, key, n);
        hashes[hash]->out(&context.vtable, digest);
        memcpy(key, digest, n);
        key += n;
        key_length -= n;
    }
    q2_wipe(&context, sizeof(context));
    q2_wipe(digest, sizeof(digest));
}

void q2_luks_merge_init(struct q2_luks_merge *merge, enum q2_luks_hash hash, uint32_t key_length,
                        uint32_t stripes)
{
    merge->hash = hash;
    merge->key_length = key_length;
    merge->left = stripes;
    merge->within = 0;
    memset(merge->key, 0, sizeof(merge->key));
}

void q2_luks_merge_add(struct q2_luks_merge *merge, const uint8_t *material, size_t length)
{
    for (size_t i = 0; i < length && merge->left > 0; i++) {
        uint8_t *byte = &merge->key[merge->within++];

        *byte = (uint8_t)(*byte ^ material[i]);
        if (merge->within < merge->key_length)
            continue;
        merge->within = 0;
        merge->left--;
        /* The last stripe is only XORed: it was chosen so that the key comes out. */
        if (merge->left > 0)
            diffuse(merge->hash, merge->key, merge->key_length);
    }
}

bool q2_luks_key_is_right(const struct q2_luks_header *header, const uint8_t *key)
{
    uint8_t digest[Q2_LUKS_DIGEST_LENGTH], difference = 0;

    q2_pbkdf2(header->hash, key, header->key_length, header->digest_salt,
              sizeof(header->digest_salt), header->digest_iterations, digest, sizeof(digest));
    for (size_t i = 0; i < sizeof(digest); i++)
        difference = (uint8_t)(difference | (digest[i] ^ header->digest[i]));
    q2_wipe(digest, sizeof(digest));
    return difference == 0;
}

/* Read, decrypt and merge a slot's key material. Its sectors are numbered from 0. */
static enum q2_status merge_material(struct q2_luks_work *work, struct q2_source *image,
                                     uint64_t offset, size_t length)
{
    struct q2_cipher *cipher = &work->slot_cipher.cipher;

    for (size_t at = 0; at < length; at += sizeof(work->material)) {
        size_t n = min_size(length - at, sizeof(work->material));
        enum q2_status status = image->ops->read_at(image, offset + at, work->material, n);

        if (status != Q2_OK)
            return status;
        cipher->ops->decrypt(cipher, at / Q2_LUKS_SECTOR_SIZE, work->material, n);
        q2_luks_merge_add(&work->merge, work->material, n);
    }
    return Q2_OK;
}

enum q2_status q2_luks_slot_open(struct q2_luks_work *work, struct q2_source *image,
                                 uint64_t header_offset, const struct q2_luks_header *header,
                                 const struct q2_luks_slot *slot, const uint8_t *passphrase,
                                 size_t passphrase_length, uint8_t ret_key[Q2_AES_MAX_KEY_LENGTH])
{
    enum q2_status status;

    q2_pbkdf2(header->hash, passphrase, passphrase_length, slot->salt, sizeof(slot->salt),
              slot->iterations, work->slot_key, header->key_length);
    (void)q2_cipher_aes_init(&work->slot_cipher, header->mode, work->slot_key, header->key_length);
    q2_luks_merge_init(&work->merge, header->hash, header->key_length, slot->stripes);
    status = merge_material(work, image, header_offset + slot->key_material_offset,
                            (size_t)q2_luks_slot_length(header, slot));
    if (status != Q2_OK)
        return status;
    if (!q2_luks_key_is_right(header, work->merge.key))
        return Q2_ERR_ENCRYPTED;
    memcpy(ret_key, work->merge.key, header->key_length);
    return Q2_OK;
}
