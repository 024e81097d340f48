/* Power cuts and failing calls while the key slots of a LUKS header are changed (O1; HAZARDS.md,
 * W7).
 *
 *   test_key_cuts
 *
 * Judged is each content that the file may have after a cut, or after a call that failed: the
 * header passes its check, every active slot opens with the passphrase that it had or was to get,
 * some passphrase that was known before or is new opens the image unless its last one was erased,
 * and no byte beside the header has changed. Then the change is made once more, and has its result.
 */
#include <stdlib.h>

#include "crash_states.h"
#include "drivers/crypto/luks_slots.h"
#include "tests/support/luks_builder.h"
#include "tests/support/t.h"

#define OFFSET     4096u /* of the header, bytes into the file */
#define STRIPES    16u
#define KEY_LENGTH 64u
#define SLOT       (KEY_LENGTH * STRIPES) /* bytes of key material */
#define LENGTH     (1024u + Q2_LUKS_NB_SLOTS * SLOT)
#define FILE_SIZE  (OFFSET + LENGTH + 1024u)
#define NEW        Q2_LUKS_NB_SLOTS /* the number of the new passphrase */

static const struct change {
    const char *name;
    uint32_t active, index;
    bool erase;
} changes[] = {
    {"test_cuts_adding_a_key", 0x01, 1, false},
    {"test_cuts_adding_a_key_across_a_sectors_border", 0x01, 6, false},
    {"test_cuts_adding_the_last_key", 0x7f, 7, false},
    {"test_cuts_replacing_the_only_key", 0x01, 0, false},
    {"test_cuts_replacing_the_only_key_across_a_sectors_border", 0x40, 6, false},
    {"test_cuts_replacing_one_of_two", 0x03, 0, false},
    {"test_cuts_replacing_one_of_eight", 0xff, 6, false},
    {"test_cuts_erasing_one_of_two", 0x03, 1, true},
    {"test_cuts_erasing_across_a_sectors_border", 0x41, 6, true},
    {"test_cuts_erasing_the_last_key", 0x08, 3, true},
};

static struct {
    struct crash_visitor visitor;
    const struct change *change;
    struct crash_log log;
    struct crash_source source;
    struct q2_luks_slots slots;
    uint8_t initial[FILE_SIZE];
    uint64_t nb_states;
} c;

static uint8_t key[KEY_LENGTH];

/* Of a slot's number, or NEW. */
static const uint8_t *passphrase(uint32_t number)
{
    static const char *const texts[] = {"zero", "one", "two",   "three", "four",
                                        "five", "six", "seven", "new"};

    return (const uint8_t *)texts[number];
}

static size_t length_of(uint32_t number)
{
    return strlen((const char *)passphrase(number));
}

static void build(void)
{
    struct q2_luks_header_disk *disk = (struct q2_luks_header_disk *)(c.initial + OFFSET);

    memset(c.initial, 0xc3, sizeof(c.initial));
    memset(c.initial + OFFSET, 0, LENGTH);
    luks_build_header(disk);
    luks_put_be32(disk->payload_offset, LENGTH / 512);
    for (uint32_t i = 0; i < Q2_LUKS_NB_SLOTS; i++) {
        luks_put_be32(disk->slots[i].active, Q2_LUKS_SLOT_INACTIVE);
        luks_put_be32(disk->slots[i].stripes, STRIPES);
        luks_put_be32(disk->slots[i].key_material_offset, (1024 + i * SLOT) / 512);
    }
    luks_build_digest(disk, key, 1);
    for (uint32_t i = 0; i < Q2_LUKS_NB_SLOTS; i++) {
        if (c.change->active >> i & 1)
            luks_build_slot(c.initial + OFFSET, i, key, (const char *)passphrase(i), 1, STRIPES);
    }
}

static enum q2_status change(void)
{
    struct q2_luks_new_key new_key = {
        .passphrase = passphrase(NEW), .length = length_of(NEW), .iterations = 2};
    enum q2_status status =
        q2_luks_slots_open(&c.slots, &c.source.source, OFFSET, LENGTH, key, KEY_LENGTH);

    memset(new_key.salt, 0x77, sizeof(new_key.salt));
    for (size_t i = 0; i < SLOT; i++)
        c.slots.material[i] = (uint8_t)(i * 29 + i / 253);
    if (status != Q2_OK)
        return status;
    return c.change->erase ? q2_luks_slot_erase(&c.slots, c.change->index)
                           : q2_luks_slot_set(&c.slots, c.change->index, &new_key);
}

/* The slots that each passphrase opens, in the file as it is. */
static bool find(uint32_t ret_sets[NEW + 1])
{
    if (q2_luks_slots_open(&c.slots, &c.source.source, OFFSET, LENGTH, key, KEY_LENGTH) != Q2_OK)
        return false;
    for (uint32_t i = 0; i <= NEW; i++) {
        if (q2_luks_slots_find(&c.slots, passphrase(i), length_of(i), &ret_sets[i]) != Q2_OK)
            return false;
    }
    return true;
}

/* The whole change: the slot has its new key or none, everybody else's is there. */
static void judge_result(void)
{
    uint32_t sets[NEW + 1], bit = 1u << c.change->index;

    T_CHECK(find(sets));
    T_CHECK_U64(sets[NEW] & bit, c.change->erase ? 0 : bit);
    for (uint32_t i = 0; i < NEW; i++)
        T_CHECK_U64(sets[i], c.change->active & ~bit & 1u << i);
    T_CHECK_U64(q2_luks_slots_active(&c.slots) & bit, sets[NEW] & bit);
}

/* Anything between before and after. */
static void judge(void)
{
    uint32_t sets[NEW + 1], active, known = 0, bit = 1u << c.change->index;
    const uint8_t *bytes = c.source.bytes;

    T_CHECK(find(sets));
    active = q2_luks_slots_active(&c.slots);
    for (uint32_t i = 0; i < NEW; i++) {
        if (i != c.change->index)
            T_CHECK_U64(sets[i], c.change->active & 1u << i);
        known |= sets[i];
    }
    T_CHECK_U64(known | sets[NEW], active); /* each active slot opens */
    T_CHECK(!c.change->erase || sets[NEW] == 0);
    T_CHECK(active != 0 || (c.change->erase && c.change->active == bit));
    /* Only a slot that is replaced uses another one meanwhile. */
    T_CHECK((sets[NEW] & ~bit) == 0 || (c.change->active & bit) != 0);
    T_CHECK(memcmp(bytes, c.initial, OFFSET) == 0);
    T_CHECK(memcmp(bytes + OFFSET + LENGTH, c.initial + OFFSET + LENGTH,
                   FILE_SIZE - OFFSET - LENGTH) == 0);
}

static bool visit(struct crash_visitor *visitor, const struct crash_state *state)
{
    (void)visitor;
    crash_source_reset(&c.source, state->files[0].bytes, state->files[0].size);
    c.nb_states++;
    judge();
    T_CHECK_U64(change(), Q2_OK);
    judge_result();
    return true;
}

static void run_cuts(void)
{
    const struct crash_bounds bounds = {.all_up_to = 8, .sample = 64, .tears = 8, .seed = 1};
    const uint8_t *initial[] = {c.initial};
    const uint64_t size = FILE_SIZE;

    crash_source_reset(&c.source, c.initial, FILE_SIZE);
    c.log.recording = true;
    T_CHECK_U64(change(), Q2_OK);
    c.log.recording = false;
    judge_result();
    c.visitor.visit = visit;
    crash_states_visit(&c.log, initial, &size, &size, 1, 1, &bounds, &c.visitor);
    T_CHECK(c.nb_states > 4);
}

/* Each call fails in turn, and what of a write reached the file is nothing, half or all. */
static void run_failures(void)
{
    c.log.fail_calls = CRASH_ALL;
    c.log.fail_status = Q2_ERR_IO;
    for (uint64_t n = 1; n == c.log.fail_at + 1; n++) {
        enum q2_status status;

        crash_source_reset(&c.source, c.initial, FILE_SIZE);
        c.log.nb_calls = c.log.failed = 0;
        c.log.torn = (enum crash_torn)(n % 3);
        c.log.fail_at = n;
        status = change();
        T_CHECK_U64(status, c.log.failed ? Q2_ERR_IO : Q2_OK);
        if (!c.log.failed)
            break;
        c.log.fail_at = 0;
        judge();
        T_CHECK_U64(change(), Q2_OK);
        judge_result();
        c.log.fail_at = n;
    }
}

int main(void)
{
    uint64_t total = 0;

    for (size_t i = 0; i < sizeof(key); i++)
        key[i] = (uint8_t)(i * 7 + 3);
    for (size_t i = 0; i < sizeof(changes) / sizeof(changes[0]); i++) {
        memset(&c, 0, sizeof(c));
        c.change = &changes[i];
        build();
        crash_source_init(&c.source, &c.log, 0, "image", c.initial, FILE_SIZE, FILE_SIZE);
        run_cuts();
        run_failures();
        total += c.nb_states;
        crash_source_free(&c.source);
        crash_log_free(&c.log);
        t_case_end(changes[i].name);
    }
    printf("# total: %llu crash points\n", (unsigned long long)total);
    return t_done();
}
