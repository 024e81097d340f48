/* drivers/crypto/luks_key.c: PBKDF2 against RFC 6070 and RFC 7914, the anti-forensic merge against
 * an independent program, and the opening of a slot.
 */
#include "drivers/crypto/luks_key.h"

#include "drivers/memory/source.h"
#include "tests/support/hex.h"
#include "tests/support/luks_builder.h"
#include "tests/support/t.h"

/* RFC 6070 (its row of 16 million iterations left out); RFC 7914, section 11 (80000 iterations).
 * The SHA-512 rows and the password longer than a block are from Python's hashlib. */
static const struct derivation {
    const char *name;
    enum q2_luks_hash hash;
    const char *password;
    size_t password_length;
    const char *salt;
    size_t salt_length;
    uint32_t iterations;
    const char *key;
} derivations[] = {
    {"RFC 6070, 1", Q2_LUKS_SHA1, "password", 8, "salt", 4, 1,
     "0c60c80f961f0e71f3a9b524af6012062fe037a6"},
    {"RFC 6070, 2", Q2_LUKS_SHA1, "password", 8, "salt", 4, 2,
     "ea6c014dc72d6f8ccd1ed92ace1d41f0d8de8957"},
    {"RFC 6070, 3", Q2_LUKS_SHA1, "password", 8, "salt", 4, 4096,
     "4b007901b765489abead49d926f721d065a429c1"},
    {"RFC 6070, 5", Q2_LUKS_SHA1, "passwordPASSWORDpassword", 24,
     "saltSALTsaltSALTsaltSALTsaltSALTsalt", 36, 4096,
     "3d2eec4fe41c849b80c8d83662c0e44a8b291a964cf2f07038"},
    {"RFC 6070, 6", Q2_LUKS_SHA1, "pass\0word", 9, "sa\0lt", 5, 4096,
     "56fa6aa75548099dcc37d7f03425e0c3"},
    {"RFC 7914, 1", Q2_LUKS_SHA256, "passwd", 6, "salt", 4, 1,
     "55ac046e56e3089fec1691c22544b605f94185216dde0465e68b9d57c20dacbc"
     "49ca9cccf179b645991664b39d77ef317c71b845b1e30bd509112041d3a19783"},
    {"RFC 7914, 2", Q2_LUKS_SHA256, "Password", 8, "NaCl", 4, 80000,
     "4ddcd8f60b98be21830cee5ef22701f9641a4418d04c0414aeff08876b34ab56"
     "a1d425a1225833549adb841b51c9b3176a272bdebba1d078478f62b397f33c8d"},
    {"SHA-512", Q2_LUKS_SHA512, "password", 8, "salt", 4, 4096,
     "d197b1b33db0143e018b12f3d1d1479e6cdebdcc97c5c0f87f6902e072f457b5"
     "143f30602641b3d55cd335988cb36b84376060ecd532e039b742a239434af2d5"},
    {"long password", Q2_LUKS_SHA256,
     "\x00\x01\x02\x03\x04\x05\x06\x07\x08\t\n\x0b\x0c\r\x0e\x0f\x10\x11\x12\x13\x14\x15\x16\x17"
     "\x18\x19\x1a\x1b\x1c\x1d\x1e\x1f !\"#$%&'()*+,-./0123456789:;<=>?@"
     "ABCDEFGHIJKLMNOPQRSTUVWXYZ[\\]^_`abc",
     100, "salt", 4, 3, "929a3c8d43d111623aad124249b8f6714c0e6c6118426aed68e5517f63ee1f7212"},
};

static void test_pbkdf2_published_vectors(void)
{
    for (size_t i = 0; i < sizeof(derivations) / sizeof(derivations[0]); i++) {
        const struct derivation *row = &derivations[i];
        uint8_t want[64], key[65];
        size_t length = hex_decode(row->key, want, sizeof(want));

        t_row(row->name);
        memset(key, 0xee, sizeof(key));
        q2_pbkdf2(row->hash, (const uint8_t *)row->password, row->password_length,
                  (const uint8_t *)row->salt, row->salt_length, row->iterations, key, length);
        T_CHECK(memcmp(key, want, length) == 0);
        T_CHECK_U64(key[length], 0xee);
    }
}

/* Material byte i is 7i + 13 * (i / 256); the keys were merged by a few lines of Python on hashlib
 * that follow the specification's AFmerge. Key lengths that end inside a digest are among them. */
static const struct merged {
    const char *name;
    enum q2_luks_hash hash;
    uint32_t key_length, stripes;
    const char *key;
} merged[] = {
    {"sha1, 32 x 3", Q2_LUKS_SHA1, 32, 3,
     "aadd16d2fe834d5cc4953fb9281440d264ef34d2885113c9f1a020310420d3ae"},
    {"sha256, 64 x 5", Q2_LUKS_SHA256, 64, 5,
     "104f31d52f58200031a1b14afc46d19f4272df1ebe6ac86f5a2954531b61c24d"
     "86209bdc0a1f5d3387182ba5e4372dd62dd17bf0eadb324ac52444a648699dc4"},
    {"sha512, 64 x 4", Q2_LUKS_SHA512, 64, 4,
     "455e11c65c699160c25e8bf69e803cc3c4c7942830775107af5aebdf14a098d2"
     "6c04f4ddf1c1df5aab5bd126c0403c94f927a92b24e29c1f07d854b9a2f8069d"},
    {"sha1, 16 x 2", Q2_LUKS_SHA1, 16, 2, "78b27d4e1323a57baa5323d04530f424"},
    {"sha256, 24 x 1", Q2_LUKS_SHA256, 24, 1, "00070e151c232a31383f464d545b626970777e858c939aa1"},
    {"sha256, 64 x 4000", Q2_LUKS_SHA256, 64, 4000,
     "fb2109773bbe2d0edd7fe5f7533a820cb03ac1a46c6faea373711c405ebf41c0"
     "c6005fa46c10f51f1518b417581ec3e29d9f33d8a16b3f93ea9d63d7111fb7a8"},
};

static void test_luks_merge_gives_the_key_in_any_pieces(void)
{
    static const size_t pieces[] = {1, 16, 100, 512, 4096, 256000};
    static uint8_t material[256000];

    for (size_t i = 0; i < sizeof(material); i++)
        material[i] = (uint8_t)(i * 7 + (i >> 8) * 13);
    for (size_t i = 0; i < sizeof(merged) / sizeof(merged[0]); i++)
        for (size_t j = 0; j < sizeof(pieces) / sizeof(pieces[0]); j++) {
            const struct merged *row = &merged[i];
            struct q2_luks_merge merge;
            uint8_t want[64];

            t_row(row->name);
            (void)hex_decode(row->key, want, sizeof(want));
            q2_luks_merge_init(&merge, row->hash, row->key_length, row->stripes);
            /* All material each time: what is after the last stripe must not count. */
            for (size_t at = 0; at < sizeof(material); at += pieces[j])
                q2_luks_merge_add(&merge, material + at,
                                  sizeof(material) - at < pieces[j] ? sizeof(material) - at
                                                                    : pieces[j]);
            T_CHECK_U64(merge.left, 0);
            T_CHECK(memcmp(merge.key, want, row->key_length) == 0);
        }
}

static uint8_t image[LUKS_BUILD_LENGTH];
static struct q2_luks_work work;

static enum q2_status open_slot(uint64_t size, uint32_t index, const char *passphrase,
                                uint8_t ret_key[Q2_AES_MAX_KEY_LENGTH])
{
    struct q2_source_memory memory;
    struct q2_luks_header header;
    const char *what = "";

    q2_source_memory_init(&memory, image, size, size, false, "luks");
    q2_luks_header_decode((const struct q2_luks_header_disk *)image, &header);
    T_CHECK_U64(q2_luks_header_check(&header, LUKS_BUILD_LENGTH, &what), Q2_OK);
    return q2_luks_slot_open(&work, &memory.source, 0, &header, &header.slots[index],
                             (const uint8_t *)passphrase, strlen(passphrase), ret_key);
}

static void test_luks_slot_open_gives_the_key_of_every_suite(void)
{
    static const struct suite {
        const char *mode, *hash;
        uint32_t key_length, stripes;
    } suites[] = {
        {"xts-plain64", "sha256", 64, 4000},    {"xts-plain64", "sha1", 32, 3},
        {"cbc-plain64", "sha512", 16, 1},       {"cbc-essiv:sha256", "sha256", 32, 100},
        {"cbc-essiv:sha256", "sha1", 24, 4000}, /* its material ends inside a sector */
    };
    uint8_t master[Q2_AES_MAX_KEY_LENGTH], key[Q2_AES_MAX_KEY_LENGTH];

    for (size_t i = 0; i < sizeof(master); i++)
        master[i] = (uint8_t)(200 - i);
    for (size_t i = 0; i < sizeof(suites) / sizeof(suites[0]); i++) {
        struct q2_luks_header_disk *disk = (struct q2_luks_header_disk *)image;

        t_row(suites[i].mode);
        luks_build_header(disk);
        luks_build_suite(disk, suites[i].mode, suites[i].hash, suites[i].key_length);
        luks_build_digest(disk, master, 3);
        luks_build_slot(image, 5, master, "open sesame", 7, suites[i].stripes);
        memset(key, 0xee, sizeof(key));
        T_CHECK_U64(open_slot(sizeof(image), 5, "open sesame", key), Q2_OK);
        T_CHECK(memcmp(key, master, suites[i].key_length) == 0);
        T_CHECK(suites[i].key_length == 64 || key[suites[i].key_length] == 0xee);
        memset(key, 0xee, sizeof(key));
        T_CHECK_U64(open_slot(sizeof(image), 5, "open sesamE", key), Q2_ERR_ENCRYPTED);
        T_CHECK_U64(key[0], 0xee);
    }
}

/* One wrong bit anywhere in the key material gives another key, and the digest sees it. */
static void test_luks_slot_open_damaged_material_is_refused(void)
{
    struct q2_luks_header_disk *disk = (struct q2_luks_header_disk *)image;
    uint8_t master[Q2_AES_MAX_KEY_LENGTH] = {1, 2, 3}, key[Q2_AES_MAX_KEY_LENGTH];

    luks_build_header(disk);
    luks_build_digest(disk, master, 3);
    luks_build_slot(image, 0, master, "pw", 7, 4000);
    for (size_t at = 0; at < 256000; at += 51199) {
        image[4096 + at] ^= 0x10;
        T_CHECK_U64(open_slot(sizeof(image), 0, "pw", key), Q2_ERR_ENCRYPTED);
        image[4096 + at] ^= 0x10;
    }
    T_CHECK_U64(open_slot(sizeof(image), 0, "pw", key), Q2_OK);
}

static enum q2_status fail_read(struct q2_source *source, uint64_t offset, void *buffer,
                                size_t length)
{
    (void)source;
    (void)buffer;
    return offset + length > 8192 ? Q2_ERR_NO_MEDIA : Q2_OK;
}

static void test_luks_slot_open_source_failure_is_passed_on(void)
{
    static const struct q2_source_ops ops = {.read_at = fail_read};
    struct q2_source source = {.ops = &ops, .path = "luks", .size = LUKS_BUILD_LENGTH};
    struct q2_luks_header_disk disk;
    struct q2_luks_header header;
    uint8_t key[Q2_AES_MAX_KEY_LENGTH];

    luks_build_header(&disk);
    q2_luks_header_decode(&disk, &header);
    T_CHECK_U64(q2_luks_slot_open(&work, &source, 0, &header, &header.slots[0],
                                  (const uint8_t *)"pw", 2, key),
                Q2_ERR_NO_MEDIA);
}

int main(void)
{
    T_RUN(test_pbkdf2_published_vectors);
    T_RUN(test_luks_merge_gives_the_key_in_any_pieces);
    T_RUN(test_luks_slot_open_gives_the_key_of_every_suite);
    T_RUN(test_luks_slot_open_damaged_material_is_refused);
    T_RUN(test_luks_slot_open_source_failure_is_passed_on);
    return t_done();
}
