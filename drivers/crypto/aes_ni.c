/* AES by the processor's own instructions.
 *
 * May call nothing. The instructions take the same time for every key and all data.
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

NI void q2_aes_ni_encrypt(const struct q2_aes_ni_key *key, uint32_t nb_rounds, uint8_t *blocks)
{
    vector round = load(key->encrypt[0]), last = load(key->encrypt[nb_rounds]);
    vector a = load(blocks) ^ round, b = load(blocks + 16) ^ round;
    vector c = load(blocks + 32) ^ round, d = load(blocks + 48) ^ round;

    for (uint32_t i = 1; i < nb_rounds; i++) {
        round = load(key->encrypt[i]);
        a = __builtin_ia32_aesenc128(a, round);
        b = __builtin_ia32_aesenc128(b, round);
        c = __builtin_ia32_aesenc128(c, round);
        d = __builtin_ia32_aesenc128(d, round);
    }
    store(blocks, __builtin_ia32_aesenclast128(a, last));
    store(blocks + 16, __builtin_ia32_aesenclast128(b, last));
    store(blocks + 32, __builtin_ia32_aesenclast128(c, last));
    store(blocks + 48, __builtin_ia32_aesenclast128(d, last));
}

NI void q2_aes_ni_decrypt(const struct q2_aes_ni_key *key, uint32_t nb_rounds, uint8_t *blocks)
{
    vector round = load(key->decrypt[0]), last = load(key->decrypt[nb_rounds]);
    vector a = load(blocks) ^ round, b = load(blocks + 16) ^ round;
    vector c = load(blocks + 32) ^ round, d = load(blocks + 48) ^ round;

    for (uint32_t i = 1; i < nb_rounds; i++) {
        round = load(key->decrypt[i]);
        a = __builtin_ia32_aesdec128(a, round);
        b = __builtin_ia32_aesdec128(b, round);
        c = __builtin_ia32_aesdec128(c, round);
        d = __builtin_ia32_aesdec128(d, round);
    }
    store(blocks, __builtin_ia32_aesdeclast128(a, last));
    store(blocks + 16, __builtin_ia32_aesdeclast128(b, last));
    store(blocks + 32, __builtin_ia32_aesdeclast128(c, last));
    store(blocks + 48, __builtin_ia32_aesdeclast128(d, last));
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
