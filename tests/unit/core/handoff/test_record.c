/* core/handoff/record.c, judge.c and core/base/sha256.c: round trips, every truncation, every bit
 * flipped, each rule broken once in an otherwise right record.
 */
#include "q2_handoff.h"

#include <stdlib.h>

#include "core/base/sha256.h"
#include "tests/support/t.h"

#define MAX_RECORD 8192

static struct q2_file_extent got_extents[Q2_HANDOFF_MAX_EXTENTS];
static struct q2_handoff_sample got_samples[Q2_HANDOFF_MAX_FILES * Q2_HANDOFF_MAX_SAMPLES];
static const struct q2_handoff_memory memory = {
    .extents = got_extents,
    .max_extents = Q2_HANDOFF_MAX_EXTENTS,
    .samples = got_samples,
    .max_samples = sizeof(got_samples) / sizeof(got_samples[0]),
};

static struct q2_file_extent image_extents[2];
static struct q2_file_extent data_extents[1];
static struct q2_handoff_sample image_samples[2];
static uint8_t key_bytes[64];
static char long_path[Q2_MAX_PATH_LENGTH + 2];

/* A record with one of everything. */
static void build(struct q2_handoff *handoff)
{
    image_extents[0] = (struct q2_file_extent){0, 1 << 20, 65536};
    image_extents[1] = (struct q2_file_extent){65536, 4 << 20, 100};
    data_extents[0] = (struct q2_file_extent){0, 8 << 20, 1 << 20};
    image_samples[0] = (struct q2_handoff_sample){0, {1, 2, 3}};
    image_samples[1] = (struct q2_handoff_sample){65536, {4, 5, 6}};
    memset(key_bytes, 0x5c, sizeof(key_bytes));
    memset(long_path, 'a', Q2_MAX_PATH_LENGTH + 1);
    *handoff = (struct q2_handoff){
        .disk = {.scheme = Q2_HANDOFF_GPT,
                 .partition_guid = {1, 2, 3},
                 .start = 1 << 20,
                 .size = 64 << 20,
                 .sector_size = 512,
                 .volume_id = 0x4d434f57,
                 .volume_id_offset = 67},
        .mode = Q2_HANDOFF_RW,
        .format = Q2_FORMAT_QCOW2,
        .names = Q2_NAMES_ANY,
        .backing_format = Q2_UNSAID_RAW,
        .guest_sector_size = 4096,
        .room_mark = 1 << 20,
        .data_file = "/img/disk.raw",
        .backing_files = {"/img/one.qcow2", NULL, "/img/three.raw"},
        .nb_backing_files = 3,
        .nb_files = 2,
        .nb_keys = 1,
    };
    handoff->files[0] = (struct q2_handoff_file){
        .role = Q2_HANDOFF_IMAGE,
        .path = "/img/disk.qcow2",
        .size = 65636,
        .nb_extents = 2,
        .nb_samples = 2,
        .extents = image_extents,
        .samples = image_samples,
    };
    handoff->files[1] = (struct q2_handoff_file){
        .role = Q2_HANDOFF_DATA,
        .path = "/img/disk.raw",
        .size = 1 << 20,
        .nb_extents = 1,
        .extents = data_extents,
    };
    handoff->keys[0] = (struct q2_handoff_key){0, Q2_CRYPT_LUKS, 64, key_bytes};
}

static size_t build_bytes(uint8_t *bytes)
{
    struct q2_handoff handoff;
    const char *what = NULL;
    size_t length = 0;

    build(&handoff);
    T_CHECK_U64(q2_handoff_encode(&handoff, bytes, MAX_RECORD, &length, &what), Q2_OK);
    return length;
}

static enum q2_status decode(const uint8_t *bytes, size_t length)
{
    static struct q2_handoff handoff;
    const char *what = NULL;
    enum q2_status status = q2_handoff_decode(bytes, length, &memory, &handoff, &what);

    T_CHECK((status == Q2_OK) == (what == NULL));
    return status;
}

static void test_handoff_decode_gives_what_was_encoded(void)
{
    uint8_t bytes[MAX_RECORD], again[MAX_RECORD];
    static struct q2_handoff got;
    const char *what = NULL;
    size_t length = build_bytes(bytes), again_length = 0;

    T_CHECK_U64(q2_handoff_decode(bytes, length, &memory, &got, &what), Q2_OK);
    T_CHECK_U64(got.disk.scheme, Q2_HANDOFF_GPT);
    T_CHECK_U64(got.disk.partition_guid[2], 3);
    T_CHECK_U64(got.disk.start, 1 << 20);
    T_CHECK_U64(got.disk.volume_id_offset, 67);
    T_CHECK_U64(got.mode, Q2_HANDOFF_RW);
    T_CHECK_U64(got.names, Q2_NAMES_ANY);
    T_CHECK_U64(got.backing_format, Q2_UNSAID_RAW);
    T_CHECK_U64(got.guest_sector_size, 4096);
    T_CHECK(!got.snapshot);
    T_CHECK_U64(got.nb_backing_files, 3);
    T_CHECK_STR(got.backing_files[0], "/img/one.qcow2");
    T_CHECK(!got.backing_files[1]);
    T_CHECK_STR(got.backing_files[2], "/img/three.raw");
    T_CHECK_STR(got.data_file, "/img/disk.raw");
    T_CHECK_U64(got.nb_files, 2);
    T_CHECK_STR(got.files[0].path, "/img/disk.qcow2");
    T_CHECK_U64(got.files[0].extents[1].file_offset, 65536);
    T_CHECK_U64(got.files[0].extents[1].volume_offset, 4 << 20);
    T_CHECK_U64(got.files[0].extents[1].length, 100);
    T_CHECK_U64(got.files[0].samples[1].digest[2], 6);
    T_CHECK_U64(got.files[1].size, 1 << 20);
    T_CHECK_U64(got.keys[0].length, 64);
    T_CHECK(memcmp(got.keys[0].bytes, key_bytes, 64) == 0);
    T_CHECK_U64(q2_handoff_encode(&got, again, sizeof(again), &again_length, &what), Q2_OK);
    T_CHECK(again_length == length && memcmp(again, bytes, length) == 0);
}

static void test_handoff_decode_every_truncation_is_refused(void)
{
    uint8_t bytes[MAX_RECORD];
    size_t length = build_bytes(bytes);

    for (size_t n = 0; n < length; n++) {
        uint8_t *cut = malloc(n > 0 ? n : 1); /* so that the sanitizer sees a read past the end */

        memcpy(cut, bytes, n);
        T_CHECK_U64(decode(cut, n), Q2_ERR_TRUNCATED);
        free(cut);
    }
    bytes[length] = 0;
    T_CHECK_U64(decode(bytes, length + 1), Q2_ERR_BAD_HEADER);
}

static void test_handoff_decode_every_flipped_bit_is_refused(void)
{
    uint8_t bytes[MAX_RECORD];
    size_t length = build_bytes(bytes);

    for (size_t bit = 0; bit < length * 8; bit++) {
        bytes[bit / 8] ^= (uint8_t)(1u << (bit % 8));
        T_CHECK(decode(bytes, length) != Q2_OK);
        bytes[bit / 8] ^= (uint8_t)(1u << (bit % 8));
    }
    T_CHECK_U64(decode(bytes, length), Q2_OK);
}

/* Make the checksum right again, so that the rules after it are what refuses. */
static void seal(uint8_t *bytes, size_t length)
{
    struct q2_sha256 hash;

    memset(bytes + 16, 0, 32);
    q2_sha256_init(&hash);
    q2_sha256_add(&hash, bytes, length);
    q2_sha256_end(&hash, bytes + 16);
}

/* After the checksum nothing reads past the end, whatever the numbers say. */
static void test_handoff_decode_every_changed_byte_behind_the_checksum_is_safe(void)
{
    static const uint8_t values[] = {0x00, 0x01, 0x7f, 0x80, 0xff};
    uint8_t bytes[MAX_RECORD];
    size_t length = build_bytes(bytes);

    for (size_t at = 48; at < length; at++) {
        uint8_t old = bytes[at];

        for (size_t i = 0; i < sizeof(values); i++) {
            uint8_t *copy = malloc(length);

            bytes[at] = values[i];
            seal(bytes, length);
            memcpy(copy, bytes, length);
            (void)decode(copy, length);
            free(copy);
        }
        bytes[at] = old;
    }
    seal(bytes, length);
    T_CHECK_U64(decode(bytes, length), Q2_OK);
}

/* Each row breaks one rule; neither the encoder nor the decoder may let it pass. */
struct broken_row {
    const char *name;
    void (*change)(struct q2_handoff *handoff);
    enum q2_status want;
};

#define ROW(name, statement)                                                                       \
    static void change_##name(struct q2_handoff *h)                                                \
    {                                                                                              \
        (void)h;                                                                                   \
        statement;                                                                                 \
    }

ROW(scheme, h->disk.scheme = Q2_NB_HANDOFF_SCHEMES)
ROW(no_guid, memset(h->disk.partition_guid, 0, 16))
ROW(two_ids, h->disk.mbr_signature = 1)
ROW(mbr_without_id, h->disk.scheme = Q2_HANDOFF_MBR; memset(h->disk.partition_guid, 0, 16);
    h->disk.volume_id = 0; h->disk.volume_id_offset = 0)
ROW(whole_disk_with_start, h->disk.scheme = Q2_HANDOFF_WHOLE_DISK;
    memset(h->disk.partition_guid, 0, 16))
ROW(whole_disk_with_guid, h->disk.scheme = Q2_HANDOFF_WHOLE_DISK; h->disk.start = 0)
ROW(whole_disk_with_signature, h->disk.scheme = Q2_HANDOFF_WHOLE_DISK; h->disk.start = 0;
    memset(h->disk.partition_guid, 0, 16); h->disk.mbr_signature = 1)
ROW(whole_disk_without_volume_id, h->disk.scheme = Q2_HANDOFF_WHOLE_DISK; h->disk.start = 0;
    memset(h->disk.partition_guid, 0, 16); h->disk.volume_id = 0; h->disk.volume_id_offset = 0)
ROW(mbr_with_guid, h->disk.scheme = Q2_HANDOFF_MBR; h->disk.mbr_signature = 1;
    memset(h->disk.partition_guid + 1, 0, 15))
ROW(sector_size, h->disk.sector_size = 768)
ROW(start, h->disk.start = 100)
ROW(far_partition, h->disk.start = 1ull << 63)
ROW(huge_partition, h->disk.size = 1ull << 63)
ROW(empty_partition, h->disk.size = 0)
ROW(volume_id, h->disk.volume_id_offset = 510)
ROW(volume_id_over_the_end, h->disk.volume_id_offset = 509)
ROW(volume_id_without_place, h->disk.volume_id_offset = 0)
ROW(mode, h->mode = Q2_NB_HANDOFF_MODES)
ROW(lane, h->lane = Q2_NB_HANDOFF_LANES)
ROW(format, h->format = 2)
ROW(names, h->names = 3)
ROW(backing_format, h->backing_format = 3)
ROW(guest_sectors, h->guest_sector_size = 1024)
ROW(many_backing_files, h->nb_backing_files = Q2_HANDOFF_MAX_BACKING_FILES + 1)
ROW(overlay_without_size, h->mode = Q2_HANDOFF_OVERLAY)
ROW(size_without_overlay, h->overlay_size = 1)
ROW(written_snapshot, h->snapshot = "1")
ROW(no_file, h->nb_files = 0)
ROW(many_files, h->nb_files = Q2_HANDOFF_MAX_FILES + 1)
ROW(many_keys, h->nb_keys = Q2_HANDOFF_MAX_KEYS + 1)
ROW(role, h->files[1].role = Q2_NB_HANDOFF_ROLES)
ROW(layer, h->files[1].layer = Q2_MAX_LAYERS)
ROW(empty_path, h->files[1].path = "")
ROW(same_path, h->files[1].path = "/img/disk.qcow2")
ROW(long_path, h->files[1].path = long_path)
ROW(same_role, h->files[2] = h->files[1]; h->files[2].path = "/img/other.raw"; h->nb_files = 3)
ROW(two_tops, h->files[1].role = Q2_HANDOFF_IMAGE)
ROW(no_top, h->files[0].layer = 1)
ROW(hole, image_extents[1].file_offset = 65537)
ROW(gap, image_extents[1].file_offset = 65537; image_extents[0].length = 65537)
ROW(short_map, image_extents[1].length = 99)
ROW(long_map, image_extents[1].length = 101)
ROW(empty_extent, h->files[1].nb_extents = 0)
ROW(extent_of_no_bytes, image_extents[0].length = image_extents[1].file_offset = 65636;
    image_extents[1].length = 0)
ROW(extent_off_sector, image_extents[0].volume_offset = 100)
ROW(extent_outside, data_extents[0].volume_offset = 64 << 20)
ROW(extent_wraps, data_extents[0].volume_offset = ~511ull)
ROW(samples_order, image_samples[1].offset = 0)
ROW(sample_outside, image_samples[1].offset = 65636)
ROW(many_samples, h->files[0].nb_samples = Q2_HANDOFF_MAX_SAMPLES + 1)
ROW(many_extents, h->files[0].nb_extents = Q2_HANDOFF_MAX_EXTENTS + 1)
ROW(key_file, h->keys[0].file = 2)
ROW(key_of_data, h->keys[0].file = 1)
ROW(key_method, h->keys[0].crypt_method = 0)
ROW(short_key, h->keys[0].length = 15)
ROW(long_key, h->keys[0].length = 65)
ROW(long_legacy_key, h->keys[0].crypt_method = Q2_CRYPT_AES)

static const struct broken_row broken_rows[] = {
    {"scheme", change_scheme, Q2_ERR_ARGUMENT},
    {"no_guid", change_no_guid, Q2_ERR_ARGUMENT},
    {"two_ids", change_two_ids, Q2_ERR_ARGUMENT},
    {"mbr_without_id", change_mbr_without_id, Q2_ERR_ARGUMENT},
    {"whole_disk_with_start", change_whole_disk_with_start, Q2_ERR_ARGUMENT},
    {"whole_disk_with_guid", change_whole_disk_with_guid, Q2_ERR_ARGUMENT},
    {"whole_disk_with_signature", change_whole_disk_with_signature, Q2_ERR_ARGUMENT},
    {"whole_disk_without_volume_id", change_whole_disk_without_volume_id, Q2_ERR_ARGUMENT},
    {"mbr_with_guid", change_mbr_with_guid, Q2_ERR_ARGUMENT},
    {"sector_size", change_sector_size, Q2_ERR_ARGUMENT},
    {"start", change_start, Q2_ERR_ARGUMENT},
    {"far_partition", change_far_partition, Q2_ERR_ARGUMENT},
    {"huge_partition", change_huge_partition, Q2_ERR_ARGUMENT},
    {"empty_partition", change_empty_partition, Q2_ERR_ARGUMENT},
    {"volume_id", change_volume_id, Q2_ERR_ARGUMENT},
    {"volume_id_over_the_end", change_volume_id_over_the_end, Q2_ERR_ARGUMENT},
    {"volume_id_without_place", change_volume_id_without_place, Q2_ERR_ARGUMENT},
    {"mode", change_mode, Q2_ERR_ARGUMENT},
    {"lane", change_lane, Q2_ERR_ARGUMENT},
    {"format", change_format, Q2_ERR_ARGUMENT},
    {"names", change_names, Q2_ERR_ARGUMENT},
    {"backing_format", change_backing_format, Q2_ERR_ARGUMENT},
    {"guest_sectors", change_guest_sectors, Q2_ERR_ARGUMENT},
    {"many_backing_files", change_many_backing_files, Q2_ERR_LIMIT},
    {"overlay_without_size", change_overlay_without_size, Q2_ERR_ARGUMENT},
    {"size_without_overlay", change_size_without_overlay, Q2_ERR_ARGUMENT},
    {"written_snapshot", change_written_snapshot, Q2_ERR_ARGUMENT},
    {"no_file", change_no_file, Q2_ERR_ARGUMENT},
    {"many_files", change_many_files, Q2_ERR_LIMIT},
    {"many_keys", change_many_keys, Q2_ERR_LIMIT},
    {"role", change_role, Q2_ERR_ARGUMENT},
    {"layer", change_layer, Q2_ERR_ARGUMENT},
    {"empty_path", change_empty_path, Q2_ERR_ARGUMENT},
    {"same_path", change_same_path, Q2_ERR_ARGUMENT},
    {"long_path", change_long_path, Q2_ERR_LIMIT},
    {"same_role", change_same_role, Q2_ERR_ARGUMENT},
    {"two_tops", change_two_tops, Q2_ERR_ARGUMENT},
    {"no_top", change_no_top, Q2_ERR_ARGUMENT},
    {"hole", change_hole, Q2_ERR_ARGUMENT},
    {"gap", change_gap, Q2_ERR_ARGUMENT},
    {"short_map", change_short_map, Q2_ERR_ARGUMENT},
    {"long_map", change_long_map, Q2_ERR_ARGUMENT},
    {"empty_extent", change_empty_extent, Q2_ERR_ARGUMENT},
    {"extent_of_no_bytes", change_extent_of_no_bytes, Q2_ERR_ARGUMENT},
    {"extent_off_sector", change_extent_off_sector, Q2_ERR_ARGUMENT},
    {"extent_outside", change_extent_outside, Q2_ERR_ARGUMENT},
    {"extent_wraps", change_extent_wraps, Q2_ERR_ARGUMENT},
    {"samples_order", change_samples_order, Q2_ERR_ARGUMENT},
    {"sample_outside", change_sample_outside, Q2_ERR_ARGUMENT},
    {"many_samples", change_many_samples, Q2_ERR_LIMIT},
    {"many_extents", change_many_extents, Q2_ERR_LIMIT},
    {"key_file", change_key_file, Q2_ERR_ARGUMENT},
    {"key_of_data", change_key_of_data, Q2_ERR_ARGUMENT},
    {"key_method", change_key_method, Q2_ERR_ARGUMENT},
    {"short_key", change_short_key, Q2_ERR_ARGUMENT},
    {"long_key", change_long_key, Q2_ERR_ARGUMENT},
    {"long_legacy_key", change_long_legacy_key, Q2_ERR_ARGUMENT},
};

static void test_handoff_encode_broken_rules_are_refused(void)
{
    for (size_t i = 0; i < sizeof(broken_rows) / sizeof(broken_rows[0]); i++) {
        static struct q2_handoff handoff;
        uint8_t bytes[MAX_RECORD];
        const char *what = NULL;
        size_t length = 0;

        t_row(broken_rows[i].name);
        build(&handoff);
        broken_rows[i].change(&handoff);
        T_CHECK_U64(q2_handoff_encode(&handoff, bytes, sizeof(bytes), &length, &what),
                    broken_rows[i].want);
        T_CHECK(what != NULL);
    }
}

/* Each row is another right record: what it has instead of build()'s values is allowed too. */
ROW(mbr, h->disk.scheme = Q2_HANDOFF_MBR; h->disk.mbr_signature = 7;
    memset(h->disk.partition_guid, 0, 16))
ROW(mbr_without_signature, h->disk.scheme = Q2_HANDOFF_MBR; memset(h->disk.partition_guid, 0, 16))
ROW(whole_disk, h->disk.scheme = Q2_HANDOFF_WHOLE_DISK; h->disk.start = 0;
    memset(h->disk.partition_guid, 0, 16))
ROW(no_volume_id, h->disk.volume_id = 0; h->disk.volume_id_offset = 0)
ROW(volume_id_at_the_end, h->disk.volume_id_offset = 508)
ROW(small_guest_sectors, h->guest_sector_size = 512)
ROW(second_layer, h->files[1].role = Q2_HANDOFF_IMAGE; h->files[1].layer = 1)
ROW(legacy_key, h->keys[0].crypt_method = Q2_CRYPT_AES; h->keys[0].length = 16)

static const struct {
    const char *name;
    void (*change)(struct q2_handoff *handoff);
} right_rows[] = {
    {"mbr", change_mbr},
    {"mbr_without_signature", change_mbr_without_signature},
    {"whole_disk", change_whole_disk},
    {"no_volume_id", change_no_volume_id},
    {"volume_id_at_the_end", change_volume_id_at_the_end},
    {"small_guest_sectors", change_small_guest_sectors},
    {"second_layer", change_second_layer},
    {"legacy_key", change_legacy_key},
};

static void test_handoff_encode_every_right_value_comes_back(void)
{
    for (size_t i = 0; i < sizeof(right_rows) / sizeof(right_rows[0]); i++) {
        static struct q2_handoff handoff, got;
        uint8_t bytes[MAX_RECORD], again[MAX_RECORD];
        const char *what = NULL;
        size_t length = 0, again_length = 0;

        t_row(right_rows[i].name);
        build(&handoff);
        right_rows[i].change(&handoff);
        T_CHECK_U64(q2_handoff_encode(&handoff, bytes, sizeof(bytes), &length, &what), Q2_OK);
        T_CHECK_U64(q2_handoff_decode(bytes, length, &memory, &got, &what), Q2_OK);
        T_CHECK_U64(got.disk.scheme, handoff.disk.scheme);
        T_CHECK_U64(got.disk.mbr_signature, handoff.disk.mbr_signature);
        T_CHECK_U64(got.guest_sector_size, handoff.guest_sector_size);
        T_CHECK_U64(got.files[1].layer, handoff.files[1].layer);
        T_CHECK_U64(got.keys[0].length, handoff.keys[0].length);
        T_CHECK_U64(q2_handoff_encode(&got, again, sizeof(again), &again_length, &what), Q2_OK);
        T_CHECK(again_length == length && memcmp(again, bytes, length) == 0);
    }
}

/* Offsets and values that break one rule each in the encoded form of build()'s record. */
static void test_handoff_decode_broken_rules_are_refused(void)
{
    static const struct {
        const char *name;
        size_t offset;
        uint8_t value;
        enum q2_status want;
    } rows[] = {
        {"magic", 0, 'X', Q2_ERR_BAD_MAGIC},
        {"version", 8, 1, Q2_ERR_VERSION},
        {"length", 15, 1, Q2_ERR_LIMIT},
        {"scheme", 48, 9, Q2_ERR_BAD_HEADER},
        {"mode", 100, 7, Q2_ERR_BAD_HEADER},
        {"lane", 104, 7, Q2_ERR_BAD_HEADER},
        {"format", 108, 7, Q2_ERR_BAD_HEADER},
        {"names", 112, 7, Q2_ERR_BAD_HEADER},
        {"backing format", 116, 3, Q2_ERR_BAD_HEADER},
        {"overlay size", 120, 1, Q2_ERR_BAD_HEADER},
        {"files", 136, 65, Q2_ERR_LIMIT},
        {"no files", 136, 0, Q2_ERR_BAD_HEADER},
        {"keys", 140, 33, Q2_ERR_LIMIT},
        {"fewer files", 136, 1, Q2_ERR_BAD_HEADER},
        {"fewer keys", 140, 0, Q2_ERR_BAD_HEADER},
        {"backing files", 144, 32, Q2_ERR_LIMIT},
        {"guest sectors", 149, 1, Q2_ERR_BAD_HEADER},
        {"string", 153, 0x10, Q2_ERR_LIMIT},
        {"NUL in a string", 158, 0, Q2_ERR_BAD_HEADER},
    };

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        uint8_t bytes[MAX_RECORD];
        size_t length = build_bytes(bytes);

        t_row(rows[i].name);
        bytes[rows[i].offset] = rows[i].value;
        seal(bytes, length);
        T_CHECK_U64(decode(bytes, length), rows[i].want);
    }
}

/* Each name that is one byte too long is refused, and fits without it. */
static void test_handoff_encode_long_names_are_refused(void)
{
    static char name[Q2_MAX_PATH_LENGTH + 2];
    static uint8_t bytes[4 * MAX_RECORD];
    struct q2_handoff handoff;

    for (size_t i = 0; i < 6; i++) {
        size_t length = 0;
        const char *what = NULL, **text;

        build(&handoff);
        handoff.mode = Q2_HANDOFF_RO;
        text = i / 2 == 0   ? &handoff.snapshot
               : i / 2 == 1 ? &handoff.data_file
                            : &handoff.backing_files[1];
        memset(name, 'n', sizeof(name) - 1);
        name[Q2_MAX_PATH_LENGTH + 1 - i % 2] = '\0';
        *text = name;
        T_CHECK_U64(q2_handoff_encode(&handoff, bytes, sizeof(bytes), &length, &what),
                    i % 2 == 0 ? Q2_ERR_LIMIT : Q2_OK);
        T_CHECK_STR(what ? what : "", i % 2 == 0 ? "a name is too long" : "");
        T_CHECK(i % 2 == 1 || length == 0);
    }
}

static void test_handoff_encode_small_buffer_is_refused(void)
{
    uint8_t bytes[MAX_RECORD];
    static struct q2_handoff handoff;
    const char *what = NULL;
    size_t length = build_bytes(bytes), got = 0;

    build(&handoff);
    for (size_t size = 0; size < length; size++) {
        uint8_t *small = malloc(size > 0 ? size : 1);

        T_CHECK_U64(q2_handoff_encode(&handoff, small, size, &got, &what), Q2_ERR_LIMIT);
        free(small);
    }
    T_CHECK_U64(got, 0);
}

static void test_handoff_decode_small_memory_is_refused(void)
{
    uint8_t bytes[MAX_RECORD];
    static struct q2_handoff handoff;
    const char *what = NULL;
    size_t length = 0;
    struct q2_handoff_memory small = memory;

    /* Both files have extents and samples: each fits, and not all of them do. */
    build(&handoff);
    handoff.files[1].nb_samples = 1;
    handoff.files[1].samples = image_samples;
    T_CHECK_U64(q2_handoff_encode(&handoff, bytes, sizeof(bytes), &length, &what), Q2_OK);
    small.max_extents = 2;
    T_CHECK_U64(q2_handoff_decode(bytes, length, &small, &handoff, &what), Q2_ERR_LIMIT);
    small = memory;
    small.max_samples = 1;
    T_CHECK_U64(q2_handoff_decode(bytes, length, &small, &handoff, &what), Q2_ERR_LIMIT);
    small.max_samples = 2;
    T_CHECK_U64(q2_handoff_decode(bytes, length, &small, &handoff, &what), Q2_ERR_LIMIT);
    small.max_samples = 3;
    T_CHECK_U64(q2_handoff_decode(bytes, length, &small, &handoff, &what), Q2_OK);
}

static void test_handoff_wipe_keys_leaves_no_key(void)
{
    uint8_t bytes[MAX_RECORD];
    static struct q2_handoff handoff;
    const char *what = NULL;
    size_t length = build_bytes(bytes);

    T_CHECK_U64(q2_handoff_decode(bytes, length, &memory, &handoff, &what), Q2_OK);
    q2_handoff_wipe_keys(bytes, &handoff);
    for (size_t i = 0; i < length; i++)
        T_CHECK(bytes[i] != 0x5c);
    for (uint32_t k = 0; k < handoff.nb_keys; k++)
        for (uint32_t i = 0; i < handoff.keys[k].length; i++)
            T_CHECK_U64(handoff.keys[k].bytes[i], 0);
    handoff.nb_keys = Q2_HANDOFF_MAX_KEYS; /* the others are empty */
    q2_handoff_wipe_keys(bytes, &handoff);
}

static void test_handoff_peek_tells_the_length(void)
{
    uint8_t bytes[MAX_RECORD];
    const char *what = NULL;
    size_t length = build_bytes(bytes), got = 0;

    T_CHECK_U64(q2_handoff_peek(bytes, &got, &what), Q2_OK);
    T_CHECK_U64(got, length);
}

/* FIPS 180-4's examples, and lengths around a block's border. */
static void test_sha256_known_answers(void)
{
    static const struct {
        const char *name;
        size_t length;
        uint8_t byte;
        uint8_t want[4];
    } rows[] = {
        {"empty", 0, 0, {0xe3, 0xb0, 0xc4, 0x42}},
        {"a x 55", 55, 'a', {0x9f, 0x43, 0x90, 0xf8}},
        {"a x 1000000", 1000000, 'a', {0xcd, 0xc7, 0x6e, 0x5c}},
    };
    uint8_t digest[Q2_SHA256_LENGTH], split[Q2_SHA256_LENGTH];
    struct q2_sha256 hash;

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        uint8_t *bytes = malloc(rows[i].length + 1);

        t_row(rows[i].name);
        memset(bytes, rows[i].byte, rows[i].length);
        q2_sha256_init(&hash);
        q2_sha256_add(&hash, bytes, rows[i].length);
        q2_sha256_end(&hash, digest);
        T_CHECK(memcmp(digest, rows[i].want, 4) == 0);
        q2_sha256_init(&hash);
        for (size_t n = 0; n < rows[i].length; n++)
            q2_sha256_add(&hash, bytes + n, 1);
        q2_sha256_end(&hash, split);
        T_CHECK(memcmp(digest, split, sizeof(digest)) == 0);
        free(bytes);
    }
    q2_sha256_init(&hash);
    q2_sha256_add(&hash, "abc", 3);
    q2_sha256_end(&hash, digest);
    T_CHECK(memcmp(digest, "\xba\x78\x16\xbf\x8f\x01\xcf\xea", 8) == 0);
}

int main(void)
{
    T_RUN(test_handoff_decode_gives_what_was_encoded);
    T_RUN(test_handoff_decode_every_truncation_is_refused);
    T_RUN(test_handoff_decode_every_flipped_bit_is_refused);
    T_RUN(test_handoff_decode_every_changed_byte_behind_the_checksum_is_safe);
    T_RUN(test_handoff_encode_broken_rules_are_refused);
    T_RUN(test_handoff_encode_every_right_value_comes_back);
    T_RUN(test_handoff_decode_broken_rules_are_refused);
    T_RUN(test_handoff_encode_long_names_are_refused);
    T_RUN(test_handoff_encode_small_buffer_is_refused);
    T_RUN(test_handoff_decode_small_memory_is_refused);
    T_RUN(test_handoff_wipe_keys_leaves_no_key);
    T_RUN(test_handoff_peek_tells_the_length);
    T_RUN(test_sha256_known_answers);
    return t_done();
}
