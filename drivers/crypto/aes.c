/* AES-XTS and AES-CBC over sectors.
 *
 * May call aes_ni.c, and BearSSL's bit-sliced AES and SHA-256 (built from the distribution's source
 * package, drivers/crypto/crypto.mk). The modes are ours, because the library has CBC with one
 * IV only and no XTS. Invariant: neither the instructions nor the memory that they access depend on
 * a key or on data.
 *
 * The bit-sliced AES takes as long for four blocks as for one. So data is worked on in quads of
 * four blocks, and the IVs of four sectors are made together.
 */
#include "aes.h"

/* Internal header: the library's public functions have no access to single blocks. */
#include <inner.h>

#include "wipe.h"

#define QUAD           4u
#define QUAD_SIZE      (QUAD * Q2_AES_BLOCK_SIZE)
#define XTS_POLYNOMIAL 0x87u

_Static_assert(sizeof(((br_aes_ct64_cbcdec_keys *)0)->skey) * 4 ==
                   sizeof(((struct q2_aes_key *)0)->words),
               "an expanded key is four times a compressed one");

enum direction {
    DECRYPT,
    ENCRYPT
};

static void key_init(struct q2_aes_key *key, bool portable, const uint8_t *bytes, uint32_t length)
{
    uint64_t compressed[30];

    key->has_ni = !portable && q2_aes_ni_expand(&key->ni, bytes, length, &key->nb_rounds);
    if (key->has_ni)
        return;
    key->nb_rounds = br_aes_ct64_keysched(compressed, bytes, length);
    br_aes_ct64_skey_expand(key->words, key->nb_rounds, compressed);
    q2_wipe(compressed, sizeof(compressed));
}

static void crypt_sliced(const struct q2_aes_key *key, enum direction direction, uint8_t *blocks)
{
    uint32_t w[QUAD_SIZE / 4];
    uint64_t q[8];

    br_range_dec32le(w, QUAD_SIZE / 4, blocks);
    for (size_t i = 0; i < QUAD; i++)
        br_aes_ct64_interleave_in(&q[i], &q[i + 4], w + 4 * i);
    br_aes_ct64_ortho(q);
    if (direction == ENCRYPT)
        br_aes_ct64_bitslice_encrypt(key->nb_rounds, key->words, q);
    else
        br_aes_ct64_bitslice_decrypt(key->nb_rounds, key->words, q);
    br_aes_ct64_ortho(q);
    for (size_t i = 0; i < QUAD; i++)
        br_aes_ct64_interleave_out(w + 4 * i, q[i], q[i + 4]);
    br_range_enc32le(blocks, w, QUAD_SIZE / 4);
}

/* Encrypt or decrypt four independent blocks in place (ECB). */
static void crypt_quad(const struct q2_aes_key *key, enum direction direction, uint8_t *blocks)
{
    if (!key->has_ni)
        crypt_sliced(key, direction, blocks);
    else if (direction == ENCRYPT)
        q2_aes_ni_encrypt(&key->ni, key->nb_rounds, blocks);
    else
        q2_aes_ni_decrypt(&key->ni, key->nb_rounds, blocks);
}

static void xor_bytes(uint8_t *to, const uint8_t *from, size_t length)
{
    for (size_t i = 0; i < length; i++)
        to[i] = (uint8_t)(to[i] ^ from[i]);
}

/* The IVs of four sectors, one block each. */
static void make_ivs(const struct q2_cipher_aes *aes, uint64_t sector, uint8_t ivs[QUAD_SIZE])
{
    memset(ivs, 0, QUAD_SIZE);
    for (size_t i = 0; i < QUAD; i++)
        br_enc64le(ivs + i * Q2_AES_BLOCK_SIZE, sector + i);
    if (aes->mode != Q2_AES_CBC_PLAIN64)
        crypt_quad(&aes->iv, ENCRYPT, ivs);
}

/* Make the next block's tweak: multiply by x in GF(2^128).  (IEEE 1619) */
static void next_tweak(uint64_t *low, uint64_t *high)
{
    uint64_t carry = *high >> 63;

    *high = *high << 1 | *low >> 63;
    *low = *low << 1 ^ (XTS_POLYNOMIAL & (0 - carry));
}

/* One sector, or the start of one. length: at most a sector. */
static void crypt_xts(const struct q2_cipher_aes *aes, enum direction direction, const uint8_t *iv,
                      uint8_t *data, size_t length)
{
    uint64_t low = br_dec64le(iv), high = br_dec64le(iv + 8);

    for (size_t at = 0; at < length; at += QUAD_SIZE) {
        size_t n = length - at < QUAD_SIZE ? length - at : QUAD_SIZE;
        uint8_t tweaks[QUAD_SIZE], blocks[QUAD_SIZE] = {0};

        for (size_t i = 0; i < QUAD_SIZE; i += Q2_AES_BLOCK_SIZE) {
            br_enc64le(tweaks + i, low);
            br_enc64le(tweaks + i + 8, high);
            next_tweak(&low, &high);
        }
        memcpy(blocks, data + at, n);
        xor_bytes(blocks, tweaks, QUAD_SIZE);
        crypt_quad(&aes->data, direction, blocks);
        xor_bytes(blocks, tweaks, QUAD_SIZE);
        memcpy(data + at, blocks, n);
    }
}

static void decrypt_cbc(const struct q2_cipher_aes *aes, const uint8_t *iv, uint8_t *data,
                        size_t length)
{
    uint8_t
        before[QUAD_SIZE + Q2_AES_BLOCK_SIZE]; /* the ciphertext that each block is XORed with */

    memcpy(before, iv, Q2_AES_BLOCK_SIZE);
    for (size_t at = 0; at < length; at += QUAD_SIZE) {
        size_t n = length - at < QUAD_SIZE ? length - at : QUAD_SIZE;
        uint8_t blocks[QUAD_SIZE] = {0};

        memcpy(blocks, data + at, n);
        memcpy(before + Q2_AES_BLOCK_SIZE, blocks, QUAD_SIZE);
        crypt_quad(&aes->data, DECRYPT, blocks);
        xor_bytes(blocks, before, QUAD_SIZE);
        memcpy(data + at, blocks, n);
        memcpy(before, before + QUAD_SIZE, Q2_AES_BLOCK_SIZE);
    }
}

/* Each block needs the ciphertext of the one before, so a quad has one block in use. */
static void encrypt_cbc(const struct q2_cipher_aes *aes, const uint8_t *iv, uint8_t *data,
                        size_t length)
{
    uint8_t blocks[QUAD_SIZE] = {0};

    memcpy(blocks, iv, Q2_AES_BLOCK_SIZE);
    for (size_t at = 0; at < length; at += Q2_AES_BLOCK_SIZE) {
        xor_bytes(blocks, data + at, Q2_AES_BLOCK_SIZE);
        crypt_quad(&aes->data, ENCRYPT, blocks);
        memcpy(data + at, blocks, Q2_AES_BLOCK_SIZE);
    }
}

static void crypt_sector(const struct q2_cipher_aes *aes, enum direction direction,
                         const uint8_t *iv, uint8_t *data, size_t length)
{
    if (aes->mode == Q2_AES_XTS_PLAIN64)
        crypt_xts(aes, direction, iv, data, length);
    else if (direction == DECRYPT)
        decrypt_cbc(aes, iv, data, length);
    else
        encrypt_cbc(aes, iv, data, length);
}

static void crypt_sectors(const struct q2_cipher *cipher, enum direction direction, uint64_t sector,
                          uint8_t *data, size_t length)
{
    const struct q2_cipher_aes *aes = (const struct q2_cipher_aes *)cipher;
    uint8_t ivs[QUAD_SIZE];

    for (size_t i = 0; length > 0; i = (i + 1) % QUAD) {
        size_t n = length < Q2_CIPHER_SECTOR_SIZE ? length : Q2_CIPHER_SECTOR_SIZE;

        if (i == 0)
            make_ivs(aes, sector, ivs);
        crypt_sector(aes, direction, ivs + i * Q2_AES_BLOCK_SIZE, data, n);
        sector++;
        data += n;
        length -= n;
    }
}

static void aes_decrypt(struct q2_cipher *cipher, uint64_t sector, void *buffer, size_t length)
{
    crypt_sectors(cipher, DECRYPT, sector, buffer, length);
}

static void aes_encrypt(struct q2_cipher *cipher, uint64_t sector, void *buffer, size_t length)
{
    crypt_sectors(cipher, ENCRYPT, sector, buffer, length);
}

static const struct q2_cipher_ops aes_ops = {
    .decrypt = aes_decrypt,
    .encrypt = aes_encrypt,
};

/* ESSIV: the IV's key is a digest of the data's key, so it is always an AES-256 key. */
static void essiv_init(struct q2_aes_key *iv, bool portable, const uint8_t *key,
                       uint32_t key_length)
{
    br_sha256_context sha256;
    uint8_t salt[br_sha256_SIZE];

    br_sha256_init(&sha256);
    br_sha256_update(&sha256, key, key_length);
    br_sha256_out(&sha256, salt);
    key_init(iv, portable, salt, sizeof(salt));
    q2_wipe(&sha256, sizeof(sha256));
    q2_wipe(salt, sizeof(salt));
}

static struct q2_cipher *init(struct q2_cipher_aes *memory, bool portable, enum q2_aes_mode mode,
                              const uint8_t *key, uint32_t key_length)
{
    memory->cipher.ops = &aes_ops;
    memory->mode = mode;
    if (mode == Q2_AES_XTS_PLAIN64) {
        key_init(&memory->data, portable, key, key_length / 2);
        key_init(&memory->iv, portable, key + key_length / 2, key_length / 2);
    } else {
        key_init(&memory->data, portable, key, key_length);
        if (mode == Q2_AES_CBC_ESSIV_SHA256)
            essiv_init(&memory->iv, portable, key, key_length);
    }
    return &memory->cipher;
}

struct q2_cipher *q2_cipher_aes_init(struct q2_cipher_aes *memory, enum q2_aes_mode mode,
                                     const uint8_t *key, uint32_t key_length)
{
    return init(memory, false, mode, key, key_length);
}

struct q2_cipher *q2_cipher_aes_init_portable(struct q2_cipher_aes *memory, enum q2_aes_mode mode,
                                              const uint8_t *key, uint32_t key_length)
{
    return init(memory, true, mode, key, key_length);
}

void q2_cipher_aes_wipe(struct q2_cipher_aes *aes)
{
    q2_wipe(aes, sizeof(*aes));
}
