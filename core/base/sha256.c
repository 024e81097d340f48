/* SHA-256.  (FIPS 180-4, sections 4.1.2, 5.3.3 and 6.2)
 *
 * May call nothing but mem*.
 */
#include "sha256.h"

#include "core/base/memory.h"

/* The first 32 bits of the fractional parts of the cube roots of the first 64 primes. */
static const uint32_t round_constants[64] = {
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
    0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
    0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
    0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
    0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
    0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
    0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
    0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2,
};

static uint32_t rotate(uint32_t value, uint32_t bits)
{
    return value >> bits | value << (32 - bits);
}

static uint32_t word_at(const uint8_t *bytes)
{
    return (uint32_t)bytes[0] << 24 | (uint32_t)bytes[1] << 16 | (uint32_t)bytes[2] << 8 | bytes[3];
}

/* The next word of the message schedule, which is kept as a ring of 16. */
static uint32_t next_word(uint32_t w[16], size_t t)
{
    uint32_t a = w[(t + 1) & 15], b = w[(t + 14) & 15];

    w[t & 15] += (rotate(a, 7) ^ rotate(a, 18) ^ a >> 3) + w[(t + 9) & 15] +
                 (rotate(b, 17) ^ rotate(b, 19) ^ b >> 10);
    return w[t & 15];
}

static void add_block(struct q2_sha256 *hash, const uint8_t *block)
{
    uint32_t w[16], s[8];

    memcpy(s, hash->state, sizeof(s));
    for (size_t t = 0; t < 64; t++) {
        uint32_t word = t < 16 ? (w[t] = word_at(block + 4 * t)) : next_word(w, t);
        uint32_t sum1 = rotate(s[4], 6) ^ rotate(s[4], 11) ^ rotate(s[4], 25);
        uint32_t choice = (s[4] & s[5]) ^ (~s[4] & s[6]);
        uint32_t t1 = s[7] + sum1 + choice + round_constants[t] + word;
        uint32_t sum0 = rotate(s[0], 2) ^ rotate(s[0], 13) ^ rotate(s[0], 22);
        uint32_t majority = (s[0] & s[1]) ^ (s[0] & s[2]) ^ (s[1] & s[2]);

        memmove(s + 1, s, 7 * sizeof(s[0]));
        s[4] += t1;
        s[0] = t1 + sum0 + majority;
    }
    for (size_t i = 0; i < 8; i++)
        hash->state[i] += s[i];
}

void q2_sha256_init(struct q2_sha256 *hash)
{
    static const uint32_t start[8] = {0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a,
                                      0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};

    memcpy(hash->state, start, sizeof(start));
    hash->length = 0;
}

void q2_sha256_add(struct q2_sha256 *hash, const void *bytes, size_t length)
{
    const uint8_t *from = bytes;

    while (length > 0) {
        size_t used = (size_t)(hash->length % Q2_SHA256_BLOCK_SIZE);
        size_t n = Q2_SHA256_BLOCK_SIZE - used;

        if (n > length)
            n = length;
        memcpy(hash->block + used, from, n);
        hash->length += n;
        from += n;
        length -= n;
        if (used + n == Q2_SHA256_BLOCK_SIZE)
            add_block(hash, hash->block);
    }
}

void q2_sha256_end(struct q2_sha256 *hash, uint8_t ret_digest[Q2_SHA256_LENGTH])
{
    static const uint8_t padding[Q2_SHA256_BLOCK_SIZE] = {0x80};
    uint64_t bits = hash->length * 8;
    size_t used = (size_t)(hash->length % Q2_SHA256_BLOCK_SIZE);
    uint8_t length[8];

    for (size_t i = 0; i < 8; i++)
        length[i] = (uint8_t)(bits >> (56 - 8 * i));
    q2_sha256_add(hash, padding, used < 56 ? 56 - used : 120 - used);
    q2_sha256_add(hash, length, sizeof(length));
    for (size_t i = 0; i < Q2_SHA256_LENGTH; i++)
        ret_digest[i] = (uint8_t)(hash->state[i / 4] >> (24 - 8 * (i % 4)));
}
