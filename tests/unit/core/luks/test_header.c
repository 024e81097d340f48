/* core/luks/header.c: what a good header decodes to, and each rule broken once. */
#include "core/luks/header.h"

#include "tests/support/luks_builder.h"
#include "tests/support/t.h"

#define OFFSET(field) offsetof(struct q2_luks_header_disk, field)
#define SLOT_OFFSET(i, field)                                                                      \
    (offsetof(struct q2_luks_header_disk, slots) + (i) * sizeof(struct q2_luks_slot_disk) +        \
     offsetof(struct q2_luks_slot_disk, field))

static enum q2_status check(const struct q2_luks_header_disk *disk, uint64_t header_length,
                            const char **ret_what)
{
    struct q2_luks_header header;

    q2_luks_header_decode(disk, &header);
    return q2_luks_header_check(&header, header_length, ret_what);
}

static void test_luks_header_decode_gives_the_fields(void)
{
    struct q2_luks_header_disk disk;
    struct q2_luks_header header;

    luks_build_header(&disk);
    q2_luks_header_decode(&disk, &header);
    T_CHECK(header.has_magic && header.names_end);
    T_CHECK_U64(header.version, 1);
    T_CHECK_U64(header.mode, Q2_AES_XTS_PLAIN64);
    T_CHECK_U64(header.hash, Q2_LUKS_SHA256);
    T_CHECK_U64(header.payload_offset, 4040 * 512);
    T_CHECK_U64(header.key_length, 64);
    T_CHECK_U64(header.digest[0], 0xd1);
    T_CHECK_U64(header.digest_salt[31], 0x5a);
    T_CHECK_U64(header.digest_iterations, 1000);
    T_CHECK_U64(header.slots[0].state, Q2_LUKS_SLOT_ACTIVE);
    T_CHECK_U64(header.slots[0].iterations, 1000);
    T_CHECK_U64(header.slots[7].state, Q2_LUKS_SLOT_INACTIVE);
    T_CHECK_U64(header.slots[7].salt[0], 0xa7);
    T_CHECK_U64(header.slots[7].key_material_offset, 1810432);
    T_CHECK_U64(header.slots[7].stripes, 4000);
    T_CHECK_U64(q2_luks_slot_length(&header, &header.slots[0]), 256000);
}

/* Bytes, numbers, bytes: the same as before. */
static void test_luks_header_encode_is_the_inverse_of_decode(void)
{
    static const char uuid[] = "00112233-4455-4677-8899-aabbccddeeff";
    static const struct {
        const char *mode, *hash;
        uint32_t key_length;
    } suites[] = {
        {"xts-plain64", "sha256", 64},
        {"cbc-plain64", "sha512", 16},
        {"cbc-essiv:sha256", "sha1", 32},
    };

    for (size_t i = 0; i < sizeof(suites) / sizeof(suites[0]); i++) {
        struct q2_luks_header_disk disk, again;
        struct q2_luks_header header;

        t_row(suites[i].mode);
        luks_build_header(&disk);
        luks_build_suite(&disk, suites[i].mode, suites[i].hash, suites[i].key_length);
        memcpy(disk.uuid, uuid, sizeof(uuid));
        q2_luks_header_decode(&disk, &header);
        memset(&again, 0xee, sizeof(again));
        q2_luks_header_encode(&header, uuid, &again);
        T_CHECK(memcmp(&again, &disk, sizeof(disk)) == 0);
    }
}

static void test_luks_header_encode_ends_a_uuid_that_is_too_long(void)
{
    static const char text[] = "0123456789012345678901234567890123456789x";
    struct q2_luks_header_disk disk;
    struct q2_luks_header header;

    luks_build_header(&disk);
    q2_luks_header_decode(&disk, &header);
    q2_luks_header_encode(&header, text, &disk);
    T_CHECK(memcmp(disk.uuid, text, 39) == 0 && disk.uuid[39] == '\0');
}

static void test_luks_header_check_every_suite(void)
{
    static const struct suite {
        const char *mode, *hash;
        uint32_t key_length;
        enum q2_aes_mode want_mode;
        enum q2_luks_hash want_hash;
    } suites[] = {
        {"xts-plain64", "sha1", 32, Q2_AES_XTS_PLAIN64, Q2_LUKS_SHA1},
        {"xts-plain64", "sha512", 64, Q2_AES_XTS_PLAIN64, Q2_LUKS_SHA512},
        {"cbc-plain64", "sha256", 16, Q2_AES_CBC_PLAIN64, Q2_LUKS_SHA256},
        {"cbc-essiv:sha256", "sha1", 24, Q2_AES_CBC_ESSIV_SHA256, Q2_LUKS_SHA1},
        {"cbc-essiv:sha256", "sha256", 32, Q2_AES_CBC_ESSIV_SHA256, Q2_LUKS_SHA256},
    };

    for (size_t i = 0; i < sizeof(suites) / sizeof(suites[0]); i++) {
        struct q2_luks_header_disk disk;
        struct q2_luks_header header;
        const char *what = "";

        t_row(suites[i].mode);
        luks_build_header(&disk);
        luks_build_suite(&disk, suites[i].mode, suites[i].hash, suites[i].key_length);
        q2_luks_header_decode(&disk, &header);
        T_CHECK_U64(q2_luks_header_check(&header, LUKS_BUILD_LENGTH, &what), Q2_OK);
        T_CHECK_U64(header.mode, suites[i].want_mode);
        T_CHECK_U64(header.hash, suites[i].want_hash);
        T_CHECK_STR(what, "");
    }
}

/* One field of a good header changed: a number (4 bytes), or text with its NUL. */
struct change {
    const char *name;
    size_t offset;
    const char *text; /* NULL: number */
    uint32_t number;
    enum q2_status status;
    const char *what;
};

#define UNTERMINATED "xts-plain64....................."
#define NAME_END     "a name in the LUKS header has no end"
#define CIPHER       "the LUKS cipher is not built in"
#define HASH         "the LUKS hash is not built in"
#define KEY_LENGTH   "the LUKS cipher has no keys of this length"
#define ON_HEADER    "LUKS key material overlaps the LUKS header"
#define PAST_END     "LUKS key material ends past the room for it"
#define ITERATIONS   "too many LUKS iterations"
#define SLOT_STATE   "a LUKS key slot is neither active nor inactive"

_Static_assert(sizeof(UNTERMINATED) == Q2_LUKS_NAME_LENGTH + 1, "fills a field, no NUL");

static const struct change changes[] = {
    {"magic, first byte", OFFSET(magic), "luks", 0, Q2_ERR_BAD_HEADER,
     "the LUKS header has no magic"},
    {"magic, last byte", OFFSET(magic) + 5, NULL, 0xbf000100, Q2_ERR_BAD_HEADER,
     "the LUKS header has no magic"},
    {"version 0", OFFSET(magic) + 4, NULL, 0xbabe0000, Q2_ERR_UNSUPPORTED,
     "the LUKS version is not 1"},
    {"version 2", OFFSET(magic) + 4, NULL, 0xbabe0002, Q2_ERR_UNSUPPORTED,
     "the LUKS version is not 1"},
    {"version 257", OFFSET(magic) + 4, NULL, 0xbabe0101, Q2_ERR_UNSUPPORTED,
     "the LUKS version is not 1"},
    {"cipher name without end", OFFSET(cipher_name), UNTERMINATED, 0, Q2_ERR_BAD_HEADER, NAME_END},
    {"cipher mode without end", OFFSET(cipher_mode), UNTERMINATED, 0, Q2_ERR_BAD_HEADER, NAME_END},
    {"hash without end", OFFSET(hash_spec), UNTERMINATED, 0, Q2_ERR_BAD_HEADER, NAME_END},
    {"cipher serpent", OFFSET(cipher_name), "serpent", 0, Q2_ERR_UNSUPPORTED, CIPHER},
    {"cipher aesx", OFFSET(cipher_name), "aesx", 0, Q2_ERR_UNSUPPORTED, CIPHER},
    {"cipher ae", OFFSET(cipher_name), "ae", 0, Q2_ERR_UNSUPPORTED, CIPHER},
    {"cipher empty", OFFSET(cipher_name), "", 0, Q2_ERR_UNSUPPORTED, CIPHER},
    {"mode ecb", OFFSET(cipher_mode), "ecb", 0, Q2_ERR_UNSUPPORTED, CIPHER},
    {"mode xts-plain", OFFSET(cipher_mode), "xts-plain", 0, Q2_ERR_UNSUPPORTED, CIPHER},
    {"mode cbc-essiv:sha1", OFFSET(cipher_mode), "cbc-essiv:sha1", 0, Q2_ERR_UNSUPPORTED, CIPHER},
    {"hash md5", OFFSET(hash_spec), "md5", 0, Q2_ERR_UNSUPPORTED, HASH},
    {"hash SHA256", OFFSET(hash_spec), "SHA256", 0, Q2_ERR_UNSUPPORTED, HASH},
    {"key of 0 bytes", OFFSET(key_bytes), NULL, 0, Q2_ERR_UNSUPPORTED, KEY_LENGTH},
    {"key of 48 bytes", OFFSET(key_bytes), NULL, 48, Q2_ERR_UNSUPPORTED, KEY_LENGTH},
    {"key of 2^32 - 1 bytes", OFFSET(key_bytes), NULL, UINT32_MAX, Q2_ERR_UNSUPPORTED, KEY_LENGTH},
    {"no digest iterations", OFFSET(mk_digest_iterations), NULL, 0, Q2_ERR_BAD_HEADER,
     "the LUKS key digest has no iterations"},
    {"digest iterations at the limit", OFFSET(mk_digest_iterations), NULL,
     Q2_LUKS_MAX_ITERATIONS - 2000, Q2_OK, ""},
    {"digest iterations over it", OFFSET(mk_digest_iterations), NULL, Q2_LUKS_MAX_ITERATIONS - 1999,
     Q2_ERR_LIMIT, ITERATIONS},
    {"slot iterations over it", SLOT_OFFSET(0, iterations), NULL, UINT32_MAX, Q2_ERR_LIMIT,
     ITERATIONS},
    {"iterations of an inactive slot", SLOT_OFFSET(3, iterations), NULL, UINT32_MAX, Q2_OK, ""},
    {"slot 0 neither active nor not", SLOT_OFFSET(0, active), NULL, 1, Q2_ERR_BAD_HEADER,
     SLOT_STATE},
    {"slot 7 neither active nor not", SLOT_OFFSET(7, active), NULL, 0, Q2_ERR_BAD_HEADER,
     SLOT_STATE},
    {"slot 0 inactive", SLOT_OFFSET(0, active), NULL, Q2_LUKS_SLOT_INACTIVE, Q2_OK, ""},
    {"no slot iterations", SLOT_OFFSET(0, iterations), NULL, 0, Q2_ERR_BAD_HEADER,
     "a LUKS key slot has no iterations"},
    {"no stripes", SLOT_OFFSET(0, stripes), NULL, 0, Q2_ERR_BAD_HEADER,
     "a LUKS key slot has no stripes"},
    {"one stripe", SLOT_OFFSET(0, stripes), NULL, 1, Q2_OK, ""},
    {"4001 stripes", SLOT_OFFSET(0, stripes), NULL, 4001, Q2_ERR_LIMIT,
     "a LUKS key slot has too many stripes"},
    {"2^32 - 1 stripes", SLOT_OFFSET(0, stripes), NULL, UINT32_MAX, Q2_ERR_LIMIT,
     "a LUKS key slot has too many stripes"},
    {"stripes of an inactive slot", SLOT_OFFSET(7, stripes), NULL, UINT32_MAX, Q2_OK, ""},
    {"material on the header", SLOT_OFFSET(0, key_material_offset), NULL, 1, Q2_ERR_BAD_HEADER,
     ON_HEADER},
    {"material right after it", SLOT_OFFSET(0, key_material_offset), NULL, 2, Q2_OK, ""},
    {"material up to the end", SLOT_OFFSET(0, key_material_offset), NULL, 4040 - 500, Q2_OK, ""},
    {"material one sector past it", SLOT_OFFSET(0, key_material_offset), NULL, 4040 - 499,
     Q2_ERR_BAD_HEADER, PAST_END},
    {"material far past it", SLOT_OFFSET(0, key_material_offset), NULL, UINT32_MAX,
     Q2_ERR_BAD_HEADER, PAST_END},
    {"payload on the material", OFFSET(payload_offset), NULL, 8 + 499, Q2_ERR_BAD_HEADER, PAST_END},
    {"payload right after it", OFFSET(payload_offset), NULL, 8 + 500, Q2_OK, ""},
    {"payload past the room", OFFSET(payload_offset), NULL, UINT32_MAX, Q2_OK, ""},
};

static void test_luks_header_check_each_rule(void)
{
    for (size_t i = 0; i < sizeof(changes) / sizeof(changes[0]); i++) {
        const struct change *row = &changes[i];
        struct q2_luks_header_disk disk;
        const char *what = "";

        t_row(row->name);
        luks_build_header(&disk);
        if (row->text)
            memcpy((uint8_t *)&disk + row->offset, row->text, strlen(row->text) + 1);
        else
            luks_put_be32((uint8_t *)&disk + row->offset, row->number);
        if (row->text && row->text[0] == '\0') /* what is stored after the NUL does not matter */
            memset((uint8_t *)&disk + row->offset + 1, 'x', 31);
        /* A text of 32 bytes has put its NUL into the next field. */
        if (row->offset == OFFSET(cipher_name) && row->status == Q2_ERR_BAD_HEADER)
            disk.cipher_mode[0] = 'x';
        T_CHECK_U64(check(&disk, LUKS_BUILD_LENGTH, &what), row->status);
        T_CHECK_STR(what, row->what);
    }
}

static void test_luks_header_check_room_of_qcow2_counts_too(void)
{
    struct q2_luks_header_disk disk;
    const char *what = "";

    luks_build_header(&disk);
    T_CHECK_U64(check(&disk, 508 * 512, &what), Q2_OK);
    T_CHECK_U64(check(&disk, 508 * 512 - 1, &what), Q2_ERR_BAD_HEADER);
    T_CHECK_STR(what, PAST_END);
    T_CHECK_U64(check(&disk, sizeof(disk), &what), Q2_ERR_BAD_HEADER);
}

static void test_luks_header_check_slots_must_not_overlap(void)
{
    static const struct row {
        const char *name;
        uint32_t sector; /* of slot 2's key material; slot 0 has 8 to 507 */
        enum q2_status status;
    } rows[] = {
        {"same place", 8, Q2_ERR_BAD_HEADER},
        {"last sector", 507, Q2_ERR_BAD_HEADER},
        {"right after", 508, Q2_OK},
        {"on the first sector", 2, Q2_ERR_BAD_HEADER},
    };

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct q2_luks_header_disk disk;
        const char *what = "";

        t_row(rows[i].name);
        luks_build_header(&disk);
        luks_put_be32(disk.slots[2].active, Q2_LUKS_SLOT_ACTIVE);
        luks_put_be32(disk.slots[2].iterations, 1);
        luks_put_be32(disk.slots[2].key_material_offset, rows[i].sector);
        T_CHECK_U64(check(&disk, LUKS_BUILD_LENGTH, &what), rows[i].status);
        if (rows[i].status != Q2_OK)
            T_CHECK_STR(what, "LUKS key material of two slots overlaps");
        luks_put_be32(disk.slots[0].active, Q2_LUKS_SLOT_INACTIVE);
        T_CHECK_U64(check(&disk, LUKS_BUILD_LENGTH, &what), Q2_OK);
    }
}

/* The key of 64 bytes takes two pieces of SHA-256, and each slot a digest of 1000 iterations. */
static void test_luks_header_check_iterations_of_all_slots_together(void)
{
    struct q2_luks_header_disk disk;
    const char *what = "";

    luks_build_header(&disk);
    for (size_t i = 0; i < Q2_LUKS_NB_SLOTS; i++) {
        luks_put_be32(disk.slots[i].active, Q2_LUKS_SLOT_ACTIVE);
        luks_put_be32(disk.slots[i].iterations, Q2_LUKS_MAX_ITERATIONS / 16 - 500);
    }
    T_CHECK_U64(check(&disk, LUKS_BUILD_LENGTH, &what), Q2_OK);
    luks_put_be32(disk.slots[7].iterations, Q2_LUKS_MAX_ITERATIONS / 16 - 499);
    T_CHECK_U64(check(&disk, LUKS_BUILD_LENGTH, &what), Q2_ERR_LIMIT);
    T_CHECK_STR(what, ITERATIONS);
}

int main(void)
{
    T_RUN(test_luks_header_decode_gives_the_fields);
    T_RUN(test_luks_header_encode_is_the_inverse_of_decode);
    T_RUN(test_luks_header_encode_ends_a_uuid_that_is_too_long);
    T_RUN(test_luks_header_check_every_suite);
    T_RUN(test_luks_header_check_each_rule);
    T_RUN(test_luks_header_check_room_of_qcow2_counts_too);
    T_RUN(test_luks_header_check_slots_must_not_overlap);
    T_RUN(test_luks_header_check_iterations_of_all_slots_together);
    return t_done();
}
