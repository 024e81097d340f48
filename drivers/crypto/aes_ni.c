/* AES by the processor's own instructions.
 *
 * May call wipe.h. The instructions take the same time for every key and all data.
 */
#include "aes_ni.h"

#include <string.h>

#include "wipe.h"

#if defined(__x86_64__) && !defined(METALCOW_FIRMWARE)

#define POLYNOMIAL 0x11bu /* of GF(2^8): x^8 + x^4 + x^3 + x + 1 */

#define NI __attribute__((target("aes,sse2")))

typedef long long vector __attribute__((vector_size(16)));
typedef uint32_t words __attribute__((vector_size(16)));

NI static vector load(const void *bytes)
{
    vector v;

    memcpy(&v, bytes, sizeof(v));
    return v;
}

NI static void store(void *bytes, vector v)
{
    memcpy(bytes, &v, sizeof(v));
}

/* The S-box, on each byte of a word. (FIPS-197, 5.2: SubWord) */
NI static uint32_t sub_word(uint32_t word)
{
    words all = {word, word, word, word};

    return ((words)__builtin_ia32_aeskeygenassist128((vector)all, 0))[0];
}

/* The first byte becomes the last one; words are little-endian here. (FIPS-197, 5.2: RotWord) */
static uint32_t rotate(uint32_t word)
{
    return word >> 8 | word << 24;
}

/* The keys for decrypting are those for encrypting, in the opposite order and without the columns
 * mixed. (FIPS-197, 5.3.5) */
NI static void make_decrypt(struct q2_aes_ni_key *key, uint32_t nb_rounds)
{
    memcpy(key->decrypt[0], key->encrypt[nb_rounds], 16);
    for (uint32_t i = 1; i < nb_rounds; i++)
        store(key->decrypt[i], __builtin_ia32_aesimc128(load(key->encrypt[nb_rounds - i])));
    memcpy(key->decrypt[nb_rounds], key->encrypt[0], 16);
}

bool q2_aes_ni_expand(struct q2_aes_ni_key *key, const uint8_t *bytes, uint32_t length,
                      uint32_t *ret_nb_rounds)
{
    uint32_t w[4 * (Q2_AES_NI_MAX_ROUNDS + 1)], nb_words = length / 4, nb_rounds = nb_words + 6;
    uint32_t constant = 1;

    if (!__builtin_cpu_supports("aes"))
        return false;
    memcpy(w, bytes, length);
    for (uint32_t i = nb_words; i < 4 * (nb_rounds + 1); i++) {
        uint32_t word = w[i - 1];

        if (i % nb_words == 0) {
            word = rotate(sub_word(word)) ^ constant;
            constant = constant << 1 ^ (constant >> 7) * POLYNOMIAL;
        } else if (nb_words > 6 && i % nb_words == 4) {
            word = sub_word(word);
        }
        w[i] = w[i - nb_words] ^ word;
    }
    memcpy(key->encrypt, w, 16 * (nb_rounds + 1));
    q2_wipe(w, sizeof(w));
    make_decrypt(key, nb_rounds);
    *ret_nb_rounds = nb_rounds;
    return true;
}

NI static inline vector round_of(bool encrypts, vector block, vector key)
{
    return encrypts ? __builtin_ia32_aesenc128(block, key) : __builtin_ia32_aesdec128(block, key);
}

NI static inline vector last_round_of(bool encrypts, vector block, vector key)
{
    return encrypts ? __builtin_ia32_aesenclast128(block, key)
                    : __builtin_ia32_aesdeclast128(block, key);
}

/* Both directions; four blocks together, because a round waits for the one before it. */
NI static inline void crypt_blocks(bool encrypts, const uint8_t (*keys)[16], uint32_t nb_rounds,
                                   uint8_t *blocks)
{
    vector key = load(keys[0]);
    vector a = load(blocks) ^ key, b = load(blocks + 16) ^ key;
    vector c = load(blocks + 32) ^ key, d = load(blocks + 48) ^ key;

    for (uint32_t i = 1; i < nb_rounds; i++) {
        key = load(keys[i]);
        a = round_of(encrypts, a, key);
        b = round_of(encrypts, b, key);
        c = round_of(encrypts, c, key);
        d = round_of(encrypts, d, key);
    }
    key = load(keys[nb_rounds]);
    store(blocks, last_round_of(encrypts, a, key));
    store(blocks + 16, last_round_of(encrypts, b, key));
    store(blocks + 32, last_round_of(encrypts, c, key));
    store(blocks + 48, last_round_of(encrypts, d, key));
}

NI void q2_aes_ni_encrypt(const struct q2_aes_ni_key *key, uint32_t nb_rounds, uint8_t *blocks)
{
    crypt_blocks(true, key->encrypt, nb_rounds, blocks);
}

NI void q2_aes_ni_decrypt(const struct q2_aes_ni_key *key, uint32_t nb_rounds, uint8_t *blocks)
{
    crypt_blocks(false, key->decrypt, nb_rounds, blocks);
}

#else

bool q2_aes_ni_expand(struct q2_aes_ni_key *key, const uint8_t *bytes, uint32_t length,
                      uint32_t *ret_nb_rounds)
{
    (void)key;
    (void)bytes;
    (void)length;
    (void)ret_nb_rounds;
    return false;
}

void q2_aes_ni_encrypt(const struct q2_aes_ni_key *key, uint32_t nb_rounds, uint8_t *blocks)
{
    (void)key;
    (void)nb_rounds;
    (void)blocks;
}

void q2_aes_ni_decrypt(const struct q2_aes_ni_key *key, uint32_t nb_rounds, uint8_t *blocks)
{
    (void)key;
    (void)nb_rounds;
    (void)blocks;
}

#endif
