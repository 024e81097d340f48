/* core/write/table.c and all that changes L2 entries: an entry's flags keep their meaning when its
 * L2 table is copied. Every kind of data file, with and without subclusters, with every state of
 * the L1 entry, and every operation that can be the first to change the table. */
#include <stdlib.h>

#include "core/format/l2_entry.h"
#include "q2_amend.h"
#include "q2_snapshot.h"
#include "tests/support/fixture.h"
#include "tests/support/t.h"

#define KIB      1024ull
#define CLUSTER  (16 * KIB)
#define SIZE     (8 * CLUSTER)
#define CAPACITY (1024 * KIB)

enum data {
    INSIDE,
    EXTERNAL,
    EXTERNAL_RAW,
};
static const char *const data_names[] = {"inside", "data file", "raw data file"};

/* What the L1 entry says of the L2 table. */
enum l1 {
    L1_COPIED,
    L1_CLEAR,    /* refcount 1: the flag could be set */
    L1_CLEAR_TWO /* refcount 2: one reference is leaked */
};
static const char *const l1_names[] = {"COPIED", "clear", "clear, refcount 2"};

/* What guest cluster 0 is. */
enum first {
    FIRST_DATA,
    FIRST_ZERO,
    FIRST_ZERO_ALLOCATED,
    FIRST_NOTHING
};
static const char *const first_names[] = {"data", "zero", "allocated zero", "nothing"};

static struct image image;
static struct fixture f;
static uint8_t *memory, *data_memory, *model;

/* --- images --------------------------------------------------------------------------------- */

static void build_first(enum first first)
{
    switch (first) {
    case FIRST_DATA:
        (void)image_data(&image, 0, 1);
        break;
    case FIRST_ZERO:
        (void)(image.spec.extended ? image_subclusters(&image, 0, 0, UINT32_MAX, 0)
                                   : image_zero(&image, 0, false));
        break;
    case FIRST_ZERO_ALLOCATED:
        (void)(image.spec.extended ? image_subclusters(&image, 0, 0xff, 0xff00, 1)
                                   : image_zero(&image, 0, true));
        break;
    case FIRST_NOTHING:
    default:
        break;
    }
}

static void build(enum data data, bool extended, enum l1 l1, enum first first)
{
    uint64_t at, entry;

    image_start(&image, &(struct image_spec){.size = SIZE,
                                             .cluster_bits = 14,
                                             .extended = extended,
                                             .external = data != INSIDE});
    if (data != INSIDE)
        image_data_name(&image, "data.raw");
    if (data == EXTERNAL_RAW)
        image_field_set(&image, "autoclear_features", Q2_AUTOCLEAR_RAW_EXTERNAL);
    build_first(first);
    (void)image_data(&image, CLUSTER, 2);
    (void)image_data(&image, 2 * CLUSTER, 3);
    if (data == EXTERNAL_RAW) { /* it is a raw image of the disk */
        image.data = realloc(image.data, SIZE);
        memcpy(image.data, image.model.bytes, SIZE);
        image.data_size = SIZE;
    }
    at = image_l1_entry(&image, 0);
    entry = image_get64(&image, at);
    if (l1 != L1_COPIED)
        image_put64(&image, at, entry & ~Q2_ENTRY_COPIED);
    if (l1 == L1_CLEAR_TWO)
        image_refcount_set(&image, (entry & Q2_ENTRY_OFFSET) / CLUSTER, 2);
}

static enum q2_status setup(void)
{
    fixture_start_writable(&f, &image, memory, CAPACITY);
    if (image.spec.external) {
        memcpy(data_memory, image.data, image.data_size);
        fake_source_init_writable(&f.data, FIXTURE_DATA_PATH, data_memory, image.data_size,
                                  CAPACITY);
    }
    memset(model, 0, 2 * SIZE);
    memcpy(model, image.model.bytes, SIZE);
    return fixture_open(&f);
}

/* --- operations ------------------------------------------------------------------------------ */

static uint64_t disk_size;

static enum q2_status write_elsewhere(void)
{
    return fixture_fill(&f, model, 5 * CLUSTER, CLUSTER, 0x55);
}
static enum q2_status write_beside(void)
{
    return fixture_fill(&f, model, CLUSTER + 100, 1000, 0x56);
}
static enum q2_status write_first(void)
{
    return fixture_fill(&f, model, 700, 3, 0x57);
}
static enum q2_status zero_range(uint64_t offset, uint64_t length)
{
    memset(model + offset, 0, length);
    return q2_disk_write_zeroes(f.disk, offset, length);
}
static enum q2_status zero_elsewhere(void)
{
    return zero_range(CLUSTER, CLUSTER);
}
static enum q2_status zero_part_elsewhere(void)
{
    return zero_range(2 * CLUSTER + 1024, 2048);
}
static enum q2_status zero_first(void)
{
    return zero_range(0, CLUSTER);
}
static enum q2_status zero_part_of_first(void)
{
    return zero_range(1024, 1024);
}
static enum q2_status discard_elsewhere(void)
{
    memset(model + CLUSTER, 0, CLUSTER);
    return q2_disk_discard(f.disk, CLUSTER, CLUSTER);
}
static enum q2_status discard_first(void)
{
    memset(model, 0, CLUSTER);
    return q2_disk_discard(f.disk, 0, CLUSTER);
}
static enum q2_status preallocate(void)
{
    return q2_disk_preallocate(f.disk, 0, SIZE, false);
}
static enum q2_status grow(void)
{
    disk_size = SIZE + 3 * CLUSTER;
    return q2_disk_resize(f.disk, disk_size, false);
}
static enum q2_status shrink(void)
{
    disk_size = 2 * CLUSTER;
    return q2_disk_resize(f.disk, disk_size, true);
}
static enum q2_status snapshot(void)
{
    enum q2_status status = q2_disk_snapshot_create(f.disk, "s", 0, 0);

    return image.spec.external && status == Q2_ERR_UNSUPPORTED ? Q2_OK : status;
}

static const struct {
    const char *name;
    enum q2_status (*run)(void);
} operations[] = {
    {"write elsewhere", write_elsewhere},
    {"write beside", write_beside},
    {"write into it", write_first},
    {"zeros elsewhere", zero_elsewhere},
    {"zeros in a part elsewhere", zero_part_elsewhere},
    {"zeros over it", zero_first},
    {"zeros over a part of it", zero_part_of_first},
    {"discard elsewhere", discard_elsewhere},
    {"discard it", discard_first},
    {"preallocate", preallocate},
    {"grow", grow},
    {"shrink", shrink},
    {"snapshot", snapshot},
};
#define NB_OPERATIONS (sizeof(operations) / sizeof(operations[0]))

static void check_same(void)
{
    T_CHECK_U64(q2_disk_size(f.disk), disk_size);
    T_CHECK_U64(fixture_first_difference(&f, model, disk_size), FIXTURE_SAME);
}

/* Content before and after the image is opened again, after one operation and after a second
 * one. */
static void run_one(size_t first_operation, size_t second_operation)
{
    if (!T_CHECK_U64(setup(), Q2_OK)) {
        printf("# %s\n", fixture_text(&f));
        fixture_end(&f);
        return;
    }
    disk_size = SIZE;
    T_CHECK_U64(operations[first_operation].run(), Q2_OK);
    check_same();
    if (operations[second_operation].run != snapshot && disk_size >= SIZE) {
        T_CHECK_U64(operations[second_operation].run(), Q2_OK);
        check_same();
    }
    T_CHECK_U64(q2_disk_flush(f.disk), Q2_OK);
    fixture_close(&f);
    if (T_CHECK_U64(fixture_open(&f), Q2_OK))
        check_same();
    fixture_end(&f);
}

static void run_image(enum data data, bool extended, enum l1 l1, enum first first)
{
    char row[128];

    for (size_t a = 0; a < NB_OPERATIONS; a++) {
        size_t b = (a + 1 + (size_t)first + 4 * (size_t)l1) % NB_OPERATIONS;

        snprintf(row, sizeof(row), "%s%s, L1 %s, first cluster %s: %s, then %s", data_names[data],
                 extended ? ", extended" : "", l1_names[l1], first_names[first], operations[a].name,
                 operations[b].name);
        t_row(row);
        build(data, extended, l1, first);
        run_one(a, b);
        image_free(&image);
    }
    t_row("");
}

static void test_flags_of_entries_survive_every_operation(void)
{
    for (enum data data = INSIDE; data <= EXTERNAL_RAW; data++) {
        for (int extended = 0; extended < 2; extended++) {
            enum first last = data == INSIDE ? FIRST_DATA : FIRST_NOTHING;

            for (enum first first = FIRST_DATA; first <= last; first++)
                run_image(data, extended != 0, L1_CLEAR, first);
            run_image(data, extended != 0, L1_COPIED, FIRST_DATA);
            run_image(data, extended != 0, L1_CLEAR_TWO, FIRST_DATA);
        }
    }
}

/* A copy of a table keeps COPIED for the clusters of a data file, where offset 0 needs it; in the
 * image itself the copies are of shared clusters. */
static void test_copy_of_a_table_keeps_copied_only_with_a_data_file(void)
{
    for (enum data data = INSIDE; data <= EXTERNAL_RAW; data++) {
        uint64_t table;

        t_row(data_names[data]);
        build(data, false, L1_CLEAR, FIRST_DATA);
        T_CHECK_U64(setup(), Q2_OK);
        disk_size = SIZE;
        T_CHECK_U64(write_elsewhere(), Q2_OK);
        T_CHECK_U64(q2_disk_flush(f.disk), Q2_OK);
        image.bytes = realloc(image.bytes, CAPACITY);
        memcpy(image.bytes, memory, CAPACITY);
        image.size = image.capacity = CAPACITY;
        table = image_get64(&image, image_l1_entry(&image, 0)) & Q2_ENTRY_OFFSET;
        T_CHECK_U64(image_get64(&image, table) >> 63, data == INSIDE ? 0 : 1);
        T_CHECK_U64(image_get64(&image, table + 5 * 8) >> 63, 1);
        fixture_end(&f);
        image_free(&image);
    }
    t_row("");
}

/* Snapshots of an image with a data file share its clusters in place: a write would change what
 * they show. Nobody makes such images, and ours are not written. */
static void test_data_file_with_snapshots_is_only_read(void)
{
    build(EXTERNAL, false, L1_COPIED, FIRST_DATA);
    image_snapshot(&image, &(struct image_snapshot_spec){.id = "1", .name = "s"});
    (void)image_snapshots_write(&image);
    T_CHECK_U64(setup(), Q2_ERR_UNSUPPORTED);
    T_CHECK_STR(fixture_text(&f), "img/top.qcow2: an image with an external data file and "
                                  "snapshots can only be read");
    f.options.writable = false;
    T_CHECK_U64(fixture_open(&f), Q2_OK);
    fixture_end(&f);
    image_free(&image);
}

int main(void)
{
    memory = calloc(1, CAPACITY);
    data_memory = calloc(1, CAPACITY);
    model = calloc(2, SIZE);
    T_RUN(test_flags_of_entries_survive_every_operation);
    T_RUN(test_copy_of_a_table_keeps_copied_only_with_a_data_file);
    T_RUN(test_data_file_with_snapshots_is_only_read);
    free(memory);
    free(data_memory);
    free(model);
    return t_done();
}
