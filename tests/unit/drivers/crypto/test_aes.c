/* drivers/crypto/aes.c against published vectors: FIPS-197, SP 800-38A (CBC), IEEE 1619 (XTS). */
#include "drivers/crypto/aes.h"

#include "tests/support/hex.h"
#include "tests/support/t.h"

static struct q2_cipher_aes memory;

/* Every case runs with the processor's instructions, if it has them, and without. */
static bool portable;

static struct q2_cipher *make(enum q2_aes_mode mode, const char *key_hex)
{
    uint8_t key[Q2_AES_MAX_KEY_LENGTH];
    size_t length = hex_decode(key_hex, key, sizeof(key));

    T_CHECK(q2_aes_key_length_fits(mode, (uint32_t)length));
    return (portable ? q2_cipher_aes_init_portable : q2_cipher_aes_init)(&memory, mode, key,
                                                                         (uint32_t)length);
}

struct vector {
    const char *name;
    enum q2_aes_mode mode;
    const char *key;
    uint64_t sector;
    const char *plain, *cipher;
};

/* FIPS-197, appendix C: one block; with sector 0 the IV of cbc-plain64 is zero, which makes it a
 * bare AES. SP 800-38A, F.2: its IV is XORed into the first block here, because plain64 cannot
 * give it. IEEE 1619, annex B: vectors 1, 2 and 3. */
static const struct vector vectors[] = {
    {"FIPS-197 C.1", Q2_AES_CBC_PLAIN64, "000102030405060708090a0b0c0d0e0f", 0,
     "00112233445566778899aabbccddeeff", "69c4e0d86a7b0430d8cdb78070b4c55a"},
    {"FIPS-197 C.2", Q2_AES_CBC_PLAIN64, "000102030405060708090a0b0c0d0e0f1011121314151617", 0,
     "00112233445566778899aabbccddeeff", "dda97ca4864cdfe06eaf70a0ec0d7191"},
    {"FIPS-197 C.3", Q2_AES_CBC_PLAIN64,
     "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f", 0,
     "00112233445566778899aabbccddeeff", "8ea2b7ca516745bfeafc49904b496089"},
    {"SP 800-38A F.2.1", Q2_AES_CBC_PLAIN64, "2b7e151628aed2a6abf7158809cf4f3c", 0,
     "6bc0bce12a459991e134741a7f9e1925"
     "ae2d8a571e03ac9c9eb76fac45af8e5130c81c46a35ce411e5fbc1191a0a52eff69f2445df4f9b17ad2b417be66c"
     "3710",
     "7649abac8119b246cee98e9b12e9197d5086cb9b507219ee95db113a917678b273bed6b8e3c1743b7116e69e2222"
     "95163ff1caa1681fac09120eca307586e1a7"},
    {"SP 800-38A F.2.5", Q2_AES_CBC_PLAIN64,
     "603deb1015ca71be2b73aef0857d77811f352c073b6108d72d9810a30914dff4", 0,
     "6bc0bce12a459991e134741a7f9e1925"
     "ae2d8a571e03ac9c9eb76fac45af8e5130c81c46a35ce411e5fbc1191a0a52eff69f2445df4f9b17ad2b417be66c"
     "3710",
     "f58c4c04d6e5f1ba779eabfb5f7bfbd69cfc4e967edb808d679f777bc6702c7d39f23369a9d9bacfa530e2630423"
     "1461b2eb05e2c39be9fcda6c19078c6a9d1b"},
    {"IEEE 1619 vector 1", Q2_AES_XTS_PLAIN64,
     "0000000000000000000000000000000000000000000000000000000000000000", 0,
     "0000000000000000000000000000000000000000000000000000000000000000",
     "917cf69ebd68b2ec9b9fe9a3eadda692cd43d2f59598ed858c02c2652fbf922e"},
    {"IEEE 1619 vector 2", Q2_AES_XTS_PLAIN64,
     "1111111111111111111111111111111122222222222222222222222222222222", 0x3333333333,
     "4444444444444444444444444444444444444444444444444444444444444444",
     "c454185e6a16936e39334038acef838bfb186fff7480adc4289382ecd6d394f0"},
    {"IEEE 1619 vector 3", Q2_AES_XTS_PLAIN64,
     "fffefdfcfbfaf9f8f7f6f5f4f3f2f1f022222222222222222222222222222222", 0x3333333333,
     "4444444444444444444444444444444444444444444444444444444444444444",
     "af85336b597afc1a900b2eb21ec949d292df4c047e0b21532186a5971a227a89"},
};

static void test_aes_published_vectors_both_ways(void)
{
    for (size_t i = 0; i < sizeof(vectors) / sizeof(vectors[0]); i++) {
        const struct vector *row = &vectors[i];
        uint8_t plain[64], cipher[64], buffer[64];
        size_t length = hex_decode(row->plain, plain, sizeof(plain));
        struct q2_cipher *aes = make(row->mode, row->key);

        t_row(row->name);
        T_CHECK_U64(hex_decode(row->cipher, cipher, sizeof(cipher)), length);
        memcpy(buffer, plain, length);
        aes->ops->encrypt(aes, row->sector, buffer, length);
        T_CHECK(memcmp(buffer, cipher, length) == 0);
        aes->ops->decrypt(aes, row->sector, buffer, length);
        T_CHECK(memcmp(buffer, plain, length) == 0);
    }
}

/* IEEE 1619, annex B, vector 10: AES-256, data unit 0xff, a whole sector of 00 01 .. ff 00 .. ff.
 */
static const char vector10_cipher[] =
    "1c3b3a102f770386e4836c99e370cf9bea00803f5e482357a4ae12d414a3e63b5d31e276f8fe4a8d66b317f9ac683f"
    "44680a86ac35adfc3345befecb4bb188fd5776926c49a3095eb108fd1098baec70aaa66999a72a82f27d848b21d4a7"
    "41b0c5cd4d5fff9dac89aeba122961d03a757123e9870f8acf1000020887891429ca2a3e7a7d7df7b10355165c8b9a"
    "6d0a7de8b062c4500dc4cd120c0f7418dae3d0b5781c34803fa75421c790dfe1de1834f280d7667b327f6c8cd7557e"
    "12ac3a0f93ec05c52e0493ef31a12d3d9260f79a289d6a379bc70c50841473d1a8cc81ec583e9645e07b8d9670655b"
    "a5bbcfecc6dc3966380ad8fecb17b6ba02469a020a84e18e8f84252070c13e9f1f289be54fbc481457778f616015e1"
    "327a02b140f1505eb309326d68378f8374595c849d84f4c333ec4423885143cb47bd71c5edae9be69a2ffeceb1bec9"
    "de244fbe15992b11b77c040f12bd8f6a975a44a0f90c29a9abc3d4d893927284c58754cce294529f8614dcd2aba991"
    "925fedc4ae74ffac6e333b93eb4aff0479da9a410e4450e0dd7ae4c6e2910900575da401fc07059f645e8b7e9bfdef"
    "33943054ff84011493c27b3429eaedb4ed5376441a77ed43851ad77f16f541dfd269d50d6a5f14fb0aab1cbb4c1550"
    "be97f7ab4066193c4caa773dad38014bd2092fa755c824bb5e54c4f36ffda9fcea70b9c6e693e148c151";

static void test_aes_xts_whole_sector_vector_10(void)
{
    struct q2_cipher *aes = make(
        Q2_AES_XTS_PLAIN64, "2718281828459045235360287471352662497757247093699959574966967627"
                            "3141592653589793238462643383279502884197169399375105820974944592");
    uint8_t want[512], buffer[512];

    T_CHECK_U64(hex_decode(vector10_cipher, want, sizeof(want)), 512);
    for (size_t i = 0; i < sizeof(buffer); i++)
        buffer[i] = (uint8_t)i;
    aes->ops->encrypt(aes, 0xff, buffer, sizeof(buffer));
    T_CHECK(memcmp(buffer, want, sizeof(want)) == 0);
    aes->ops->decrypt(aes, 0xff, buffer, sizeof(buffer));
    for (size_t i = 0; i < sizeof(buffer); i++)
        T_CHECK_U64(buffer[i], (uint8_t)i);
}

/* (LUKS1 specification and dm-crypt) The IV of ESSIV is the sector's number, encrypted by AES-256
 * with the SHA-256 of the key. Written down here by CBC with a zero IV, which is bare AES. */
static void test_aes_essiv_is_cbc_with_the_encrypted_sector(void)
{
    /* SHA-256 of the bytes 00 .. 0f. */
    static const char salt[] = "be45cb2605bf36bebde684841a28f0fd43c69850a3dce5fedba69928ee3a8991";
    static const char key[] = "000102030405060708090a0b0c0d0e0f";
    uint8_t iv[16] = {0x78, 0x56, 0x34, 0x12, 0x01}, want[32], buffer[32];
    struct q2_cipher *aes = make(Q2_AES_CBC_PLAIN64, salt);

    aes->ops->encrypt(aes, 0, iv, sizeof(iv));
    for (size_t i = 0; i < sizeof(want); i++)
        want[i] = buffer[i] = (uint8_t)(i * 3);
    for (size_t i = 0; i < sizeof(iv); i++)
        want[i] = (uint8_t)(want[i] ^ iv[i]);
    aes = make(Q2_AES_CBC_PLAIN64, key);
    aes->ops->encrypt(aes, 0, want, sizeof(want));

    aes = make(Q2_AES_CBC_ESSIV_SHA256, key);
    aes->ops->encrypt(aes, 0x112345678, buffer, sizeof(buffer));
    T_CHECK(memcmp(buffer, want, sizeof(want)) == 0);
}

/* Sectors do not depend on how many are turned at once, nor on the number that a quad starts at;
 * numbers above 32 bits count. */
static void test_aes_many_sectors_are_like_one_by_one(void)
{
    static const char *const keys[Q2_NB_AES_MODES] = {
        [Q2_AES_XTS_PLAIN64] = "000102030405060708090a0b0c0d0e0ff0f1f2f3f4f5f6f7f8f9fafbfcfdfeff",
        [Q2_AES_CBC_PLAIN64] = "000102030405060708090a0b0c0d0e0f",
        [Q2_AES_CBC_ESSIV_SHA256] = "000102030405060708090a0b0c0d0e0f1011121314151617",
    };
    static const char *const names[Q2_NB_AES_MODES] = {"xts", "cbc", "essiv"};
    const uint64_t first = (1ull << 32) - 3;
    static uint8_t plain[11 * 512], whole[sizeof(plain)], single[sizeof(plain)];

    for (size_t i = 0; i < sizeof(plain); i++)
        plain[i] = (uint8_t)(i * 31 + i / 512);
    for (uint32_t mode = 0; mode < Q2_NB_AES_MODES; mode++) {
        struct q2_cipher *aes = make((enum q2_aes_mode)mode, keys[mode]);

        t_row(names[mode]);
        memcpy(whole, plain, sizeof(plain));
        memcpy(single, plain, sizeof(plain));
        aes->ops->encrypt(aes, first, whole, sizeof(whole));
        for (size_t i = 0; i < 11; i++)
            aes->ops->encrypt(aes, first + i, single + i * 512, 512);
        T_CHECK(memcmp(whole, single, sizeof(whole)) == 0);
        T_CHECK(memcmp(whole, plain, 512) != 0);
        for (size_t i = 0; i < 11; i++)
            aes->ops->decrypt(aes, first + i, single + i * 512, 512);
        T_CHECK(memcmp(single, plain, sizeof(plain)) == 0);
        aes->ops->decrypt(aes, first, whole, sizeof(whole));
        T_CHECK(memcmp(whole, plain, sizeof(plain)) == 0);
    }
}

/* The same plaintext in two sectors whose numbers differ in bit 32 only. */
static void test_aes_sector_number_has_64_bits(void)
{
    struct q2_cipher *aes = make(Q2_AES_CBC_PLAIN64, "000102030405060708090a0b0c0d0e0f");
    uint8_t low[16] = {0}, high[16] = {0};

    aes->ops->encrypt(aes, 5, low, sizeof(low));
    aes->ops->encrypt(aes, 5 + (1ull << 32), high, sizeof(high));
    T_CHECK(memcmp(low, high, sizeof(low)) != 0);
}

static void test_aes_key_length_fits_table(void)
{
    for (uint32_t length = 0; length <= 80; length++) {
        bool cbc = length == 16 || length == 24 || length == 32;

        T_CHECK(q2_aes_key_length_fits(Q2_AES_XTS_PLAIN64, length) ==
                (length == 32 || length == 64));
        T_CHECK(q2_aes_key_length_fits(Q2_AES_CBC_PLAIN64, length) == cbc);
        T_CHECK(q2_aes_key_length_fits(Q2_AES_CBC_ESSIV_SHA256, length) == cbc);
    }
}

static void test_aes_wipe_leaves_nothing(void)
{
    static const struct q2_cipher_aes zero;

    (void)make(Q2_AES_CBC_ESSIV_SHA256, "000102030405060708090a0b0c0d0e0f");
    T_CHECK(memcmp(&memory, &zero, sizeof(memory)) != 0);
    q2_cipher_aes_wipe(&memory);
    T_CHECK(memcmp(&memory, &zero, sizeof(memory)) == 0);
}

/* Keys of all lengths and sectors of any bytes, both ways, and a last block that is alone. */
static void test_aes_instructions_do_what_the_portable_code_does(void)
{
    static const uint32_t lengths[] = {16, 24, 32, 64};
    static struct q2_cipher_aes slow;
    uint8_t key[Q2_AES_MAX_KEY_LENGTH], plain[512 + 16], a[sizeof(plain)], b[sizeof(plain)];
    uint32_t random = 20261130;

    for (uint32_t round = 0; round < 200; round++) {
        uint32_t length = lengths[round % 4];
        enum q2_aes_mode mode = length == 64 ? Q2_AES_XTS_PLAIN64 : Q2_AES_CBC_PLAIN64;
        struct q2_cipher *one, *other;

        for (size_t i = 0; i < sizeof(key) + sizeof(plain); i++) {
            random = random * 1664525u + 1013904223u;
            *(i < sizeof(key) ? &key[i] : &plain[i - sizeof(key)]) = (uint8_t)(random >> 24);
        }
        one = q2_cipher_aes_init(&memory, mode, key, length);
        other = q2_cipher_aes_init_portable(&slow, mode, key, length);
        memcpy(a, plain, sizeof(plain));
        memcpy(b, plain, sizeof(plain));
        one->ops->encrypt(one, round, a, sizeof(a));
        other->ops->encrypt(other, round, b, sizeof(b));
        T_CHECK(memcmp(a, b, sizeof(a)) == 0);
        one->ops->decrypt(one, round, a, sizeof(a));
        other->ops->decrypt(other, round, b, sizeof(b));
        T_CHECK(memcmp(a, plain, sizeof(a)) == 0);
        T_CHECK(memcmp(b, plain, sizeof(b)) == 0);
    }
}

static void run_all(void)
{
    T_RUN(test_aes_published_vectors_both_ways);
    T_RUN(test_aes_xts_whole_sector_vector_10);
    T_RUN(test_aes_essiv_is_cbc_with_the_encrypted_sector);
    T_RUN(test_aes_many_sectors_are_like_one_by_one);
    T_RUN(test_aes_sector_number_has_64_bits);
    T_RUN(test_aes_wipe_leaves_nothing);
}

int main(void)
{
    run_all();
    portable = true;
    run_all();
    T_RUN(test_aes_key_length_fits_table);
    T_RUN(test_aes_instructions_do_what_the_portable_code_does);
    return t_done();
}
