/* Every call of the file fails once, in turn, inside the operations that change an image: what is
 * there afterwards is the old or the new, byte by byte, and the check finds leaks at most.
 *
 * tests/fault/ does this for guest writes with power cuts on top; here are the others, with cold
 * caches, so that each read of a table can fail too.
 */
#include <stdlib.h>

#include "core/read/disk.h"
#include "tests/support/fixture.h"
#include "q2_amend.h"
#include "q2_check.h"
#include "q2_snapshot.h"
#include "tests/support/t.h"

#define KIB      1024ull
#define MIB      (1024 * KIB)
#define CAPACITY (4 * MIB)
#define SIZE     (256 * KIB)
#define GROWN    (300 * KIB)

/* Failures tried per kind of call; longer operations are sampled. */
#define MAX_TRIES 60u

static struct image image;
static struct fixture f;
static uint8_t *memory, *start, *old_bytes, *new_bytes, *found;
static uint64_t start_size;

/* --- operations ------------------------------------------------------------------------------- */

static enum q2_status op_create(struct q2_disk *disk)
{
    return q2_disk_snapshot_create(disk, "second", 1, 2);
}

static enum q2_status op_apply(struct q2_disk *disk)
{
    return q2_disk_snapshot_apply(disk, "first");
}

static enum q2_status op_delete(struct q2_disk *disk)
{
    return q2_disk_snapshot_delete(disk, "first");
}

static enum q2_status op_grow(struct q2_disk *disk)
{
    return q2_disk_resize(disk, GROWN, false);
}

static enum q2_status op_shrink(struct q2_disk *disk)
{
    return q2_disk_resize(disk, SIZE / 2 + 512, true);
}

static enum q2_status op_empty(struct q2_disk *disk)
{
    return q2_disk_make_empty(disk);
}

static enum q2_status op_preallocate(struct q2_disk *disk)
{
    return q2_disk_preallocate(disk, 0, SIZE, true);
}

static enum q2_status op_preallocate_only(struct q2_disk *disk)
{
    return q2_disk_preallocate(disk, 1000, SIZE - 5000, false);
}

static enum q2_status op_discard(struct q2_disk *disk)
{
    return q2_disk_discard(disk, 700, SIZE - 900);
}

static enum q2_status op_zeroes(struct q2_disk *disk)
{
    return q2_disk_write_zeroes(disk, 300, SIZE - 900);
}

static enum q2_status op_write(struct q2_disk *disk)
{
    static uint8_t bytes[100 * KIB];

    memset(bytes, 0x77, sizeof(bytes));
    return q2_disk_write(disk, 50 * KIB + 100, bytes, sizeof(bytes));
}

static enum q2_status op_version(struct q2_disk *disk)
{
    const struct q2_format_change old = {.version = 2}, new = {.version = 3};
    enum q2_status status = q2_disk_change_format(disk, &old);

    return status == Q2_OK ? q2_disk_change_format(disk, &new) : status;
}

static enum q2_status op_width(struct q2_disk *disk)
{
    const struct q2_format_change narrow = {.refcount_bits = 2}, wide = {.refcount_bits = 64};
    enum q2_status status = q2_disk_change_format(disk, &narrow);

    return status == Q2_OK ? q2_disk_change_format(disk, &wide) : status;
}

/* Streams of the fake codec for clusters in a row, packed one after the other. */
static enum q2_status op_compressed(struct q2_disk *disk)
{
    static const uint8_t stream[100] = {1};
    enum q2_status status = Q2_OK;

    for (uint64_t i = 0; i < 12 && status == Q2_OK; i++)
        status = q2_disk_write_compressed(disk, 128 * KIB + i * image_cluster_size(&image), stream,
                                          sizeof(stream) - i * 3);
    return status;
}

static const struct op {
    const char *name;
    enum q2_status (*run)(struct q2_disk *disk);
    bool needs_snapshot; /* one more: with it the clusters are shared */
    bool no_content;     /* what it leaves cannot be read: streams of no codec */
} ops[] = {
    {"snapshot create", op_create, true, false},
    {"snapshot apply", op_apply, true, false},
    {"snapshot delete", op_delete, true, false},
    {"grow", op_grow, false, false},
    {"shrink", op_shrink, false, false},
    {"make empty", op_empty, false, false},
    {"preallocate", op_preallocate, false, false},
    {"preallocate without zeros", op_preallocate_only, false, false},
    {"preallocate, shared", op_preallocate_only, true, false},
    {"discard", op_discard, false, false},
    {"discard, shared", op_discard, true, false},
    {"write zeroes", op_zeroes, false, false},
    {"write zeroes, shared", op_zeroes, true, false},
    {"write", op_write, false, false},
    {"write, shared", op_write, true, false},
    {"version", op_version, false, false},
    {"version, shared", op_version, true, false},
    {"refcount width", op_width, false, false},
    {"refcount width, shared", op_width, true, false},
    {"compressed", op_compressed, false, true},
};

/* --- running ---------------------------------------------------------------------------------- */

static enum q2_status open_image(bool writable)
{
    f.options.writable = writable;
    return fixture_open(&f);
}

/* The image as it was before any operation, open for writing, nothing in its caches. */
static bool open_start(void)
{
    memset(memory, 0, CAPACITY);
    memcpy(memory, start, start_size);
    fixture_start(&f, &image);
    fake_source_init_writable(&f.image, FIXTURE_IMAGE_PATH, memory, start_size, CAPACITY);
    if (!T_CHECK_U64(open_image(true), Q2_OK))
        return false;
    q2_windows_clear(&f.disk->windows);
    q2_slice_cache_init(&f.disk->slices, &f.disk->windows);
    return true;
}

static void read_all(uint8_t *to)
{
    uint64_t size = q2_disk_size(f.disk);

    memset(to, 0, GROWN);
    if (T_CHECK(size <= GROWN))
        T_CHECK_U64(q2_disk_read(f.disk, 0, to, size), Q2_OK);
}

/* Each byte is old or new. */
static void check_bytes(void)
{
    for (uint64_t at = 0; at < GROWN; at++) {
        if (found[at] != old_bytes[at] && found[at] != new_bytes[at]) {
            T_CHECK_U64(at, GROWN);
            return;
        }
    }
}

/* Open again: readable, consistent, old or new. */
static void judge(const struct op *op)
{
    fake_source_fail_nth(&f.image, FAKE_READ, 0);
    if (!T_CHECK_U64(open_image(false), Q2_OK))
        return;
    T_CHECK_U64(fixture_nb_dangerous(&f), 0);
    if (op->no_content)
        return;
    read_all(found);
    check_bytes();
}

static void build(const struct op *op, uint32_t cluster_bits)
{
    uint64_t cluster = 1ull << cluster_bits;

    image_start(&image, &(struct image_spec){
                            .size = SIZE, .cluster_bits = cluster_bits, .max_clusters = 4096});
    for (uint64_t at = 0; at + cluster <= SIZE; at += 3 * cluster)
        (void)image_data(&image, at, 1);
    (void)image_zero(&image, cluster, true);
    (void)image_zero(&image, 4 * cluster, false);
    (void)image_compressed(&image, 7 * cluster, 2);
    memcpy(memory, image.bytes, image.size);
    start_size = image.size;
    fixture_start(&f, &image);
    fake_source_init_writable(&f.image, FIXTURE_IMAGE_PATH, memory, image.size, CAPACITY);
    T_CHECK_U64(open_image(true), Q2_OK);
    if (op->needs_snapshot) {
        T_CHECK_U64(q2_disk_snapshot_create(f.disk, "first", 1, 2), Q2_OK);
        T_CHECK_U64(op_write(f.disk), Q2_OK);
        T_CHECK_U64(q2_disk_flush(f.disk), Q2_OK);
    }
    read_all(old_bytes);
    start_size = f.image.source.size;
    memcpy(start, memory, start_size);
    fixture_end(&f);
}

/* Without a failure; returns how many calls of a kind it makes. */
static uint64_t run_once(const struct op *op, enum fake_kind kind)
{
    uint64_t nb;

    if (!open_start())
        return 0;
    fake_source_fail_nth(&f.image, kind, 0);
    T_CHECK_U64(op->run(f.disk), Q2_OK);
    T_CHECK_U64(q2_disk_flush(f.disk), Q2_OK);
    nb = fake_source_nb_calls(&f.image, kind);
    if (!op->no_content)
        read_all(new_bytes);
    judge(op);
    fixture_end(&f);
    return nb;
}

static void run_failing(const struct op *op, enum fake_kind kind, uint64_t n)
{
    enum q2_status status;

    if (!open_start())
        return;
    fake_source_fail_nth(&f.image, kind, n);
    status = op->run(f.disk);
    if (status == Q2_OK)
        status = q2_disk_flush(f.disk);
    if (status == Q2_OK)
        T_CHECK(kind != FAKE_WRITE && kind != FAKE_FLUSH); /* such a failure is always told */
    judge(op);
    fixture_end(&f);
}

static void run_op(const struct op *op, uint32_t cluster_bits)
{
    char row[100];

    t_row(op->name);
    build(op, cluster_bits);
    for (enum fake_kind kind = 0; kind < FAKE_NB_KINDS; kind++) {
        uint64_t nb = run_once(op, kind), step = nb / MAX_TRIES + 1;
        for (uint64_t n = 1; n <= nb; n += step) {
            (void)snprintf(row, sizeof(row), "%s, clusters of %u, %s %u of %u", op->name,
                           1u << cluster_bits, fake_kind_names[kind], (unsigned)n, (unsigned)nb);
            t_row(row);
            run_failing(op, kind, n);
        }
    }
    image_free(&image);
}

static void run_all(uint32_t cluster_bits)
{
    memory = malloc(CAPACITY);
    start = malloc(CAPACITY);
    old_bytes = malloc(GROWN);
    new_bytes = malloc(GROWN);
    found = malloc(GROWN);
    for (size_t i = 0; i < sizeof(ops) / sizeof(ops[0]); i++)
        run_op(&ops[i], cluster_bits);
    free(memory);
    free(start);
    free(old_bytes);
    free(new_bytes);
    free(found);
}

static void test_fail_ops_clusters_of_512(void)
{
    run_all(9);
}

static void test_fail_ops_clusters_of_4096(void)
{
    run_all(12);
}

int main(void)
{
    T_RUN(test_fail_ops_clusters_of_512);
    T_RUN(test_fail_ops_clusters_of_4096);
    return t_done();
}
