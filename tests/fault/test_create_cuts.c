/* Power cuts while an image is made (core/write/create.c; HAZARDS.md, W7).
 *
 *   test_create_cuts
 *
 * Judged is each content that the file may have after a cut: it does not open as an image, or it is
 * the whole image, which opens with its passphrase if it is encrypted, and passes the check. Each
 * call that fails leaves the same.
 */
#include <stdlib.h>

#include "crash_states.h"
#include "drivers/crypto/luks_header.h"
#include "drivers/crypto/unlocker.h"
#include "q2_check.h"
#include "q2_create.h"
#include "tests/support/t.h"

#define CAPACITY (2u << 20)
#define MIB      (1ull << 20)
#define KEY      16u /* bytes; the shortest has the shortest header */

#define NAME_100                                                                                   \
    "0123456789012345678901234567890123456789012345678901234567890123456789012345678901234567"     \
    "89abcdefghij"
#define NAME_1000                                                                                  \
    NAME_100 NAME_100 NAME_100 NAME_100 NAME_100 NAME_100 NAME_100 NAME_100 NAME_100 NAME_100

static const struct row {
    const char *name;
    bool encrypted;
    struct q2_create_options options;
} rows[] = {
    {"test_cuts_making_a_plain_image", false, {.virtual_size = MIB}},
    {"test_cuts_making_an_image_with_a_header_of_two_sectors",
     false,
     {.virtual_size = MIB, .backing_file = NAME_100}},
    {"test_cuts_making_an_image_with_feature_names_across_the_border",
     false,
     {.virtual_size = MIB, .external_data = true, .data_file = NAME_100}},
    {"test_cuts_making_an_image_with_long_names",
     false,
     {.virtual_size = MIB,
      .external_data = true,
      .data_file = NAME_1000,
      .backing_file = NAME_1000,
      .backing_format = "raw"}},
    {"test_cuts_making_an_encrypted_image", true, {.virtual_size = MIB}},
    {"test_cuts_making_an_encrypted_image_of_small_clusters",
     true,
     {.virtual_size = MIB, .cluster_bits = 9}},
    {"test_cuts_making_an_encrypted_image_with_long_names",
     true,
     {.virtual_size = MIB,
      .cluster_bits = 12,
      .external_data = true,
      .data_file = NAME_1000,
      .backing_file = NAME_1000,
      .backing_format = "raw"}},
};

static struct {
    struct crash_visitor visitor;
    struct q2_create_options options;
    struct crash_log log;
    struct crash_source source;
    struct q2_unlocker_passphrase unlocker;
    void *workspace;
    uint8_t luks[Q2_LUKS_MAX_HEADER_LENGTH];
    uint8_t *whole; /* the image as it is to be */
    uint64_t whole_size;
    uint64_t nb_states, nb_whole;
} c;

static void compose(void)
{
    struct q2_luks_new_header new_header = {
        .mode = Q2_AES_CBC_ESSIV_SHA256,
        .hash = Q2_LUKS_SHA256,
        .key_length = KEY,
        .digest_iterations = 1,
        .key = {1, 2, 3},
        .slot = {.passphrase = (const uint8_t *)"pass", .length = 4, .iterations = 1},
    };

    for (size_t i = 0; i < q2_luks_material_room(KEY); i++)
        c.luks[Q2_LUKS_MATERIAL_OFFSET + i] = (uint8_t)(i * 29 + i / 253);
    q2_luks_header_compose(&new_header, &c.unlocker.work, c.luks);
    c.options.encryption = c.luks;
    c.options.encryption_length = q2_luks_header_length(KEY);
}

static enum q2_status make(void)
{
    struct q2_fault fault;

    return q2_create(c.workspace, &c.source.source, &c.options, &fault);
}

/* Only the image's own file is opened, so an encrypted one is unlocked beside that. */
static bool open_image(struct q2_disk **ret_disk)
{
    const struct q2_disk_options options = {.metadata_only = true};
    struct q2_fault fault;

    return q2_disk_open(c.workspace, &c.source.source, NULL, &options, &fault, ret_disk) == Q2_OK;
}

static void check_key(const struct q2_layer_info *info)
{
    struct q2_unlocker *unlocker = q2_unlocker_passphrase_init(&c.unlocker);
    struct q2_cipher *cipher;

    c.unlocker.passphrase = (const uint8_t *)"pass";
    c.unlocker.passphrase_length = 4;
    T_CHECK_U64(unlocker->ops->unlock(unlocker, &c.source.source, info->header->crypt_method,
                                      info->encryption_offset, info->encryption_length, &cipher),
                Q2_OK);
}

static void judge(void)
{
    struct q2_check_result result;
    struct q2_layer_info info;
    struct q2_disk *disk;

    c.nb_states++;
    if (!open_image(&disk))
        return;
    c.nb_whole++;
    T_CHECK_U64(c.source.source.size, c.whole_size);
    T_CHECK(memcmp(c.source.bytes, c.whole, c.whole_size) == 0);
    q2_disk_layer_info(disk, 0, &info);
    T_CHECK_U64(info.header->crypt_method, c.options.encryption ? Q2_CRYPT_LUKS : Q2_CRYPT_NONE);
    if (c.options.encryption)
        check_key(&info);
    T_CHECK_U64(q2_disk_check(disk, NULL, &result), Q2_OK);
    T_CHECK_U64(result.corruptions + result.leaks + result.check_errors, 0);
    q2_disk_close(disk);
}

static bool visit(struct crash_visitor *visitor, const struct crash_state *state)
{
    (void)visitor;
    crash_source_reset(&c.source, state->files[0].bytes, state->files[0].size);
    judge();
    return true;
}

static void run_cuts(void)
{
    static const uint8_t nothing[1];
    const struct crash_bounds bounds = {.all_up_to = 6, .sample = 64, .tears = 8, .seed = 1};
    const uint8_t *initial[] = {nothing};
    const uint64_t size = 0, capacity = CAPACITY;

    crash_source_reset(&c.source, nothing, 0);
    c.log.recording = true;
    T_CHECK_U64(make(), Q2_OK);
    c.log.recording = false;
    c.whole_size = c.source.source.size;
    memcpy(c.whole, c.source.bytes, c.whole_size);
    judge();
    T_CHECK_U64(c.nb_whole, 1);
    c.visitor.visit = visit;
    crash_states_visit(&c.log, initial, &size, &capacity, 1, 1, &bounds, &c.visitor);
    T_CHECK(c.nb_states > 8);
    T_CHECK(c.nb_whole > 1);
}

/* Each call fails in turn, and what of a write reached the file is nothing, half or all. */
static void run_failures(void)
{
    static const uint8_t nothing[1];

    c.log.fail_calls = CRASH_ALL;
    c.log.fail_status = Q2_ERR_IO;
    for (uint64_t n = 1;; n++) {
        enum q2_status status;

        crash_source_reset(&c.source, nothing, 0);
        c.log.nb_calls = c.log.failed = 0;
        c.log.torn = (enum crash_torn)(n % 3);
        c.log.fail_at = n;
        status = make();
        c.log.fail_at = 0;
        T_CHECK_U64(status, c.log.failed ? Q2_ERR_IO : Q2_OK);
        judge();
        if (!c.log.failed)
            break;
    }
}

int main(void)
{
    static const uint8_t nothing[1];
    uint64_t total = 0;

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        memset(&c, 0, sizeof(c));
        c.workspace = aligned_alloc(Q2_WORKSPACE_ALIGN, Q2_WORKSPACE_SIZE);
        c.whole = crash_memory(NULL, CAPACITY);
        c.options = rows[i].options;
        if (rows[i].encrypted)
            compose();
        crash_source_init(&c.source, &c.log, 0, "image", nothing, 0, CAPACITY);
        run_cuts();
        run_failures();
        total += c.nb_states;
        crash_source_free(&c.source);
        crash_log_free(&c.log);
        free(c.whole);
        free(c.workspace);
        t_case_end(rows[i].name);
    }
    printf("# total: %llu crash points\n", (unsigned long long)total);
    return t_done();
}
