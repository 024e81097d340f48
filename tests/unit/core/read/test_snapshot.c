/* core/read/snapshot.c: the table of internal snapshots; and opening one of them. */
#include <stdlib.h>

#include "core/read/disk.h"
#include "core/read/snapshot.h"
#include "tests/support/fixture.h"
#include "tests/support/t.h"

#define KIB 1024ull
#define MIB (1024 * KIB)

struct extra {
    uint8_t bytes[1024];
};

static void put64(uint8_t *to, uint64_t value)
{
    for (int i = 0; i < 8; i++)
        to[i] = (uint8_t)(value >> (56 - 8 * i));
}

static struct extra extra_of(uint64_t vm_state_size, uint64_t virtual_size, uint64_t icount)
{
    struct extra extra = {{0}};

    put64(extra.bytes, vm_state_size);
    put64(extra.bytes + 8, virtual_size);
    put64(extra.bytes + 16, icount);
    return extra;
}

/* Three snapshots with content of their own, and the active state after them. */
static void build(struct image *image, const struct image_spec *spec)
{
    struct extra extra = extra_of(1ull << 40, spec->size, 77);

    image_start(image, spec);
    image_data(image, 0, 1);
    image_snapshot(image, &(struct image_snapshot_spec){.id = "1",
                                                        .name = "first",
                                                        .vm_state_size = 123,
                                                        .date_sec = 1000,
                                                        .date_nsec = 2000,
                                                        .vm_clock_nsec = 1ull << 50});
    image_data(image, 128 * KIB, 2);
    image_snapshot(image, &(struct image_snapshot_spec){
                              .id = "2", .name = "1", .extra = &extra, .extra_size = 24});
    image_data(image, 256 * KIB, 3);
    image_snapshot(image, &(struct image_snapshot_spec){
                              .id = "id", .name = "", .extra = &extra, .extra_size = 16});
    image_data(image, 384 * KIB, 4);
    (void)image_snapshots_write(image);
}

static void test_snapshot_list_all_fields(void)
{
    struct q2_snapshot s;
    struct image image;
    struct fixture f;

    build(&image, &(struct image_spec){.size = MIB});
    fixture_start(&f, &image);
    T_CHECK_U64(fixture_open(&f), Q2_OK);
    T_CHECK_U64(q2_disk_snapshot(f.disk, 0, &s), Q2_OK);
    T_CHECK_STR(s.id, "1");
    T_CHECK_STR(s.name, "first");
    T_CHECK_U64(s.vm_state_size, 123);
    T_CHECK_U64(s.date_sec, 1000);
    T_CHECK_U64(s.date_nsec, 2000);
    T_CHECK_U64(s.vm_clock_nsec, 1ull << 50);
    T_CHECK_U64(s.virtual_size, MIB);
    T_CHECK_U64(s.l1_size, 1);
    T_CHECK_U64(s.l1_table_offset, 192 * KIB);
    T_CHECK(!s.has_icount);
    T_CHECK_U64(q2_disk_snapshot(f.disk, 1, &s), Q2_OK);
    T_CHECK_STR(s.name, "1");
    T_CHECK_U64(s.vm_state_size, 1ull << 40);
    T_CHECK(s.has_icount && s.icount == 77);
    T_CHECK_U64(q2_disk_snapshot(f.disk, 2, &s), Q2_OK);
    T_CHECK_STR(s.id, "id");
    T_CHECK_STR(s.name, "");
    T_CHECK(!s.has_icount && s.virtual_size == MIB);
    T_CHECK_U64(q2_disk_snapshot(f.disk, 3, &s), Q2_ERR_RANGE);
    T_CHECK_STR(fixture_text(&f), "img/top.qcow2: no such snapshot (snapshot index is 3, limit 3)");
    fixture_end(&f);
    image_free(&image);
}

static void test_snapshot_read_each_state(void)
{
    static const struct {
        const char *row, *snapshot;
        int model; /* -1: the active state */
    } rows[] = {
        {"active", NULL, -1},          {"by id, although another has this name", "1", 0},
        {"by name", "first", 0},       {"by id", "2", 1},
        {"by id of letters", "id", 2}, {"by the empty name", "", 2},
    };
    static const struct image_spec specs[] = {
        {.size = MIB},
        {.size = 512 * KIB, .cluster_bits = 12},
        {.size = 512 * KIB, .cluster_bits = 14, .extended = true},
    };

    for (size_t n = 0; n < sizeof(specs) / sizeof(specs[0]); n++) {
        struct image image;

        build(&image, &specs[n]);
        for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
            const struct image_model *model =
                rows[i].model < 0 ? &image.model : &image.snapshot_models[rows[i].model];
            struct q2_layer_info info;
            struct fixture f;

            t_row(rows[i].row);
            fixture_start(&f, &image);
            f.options.snapshot = rows[i].snapshot;
            T_CHECK_U64(fixture_open(&f), Q2_OK);
            if (f.disk) {
                T_CHECK_U64(fixture_first_difference(&f, model->bytes, specs[n].size),
                            FIXTURE_SAME);
                q2_disk_layer_info(f.disk, 0, &info);
                T_CHECK(info.is_snapshot == (rows[i].snapshot != NULL));
            }
            fixture_end(&f);
        }
        image_free(&image);
    }
}

static void test_snapshot_own_virtual_size(void)
{
    struct extra extra = extra_of(0, 300 * KIB, 0);
    struct image image;
    struct fixture f;

    image_start(&image, &(struct image_spec){.size = MIB});
    image_data(&image, 0, 1);
    image_snapshot(&image, &(struct image_snapshot_spec){
                               .id = "1", .name = "small", .extra = &extra, .extra_size = 24});
    (void)image_snapshots_write(&image);
    fixture_start(&f, &image);
    f.options.snapshot = "small";
    T_CHECK_U64(fixture_open(&f), Q2_OK);
    T_CHECK_U64(q2_disk_size(f.disk), 300 * KIB);
    T_CHECK_U64(fixture_first_difference(&f, image.snapshot_models[0].bytes, 300 * KIB),
                FIXTURE_SAME);
    fixture_end(&f);
    image_free(&image);
}

static void test_snapshot_extra_data_of_every_length(void)
{
    struct extra extra = extra_of(1ull << 40, 2 * KIB, 55);

    for (uint32_t length = 0; length <= 1024; length += length < 32 ? 1 : 496) {
        struct q2_snapshot s;
        struct image image;
        struct fixture f;

        image_start(&image, &(struct image_spec){.size = 64 * KIB, .cluster_bits = 9});
        image_snapshot(
            &image,
            &(struct image_snapshot_spec){
                .id = "i", .name = "n", .vm_state_size = 9, .extra = &extra, .extra_size = length});
        image_snapshot(&image, &(struct image_snapshot_spec){.id = "2", .name = "next"});
        (void)image_snapshots_write(&image);
        fixture_start(&f, &image);
        T_CHECK_U64(fixture_open(&f), Q2_OK);
        T_CHECK_U64(q2_disk_snapshot(f.disk, 0, &s), Q2_OK);
        T_CHECK_U64(s.vm_state_size, length >= 8 ? 1ull << 40 : 9);
        T_CHECK_U64(s.virtual_size, length >= 16 ? 2 * KIB : 64 * KIB);
        T_CHECK(s.has_icount == (length >= 24));
        T_CHECK_STR(s.name, "n");
        T_CHECK_U64(q2_disk_snapshot(f.disk, 1, &s), Q2_OK);
        T_CHECK_STR(s.name, "next");
        fixture_end(&f);
        image_free(&image);
    }
}

static void test_snapshot_extra_data_past_the_limit_is_refused(void)
{
    static const uint8_t zeros[1025];
    struct q2_snapshot s;
    struct image image;
    struct fixture f;

    image_start(&image, &(struct image_spec){.size = MIB});
    image_snapshot(&image, &(struct image_snapshot_spec){
                               .id = "1", .name = "n", .extra = zeros, .extra_size = 1025});
    (void)image_snapshots_write(&image);
    fixture_start(&f, &image);
    T_CHECK_U64(fixture_open(&f), Q2_OK);
    T_CHECK_U64(q2_disk_snapshot(f.disk, 0, &s), Q2_ERR_LIMIT);
    T_CHECK_STR(fixture_field(&f), "extra_data_size");
    fixture_end(&f);
    image_free(&image);
}

/* Among zeros, the file has an entry with 1032 bytes of extra data and an id of one byte. Without
 * its id it ends the longest table. */
#define LONG_ENTRY_AT (MIB + Q2_MAX_SNAPSHOT_TABLE_SIZE - 40 - 1032)
static struct q2_source_ops long_entry_ops;
static enum q2_status (*read_zeros)(struct q2_source *, uint64_t, void *, size_t);

static enum q2_status read_long_entry(struct q2_source *source, uint64_t offset, void *to, size_t n)
{
    enum q2_status status = read_zeros(source, offset, to, n);
    uint64_t at = LONG_ENTRY_AT - offset;

    if (at < n && n - at >= 40) {
        uint8_t *entry = (uint8_t *)to + at;
        entry[13] = 1; /* id_size */
        entry[38] = 1032 >> 8;
        entry[39] = 1032 & 0xff;
    }
    return status;
}

/* An entry of zeros is a right one of 40 bytes. The table may end with byte 64 MiB, not after. */
static void test_snapshot_table_past_the_limit_is_refused(void)
{
    static const struct {
        const char *row;
        uint64_t offset;
        enum q2_status status;
    } rows[] = {
        {"ends at the limit", Q2_MAX_SNAPSHOT_TABLE_SIZE - 40, Q2_OK},
        {"ends past it", Q2_MAX_SNAPSHOT_TABLE_SIZE - 32, Q2_ERR_LIMIT},
    };
    struct q2_fault fault = {.status = Q2_OK};
    struct q2_snapshot s;
    struct image image;
    struct fixture f;

    image_start(&image, &(struct image_spec){.size = MIB});
    image_field_set(&image, "nb_snapshots", 1000);
    image_field_set(&image, "snapshots_offset", MIB);
    fixture_start(&f, &image);
    f.image.source.size = MIB + 2 * Q2_MAX_SNAPSHOT_TABLE_SIZE;
    long_entry_ops = *f.image.source.ops;
    read_zeros = long_entry_ops.read_at;
    long_entry_ops.read_at = read_long_entry;
    f.image.source.ops = &long_entry_ops;
    T_CHECK_U64(fixture_open(&f), Q2_OK);
    for (size_t i = 0; i < 2; i++) {
        struct q2_snapshot_walk walk = {.offset = rows[i].offset};

        t_row(rows[i].row);
        T_CHECK_U64(q2_snapshot_next(&f.disk->slices, &f.disk->layers[0], &walk, &fault, &s),
                    rows[i].status);
        T_CHECK_U64(fault.status, rows[i].status);
    }
    t_row("ends at the limit, and its strings past the end of the file");
    {
        struct q2_snapshot_walk walk = {.offset = LONG_ENTRY_AT - MIB,
                                        .file_size = MIB + Q2_MAX_SNAPSHOT_TABLE_SIZE - 512};
        bool kept;

        T_CHECK_U64(
            q2_snapshot_next_kept(&f.disk->slices, &f.disk->layers[0], &walk, &fault, &s, &kept),
            Q2_OK);
        T_CHECK_U64(kept, true);
        T_CHECK_U64(walk.offset, Q2_MAX_SNAPSHOT_TABLE_SIZE - 512);
    }
    fixture_end(&f);
    image_free(&image);
}

/* From MIB on the file has entries with the longest id and name there can be. */
#define LARGE_ENTRY (40 + 2 * 0xffff + 2ull)

static enum q2_status read_large_entries(struct q2_source *source, uint64_t offset, void *to,
                                         size_t n)
{
    enum q2_status status = read_zeros(source, offset, to, n);

    for (size_t i = 0; offset >= MIB && i < n; i++) {
        uint64_t at = (offset + i - MIB) % LARGE_ENTRY;
        if (at >= 12 && at < 16)
            ((uint8_t *)to)[i] = 0xff;
    }
    return status;
}

/* An entry that ends past the limit does so each time, wherever the walk has been. */
static void test_snapshot_past_the_limit_fails_the_same_way_again(void)
{
    uint32_t last = (uint32_t)(Q2_MAX_SNAPSHOT_TABLE_SIZE / LARGE_ENTRY);
    struct q2_snapshot s;
    struct image image;
    struct fixture f;

    image_start(&image, &(struct image_spec){.size = MIB});
    image_field_set(&image, "nb_snapshots", 1000);
    image_field_set(&image, "snapshots_offset", MIB);
    fixture_start(&f, &image);
    f.image.source.size = MIB + 2 * Q2_MAX_SNAPSHOT_TABLE_SIZE;
    long_entry_ops = *f.image.source.ops;
    read_zeros = long_entry_ops.read_at;
    long_entry_ops.read_at = read_large_entries;
    f.image.source.ops = &long_entry_ops;
    T_CHECK_U64(fixture_open(&f), Q2_OK);
    T_CHECK_U64(q2_disk_snapshot(f.disk, last - 1, &s), Q2_OK);
    for (uint32_t i = 0; i < 2; i++) {
        T_CHECK_U64(q2_disk_snapshot(f.disk, last, &s), Q2_ERR_LIMIT);
        T_CHECK_U64(q2_disk_fault(f.disk)->value, (last + 1) * LARGE_ENTRY);
    }
    fixture_end(&f);
    image_free(&image);
}

static void test_snapshot_icount_of_all_ones_is_none(void)
{
    struct extra extra = extra_of(0, MIB, UINT64_MAX);
    struct q2_snapshot s;
    struct image image;
    struct fixture f;

    image_start(&image, &(struct image_spec){.size = MIB});
    image_snapshot(&image, &(struct image_snapshot_spec){
                               .id = "1", .name = "n", .extra = &extra, .extra_size = 24});
    (void)image_snapshots_write(&image);
    fixture_start(&f, &image);
    T_CHECK_U64(fixture_open(&f), Q2_OK);
    T_CHECK_U64(q2_disk_snapshot(f.disk, 0, &s), Q2_OK);
    T_CHECK(!s.has_icount);
    fixture_end(&f);
    image_free(&image);
}

static void test_snapshot_long_strings_are_cut(void)
{
    char id[300], name[1000];
    struct q2_snapshot s;
    struct image image;
    struct fixture f;

    memset(id, 'i', sizeof(id));
    memset(name, 'n', sizeof(name));
    id[299] = name[999] = '\0';
    image_start(&image, &(struct image_spec){.size = MIB});
    image_snapshot(&image, &(struct image_snapshot_spec){.id = id, .name = name});
    image_snapshot(&image, &(struct image_snapshot_spec){.id = "2", .name = "next"});
    (void)image_snapshots_write(&image);
    fixture_start(&f, &image);
    T_CHECK_U64(fixture_open(&f), Q2_OK);
    T_CHECK_U64(q2_disk_snapshot(f.disk, 0, &s), Q2_OK);
    T_CHECK_U64(strlen(s.id), 255);
    T_CHECK_U64(strlen(s.name), 255);
    T_CHECK_U64(q2_disk_snapshot(f.disk, 1, &s), Q2_OK);
    T_CHECK_STR(s.name, "next");
    fixture_end(&f);
    image_free(&image);
}

/* Every entry costs as much as the first one: the walk goes on where it stopped. */
static void test_snapshot_list_is_one_walk(void)
{
    enum {
        NB = 2000
    };
    struct q2_snapshot s;
    struct image image;
    struct fixture f;
    uint64_t table, clock;

    image_start(&image, &(struct image_spec){.size = MIB});
    table = image_alloc(&image, 2); /* entries of 40 zero bytes are right ones */
    for (uint32_t i = 0; i < NB; i++)
        image_put64(&image, table + 40 * i + 24, i); /* VM clock */
    image_field_set(&image, "nb_snapshots", NB);
    image_field_set(&image, "snapshots_offset", table);
    fixture_start(&f, &image);
    T_CHECK_U64(fixture_open(&f), Q2_OK);
    clock = f.disk->slices.clock;
    for (uint32_t i = 0; i < NB; i++) {
        T_CHECK_U64(q2_disk_snapshot(f.disk, i, &s), Q2_OK);
        T_CHECK_U64(s.vm_clock_nsec, i);
    }
    T_CHECK(f.disk->slices.clock - clock < 4 * NB);
    T_CHECK_U64(q2_disk_snapshot(f.disk, 7, &s), Q2_OK); /* and back */
    T_CHECK_U64(s.vm_clock_nsec, 7);
    T_CHECK_U64(q2_disk_snapshot(f.disk, 7, &s), Q2_OK);
    T_CHECK_U64(s.vm_clock_nsec, 7);
    T_CHECK_U64(q2_disk_snapshot(f.disk, NB, &s), Q2_ERR_RANGE);
    fixture_end(&f);
    image_free(&image);
}

/* What an earlier disk in the same memory has listed does not matter, nor does a walk that failed.
 */
static void test_snapshot_list_begins_anew(void)
{
    struct extra extra = extra_of(0, MIB, 0);
    struct q2_snapshot s;
    struct image image;
    struct fixture f;

    build(&image, &(struct image_spec){.size = MIB});
    fixture_start(&f, &image);
    T_CHECK_U64(fixture_open(&f), Q2_OK);
    T_CHECK_U64(q2_disk_snapshot(f.disk, 0, &s), Q2_OK);
    image_free(&image);
    image_start(&image, &(struct image_spec){.size = MIB});
    image_snapshot(&image, &(struct image_snapshot_spec){
                               .id = "1", .name = "n", .extra = &extra, .extra_size = 1000});
    image_snapshot(&image, &(struct image_snapshot_spec){.id = "2", .name = "next"});
    (void)image_snapshots_write(&image);
    fixture_close(&f);
    fake_source_init(&f.image, FIXTURE_IMAGE_PATH, image.bytes, image.size);
    T_CHECK_U64(fixture_open(&f), Q2_OK);
    T_CHECK_U64(q2_disk_snapshot(f.disk, 1, &s), Q2_OK);
    T_CHECK_STR(s.name, "next");
    t_row("after a failure");
    fixture_close(&f);
    T_CHECK_U64(fixture_open(&f), Q2_OK);
    f.image.bad_start = image_field(&image, "snapshots_offset");
    f.image.bad_end = f.image.bad_start + 1;
    T_CHECK_U64(q2_disk_snapshot(f.disk, 1, &s), Q2_ERR_IO);
    f.image.bad_end = f.image.bad_start;
    T_CHECK_U64(q2_disk_snapshot(f.disk, 1, &s), Q2_OK);
    T_CHECK_STR(s.name, "next");
    fixture_end(&f);
    image_free(&image);
}

/* The fixed part of an entry ends with a slice; what follows is in a bad sector. */
static void test_snapshot_extra_data_unreadable(void)
{
    char name[4096 - 40 - 8 - 1 - 40 + 1];
    struct extra extra = extra_of(0, MIB, 0);
    struct q2_snapshot s;
    struct image image;
    struct fixture f;
    uint64_t table;

    memset(name, 'n', sizeof(name));
    name[sizeof(name) - 1] = '\0';
    image_start(&image, &(struct image_spec){.size = MIB});
    image_snapshot(&image, &(struct image_snapshot_spec){
                               .id = "1", .name = name, .extra = &extra, .extra_size = 8});
    image_snapshot(&image, &(struct image_snapshot_spec){
                               .id = "2", .name = "two", .extra = &extra, .extra_size = 24});
    table = image_snapshots_write(&image);
    fixture_start(&f, &image);
    f.image.bad_start = table + 4096;
    f.image.bad_end = table + 4097;
    T_CHECK_U64(fixture_open(&f), Q2_OK);
    T_CHECK_U64(q2_disk_snapshot(f.disk, 0, &s), Q2_OK);
    T_CHECK_U64(q2_disk_snapshot(f.disk, 1, &s), Q2_ERR_IO);
    T_CHECK_U64(q2_disk_fault(f.disk)->offset, table + 4096);
    fixture_end(&f);
    image_free(&image);
}

/* A table over several slices, and a bad sector in each place of it. */
static void test_snapshot_bad_sector_anywhere(void)
{
    static const char *const wanted[] = {"4", "last", "none"};
    char name[900];
    struct image image;
    uint64_t table;

    memset(name, 'n', sizeof(name));
    name[899] = '\0';
    image_start(&image, &(struct image_spec){.size = MIB});
    for (uint32_t i = 0; i < 7; i++) {
        char id[2] = {(char)('0' + i), '\0'};
        struct extra extra = extra_of(0, MIB, 0);
        image_snapshot(&image, &(struct image_snapshot_spec){.id = id,
                                                             .name = i == 6 ? "last" : name,
                                                             .extra = &extra,
                                                             .extra_size = 24});
    }
    table = image_snapshots_write(&image);
    for (uint64_t at = 0; at < 8 * KIB; at += 256) {
        for (size_t i = 0; i < 3; i++) {
            struct fixture f;
            enum q2_status status;

            fixture_start(&f, &image);
            f.options.snapshot = wanted[i];
            f.options.metadata_only = true;
            f.image.bad_start = table + at;
            f.image.bad_end = table + at + 256;
            status = fixture_open(&f);
            T_CHECK(status == Q2_ERR_IO || status == (i == 2 ? Q2_ERR_NO_SNAPSHOT : Q2_OK));
            T_CHECK(at > 0 || status == Q2_ERR_IO);
            fixture_end(&f);
        }
    }
    image_free(&image);
}

int main(void)
{
    T_RUN(test_snapshot_list_all_fields);
    T_RUN(test_snapshot_read_each_state);
    T_RUN(test_snapshot_own_virtual_size);
    T_RUN(test_snapshot_extra_data_of_every_length);
    T_RUN(test_snapshot_extra_data_past_the_limit_is_refused);
    T_RUN(test_snapshot_table_past_the_limit_is_refused);
    T_RUN(test_snapshot_past_the_limit_fails_the_same_way_again);
    T_RUN(test_snapshot_icount_of_all_ones_is_none);
    T_RUN(test_snapshot_long_strings_are_cut);
    T_RUN(test_snapshot_list_is_one_walk);
    T_RUN(test_snapshot_list_begins_anew);
    T_RUN(test_snapshot_extra_data_unreadable);
    T_RUN(test_snapshot_bad_sector_anywhere);
    return t_done();
}
