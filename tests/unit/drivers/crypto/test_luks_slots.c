/* drivers/crypto/luks_slots.c: what is refused, and that a refusal writes nothing. Cuts and failing
 * calls are in tests/fault/test_key_cuts.c.
 */
#include "drivers/crypto/luks_slots.h"

#include "tests/support/fake_source.h"
#include "tests/support/luks_builder.h"
#include "tests/support/t.h"

#define STRIPES 16u
#define LENGTH  (LUKS_BUILD_LENGTH)

static struct q2_luks_slots slots;
static struct fake_source source;
static uint8_t file[LENGTH];
static const uint8_t key[64] = {1, 2, 3};

static struct q2_luks_header_disk *header(void)
{
    return (struct q2_luks_header_disk *)file;
}

/* Slot 0 opens with "old". */
static void build(void)
{
    memset(file, 0, sizeof(file));
    luks_build_header(header());
    for (uint32_t i = 0; i < Q2_LUKS_NB_SLOTS; i++)
        luks_put_be32(header()->slots[i].stripes, STRIPES);
    luks_build_digest(header(), key, 1);
    luks_build_slot(file, 0, key, "old", 1, STRIPES);
    fake_source_init_writable(&source, "image", file, LENGTH, LENGTH);
}

static enum q2_status open_slots(void)
{
    return q2_luks_slots_open(&slots, &source.source, 0, LENGTH, key, sizeof(key));
}

static enum q2_status set(uint32_t index, uint32_t iterations)
{
    const struct q2_luks_new_key new_key = {
        .passphrase = (const uint8_t *)"new", .length = 3, .iterations = iterations};

    return q2_luks_slot_set(&slots, index, &new_key);
}

static void refused(uint32_t index, uint32_t iterations, enum q2_status status, const char *what)
{
    T_CHECK_U64(open_slots(), Q2_OK);
    T_CHECK_U64(set(index, iterations), status);
    T_CHECK_STR(slots.what, what);
    T_CHECK_U64(source.nb_writes + source.nb_flushes, 0);
}

static void test_slots_open_refuses_a_header_or_a_key(void)
{
    const uint8_t other[64] = {9};

    build();
    T_CHECK_U64(q2_luks_slots_open(&slots, &source.source, 0, LENGTH, other, sizeof(other)),
                Q2_ERR_ENCRYPTED);
    T_CHECK_U64(q2_luks_slots_open(&slots, &source.source, 0, LENGTH, key, 32), Q2_ERR_ENCRYPTED);
    header()->magic[0] = 'M';
    T_CHECK_U64(open_slots(), Q2_ERR_BAD_HEADER);
    T_CHECK_STR(slots.what, "the LUKS header has no magic");
}

static void test_slot_set_keeps_the_limits_of_readers(void)
{
    build();
    refused(1, Q2_LUKS_MAX_ITERATIONS, Q2_ERR_LIMIT, "too many LUKS iterations");
    refused(1, 0, Q2_ERR_BAD_HEADER, "a LUKS key slot has no iterations");
    luks_put_be32(header()->slots[1].stripes, 0);
    refused(1, 1, Q2_ERR_BAD_HEADER, "a LUKS key slot has no stripes");
    luks_put_be32(header()->slots[2].key_material_offset, 8);
    refused(2, 1, Q2_ERR_BAD_HEADER, "LUKS key material of two slots overlaps");
    luks_put_be32(header()->slots[3].key_material_offset, 0);
    refused(3, 1, Q2_ERR_BAD_HEADER, "LUKS key material overlaps the LUKS header");
    luks_put_be32(header()->slots[4].key_material_offset, LUKS_BUILD_PAYLOAD_SECTORS);
    refused(4, 1, Q2_ERR_BAD_HEADER, "LUKS key material ends past the room for it");
}

/* The new key and the old one are both there for a moment. */
static void test_slot_set_replaces_the_only_key_beside_another_slot(void)
{
    const char *what =
        "the only key can be replaced only if another slot has room for it meanwhile";

    build();
    for (uint32_t i = 1; i < Q2_LUKS_NB_SLOTS; i++)
        luks_put_be32(header()->slots[i].stripes, STRIPES + 1);
    refused(0, 1, Q2_ERR_LIMIT, what);
    build();
    refused(0, Q2_LUKS_MAX_ITERATIONS / 4 + 1, Q2_ERR_LIMIT, what);
    luks_put_be32(header()->slots[5].stripes, STRIPES);
    T_CHECK_U64(open_slots(), Q2_OK);
    T_CHECK_U64(set(0, 3), Q2_OK);
    T_CHECK_U64(q2_luks_slots_active(&slots), 1);
    T_CHECK_U64(slots.header.slots[0].iterations, 3);
}

static void test_slots_find_tells_all_slots(void)
{
    uint32_t found;

    build();
    luks_build_slot(file, 3, key, "old", 1, STRIPES);
    luks_build_slot(file, 7, key, "two", 1, STRIPES);
    T_CHECK_U64(open_slots(), Q2_OK);
    T_CHECK_U64(q2_luks_slots_find(&slots, (const uint8_t *)"old", 3, &found), Q2_OK);
    T_CHECK_U64(found, 1u << 0 | 1u << 3);
    T_CHECK_U64(q2_luks_slots_find(&slots, (const uint8_t *)"", 0, &found), Q2_OK);
    T_CHECK_U64(found, 0);
}

/* Nothing of the key material, the salt and the count is left. */
static void test_slot_erase_overwrites_the_key(void)
{
    const struct q2_luks_slot *slot = &slots.header.slots[0];
    const uint8_t *bytes = file;

    build();
    T_CHECK_U64(open_slots(), Q2_OK);
    T_CHECK_U64(q2_luks_slot_erase(&slots, 0), Q2_OK);
    T_CHECK_U64(open_slots(), Q2_OK);
    T_CHECK_U64(slot->state, Q2_LUKS_SLOT_INACTIVE);
    T_CHECK_U64(slot->iterations, 0);
    T_CHECK_U64(slot->stripes, STRIPES);
    for (uint32_t i = 0; i < sizeof(slot->salt); i++)
        T_CHECK_U64(slot->salt[i], 0);
    for (uint64_t i = 0; i < q2_luks_slot_length(&slots.header, slot); i++)
        T_CHECK_U64(bytes[slot->key_material_offset + i], 0);
    q2_luks_slots_wipe(&slots);
    T_CHECK_U64(slots.key[1], 0);
}

int main(void)
{
    T_RUN(test_slots_open_refuses_a_header_or_a_key);
    T_RUN(test_slot_set_keeps_the_limits_of_readers);
    T_RUN(test_slot_set_replaces_the_only_key_beside_another_slot);
    T_RUN(test_slots_find_tells_all_slots);
    T_RUN(test_slot_erase_overwrites_the_key);
    return t_done();
}
