/* drivers/crypto/luks_header.c and luks_material.c: a header of fixed "random" bytes, as our reader
 * and the specification's numbers see it.
 */
#include "drivers/crypto/luks_header.h"

#include "drivers/crypto/unlocker.h"
#include "tests/support/fake_source.h"
#include "tests/support/t.h"

static uint8_t bytes[Q2_LUKS_MAX_HEADER_LENGTH];
static struct q2_luks_new_header new_header;
static struct q2_luks_work work;
static struct q2_luks_header header;

static void fill(uint8_t *to, size_t length, uint8_t first)
{
    for (size_t i = 0; i < length; i++)
        to[i] = (uint8_t)(first + i * 13 + i / 255);
}

/* What a host would draw; passphrase "pass", 2 iterations for it and 3 for the digest. */
static void draw(enum q2_aes_mode mode, enum q2_luks_hash hash, uint32_t key_length)
{
    memset(&new_header, 0, sizeof(new_header));
    new_header.mode = mode;
    new_header.hash = hash;
    new_header.key_length = key_length;
    new_header.digest_iterations = 3;
    new_header.slot.passphrase = (const uint8_t *)"pass";
    new_header.slot.length = 4;
    new_header.slot.iterations = 2;
    fill(new_header.key, key_length, 1);
    fill(new_header.digest_salt, sizeof(new_header.digest_salt), 2);
    fill(new_header.uuid, sizeof(new_header.uuid), 0xf0);
    fill(new_header.slot.salt, sizeof(new_header.slot.salt), 4);
    memset(bytes, 0xa5, sizeof(bytes));
    fill(bytes + Q2_LUKS_MATERIAL_OFFSET, q2_luks_material_room(key_length), 5);
}

static const struct suite {
    const char *row;
    enum q2_aes_mode mode;
    enum q2_luks_hash hash;
    uint32_t key_length, header_length;
} suites[] = {
    {"xts, aes-256, sha256", Q2_AES_XTS_PLAIN64, Q2_LUKS_SHA256, 64, 2068480},
    {"xts, aes-128, sha1", Q2_AES_XTS_PLAIN64, Q2_LUKS_SHA1, 32, 1052672},
    {"cbc, aes-256, sha512", Q2_AES_CBC_PLAIN64, Q2_LUKS_SHA512, 32, 1052672},
    {"cbc essiv, aes-128, sha256", Q2_AES_CBC_ESSIV_SHA256, Q2_LUKS_SHA256, 16, 528384},
};

static void compose(const struct suite *suite)
{
    const char *what = "";

    draw(suite->mode, suite->hash, suite->key_length);
    T_CHECK_U64(q2_luks_header_can_compose(&new_header, &what), Q2_OK);
    q2_luks_header_compose(&new_header, &work, bytes);
    q2_luks_header_decode((const struct q2_luks_header_disk *)bytes, &header);
}

static void test_compose_every_suite_has_the_fields(void)
{
    for (size_t i = 0; i < sizeof(suites) / sizeof(suites[0]); i++) {
        const struct suite *suite = &suites[i];
        const char *what = "";

        t_row(suite->row);
        compose(suite);
        T_CHECK_U64(q2_luks_header_length(suite->key_length), suite->header_length);
        T_CHECK_U64(q2_luks_header_check(&header, suite->header_length, &what), Q2_OK);
        T_CHECK_U64(header.mode, suite->mode);
        T_CHECK_U64(header.hash, suite->hash);
        T_CHECK_U64(header.key_length, suite->key_length);
        T_CHECK_U64(header.payload_offset, suite->header_length);
        T_CHECK_U64(header.digest_iterations, 3);
        T_CHECK(memcmp(header.digest_salt, new_header.digest_salt, Q2_LUKS_SALT_LENGTH) == 0);
        T_CHECK(memcmp(header.slots[0].salt, new_header.slot.salt, Q2_LUKS_SALT_LENGTH) == 0);
        T_CHECK_U64(header.slots[0].iterations, 2);
        for (uint32_t s = 0; s < Q2_LUKS_NB_SLOTS; s++) {
            T_CHECK_U64(header.slots[s].state,
                        s == 0 ? Q2_LUKS_SLOT_ACTIVE : Q2_LUKS_SLOT_INACTIVE);
            T_CHECK_U64(header.slots[s].stripes, 4000);
            T_CHECK_U64(header.slots[s].key_material_offset,
                        4096 + s * q2_luks_material_room(suite->key_length));
        }
    }
}

static void test_compose_every_suite_opens_with_the_passphrase_only(void)
{
    for (size_t i = 0; i < sizeof(suites) / sizeof(suites[0]); i++) {
        uint8_t key[Q2_AES_MAX_KEY_LENGTH];
        struct fake_source file;

        t_row(suites[i].row);
        compose(&suites[i]);
        fake_source_init(&file, "image", bytes, suites[i].header_length);
        T_CHECK_U64(q2_luks_slot_open(&work, &file.source, 0, &header, &header.slots[0],
                                      (const uint8_t *)"pass", 4, key),
                    Q2_OK);
        T_CHECK(memcmp(key, new_header.key, suites[i].key_length) == 0);
        T_CHECK_U64(q2_luks_slot_open(&work, &file.source, 0, &header, &header.slots[0],
                                      (const uint8_t *)"pasS", 4, key),
                    Q2_ERR_ENCRYPTED);
    }
}

/* The key is nowhere in the bytes, nothing drawn is left beside slot 0, and the work is wiped. */
static void test_compose_leaves_nothing_else(void)
{
    static const struct q2_luks_work wiped;
    size_t end = Q2_LUKS_MATERIAL_OFFSET + 64 * 4000u;

    compose(&suites[0]);
    T_CHECK(memcmp(&work, &wiped, sizeof(work)) == 0);
    for (size_t at = sizeof(struct q2_luks_header_disk); at < Q2_LUKS_MATERIAL_OFFSET; at++)
        T_CHECK_U64(bytes[at], 0);
    for (size_t at = end; at < suites[0].header_length; at++)
        T_CHECK_U64(bytes[at], 0);
    for (size_t at = 0; at + 16 <= end; at++)
        T_CHECK(memcmp(bytes + at, new_header.key, 16) != 0);
}

static void test_compose_uuid_is_of_version_4(void)
{
    const struct q2_luks_header_disk *disk = (const struct q2_luks_header_disk *)bytes;

    compose(&suites[0]);
    T_CHECK_STR(disk->uuid, "f0fd0a17-2431-4e4b-9865-727f8c99a6b3");
    memset(new_header.uuid, 0xff, sizeof(new_header.uuid));
    q2_luks_header_compose(&new_header, &work, bytes);
    T_CHECK_STR(disk->uuid, "ffffffff-ffff-4fff-bfff-ffffffffffff");
    memset(new_header.uuid, 0, sizeof(new_header.uuid));
    q2_luks_header_compose(&new_header, &work, bytes);
    T_CHECK_STR(disk->uuid, "00000000-0000-4000-8000-000000000000");
}

/* A key of 64 bytes takes two pieces of SHA-256, so iterations count twice, the digest's once. */
static void test_can_compose_keeps_the_limits_of_readers(void)
{
    static const struct {
        const char *row;
        uint32_t iterations, digest_iterations, key_length;
        enum q2_status status;
        const char *what;
    } rows[] = {
        {"as many as it goes", Q2_LUKS_MAX_ITERATIONS / 2 - 1, 2, 64, Q2_OK, ""},
        {"one more for the digest", Q2_LUKS_MAX_ITERATIONS / 2 - 1, 3, 64, Q2_ERR_LIMIT,
         "too many LUKS iterations"},
        {"one more for the slot", Q2_LUKS_MAX_ITERATIONS / 2, 2, 64, Q2_ERR_LIMIT,
         "too many LUKS iterations"},
        {"none for the slot", 0, 1, 64, Q2_ERR_BAD_HEADER, "a LUKS key slot has no iterations"},
        {"none for the digest", 1, 0, 64, Q2_ERR_BAD_HEADER,
         "the LUKS key digest has no iterations"},
        {"no such key", 1, 1, 16, Q2_ERR_UNSUPPORTED, "the LUKS cipher has no keys of this length"},
    };

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        const char *what = "";

        t_row(rows[i].row);
        draw(Q2_AES_XTS_PLAIN64, Q2_LUKS_SHA256, 64);
        new_header.key_length = rows[i].key_length;
        new_header.slot.iterations = rows[i].iterations;
        new_header.digest_iterations = rows[i].digest_iterations;
        T_CHECK_U64(q2_luks_header_can_compose(&new_header, &what), rows[i].status);
        T_CHECK_STR(what, rows[i].what);
    }
}

static void test_header_length_of_the_longest_key_is_the_greatest(void)
{
    T_CHECK_U64(q2_luks_header_length(Q2_AES_MAX_KEY_LENGTH), Q2_LUKS_MAX_HEADER_LENGTH);
}

int main(void)
{
    T_RUN(test_compose_every_suite_has_the_fields);
    T_RUN(test_compose_every_suite_opens_with_the_passphrase_only);
    T_RUN(test_compose_leaves_nothing_else);
    T_RUN(test_compose_uuid_is_of_version_4);
    T_RUN(test_can_compose_keeps_the_limits_of_readers);
    T_RUN(test_header_length_of_the_longest_key_is_the_greatest);
    return t_done();
}
