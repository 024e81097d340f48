/* core/write/order.c, from inside: references that go. */
#include <stdlib.h>

#include "core/read/disk.h"
#include "core/read/refcount.h"
#include "core/write/order.h"
#include "core/write/refcount_write.h"
#include "tests/support/fixture.h"
#include "tests/support/t.h"

#define KIB      1024ull
#define CAPACITY (1024 * KIB)

static struct image image;
static struct fixture f;
static uint8_t *memory;
static uint64_t host; /* of guest cluster 0 */

static void setup(uint64_t refcount)
{
    image_start(&image, &(struct image_spec){.size = 64 * KIB, .cluster_bits = 12});
    host = image_data(&image, 0, 1);
    memory = calloc(1, CAPACITY);
    fixture_start_writable(&f, &image, memory, CAPACITY);
    T_CHECK_U64(fixture_open(&f), Q2_OK);
    T_CHECK_U64(q2_refcount_put(&f.disk->slices, &f.disk->layers[0], host >> 12, refcount), Q2_OK);
    T_CHECK_U64(q2_commit(f.disk), Q2_OK);
}

static void cleanup(void)
{
    fixture_end(&f);
    image_free(&image);
    free(memory);
}

static void check_refcount(uint64_t want)
{
    uint64_t refcount = 77;

    T_CHECK_U64(q2_refcount_get(&f.disk->slices, &f.disk->layers[0], host >> 12, &refcount), Q2_OK);
    T_CHECK_U64(refcount, want);
}

/* No refcount becomes less than 0. */
static void test_refcount_lower_by_more_than_there_is(void)
{
    setup(2);
    T_CHECK_U64(q2_refcount_lower(f.disk, host >> 12, 3), Q2_ERR_BAD_REFCOUNT);
    check_refcount(2);
    cleanup();
}

static enum q2_status reserve_nothing(struct q2_source *source, uint64_t offset, uint64_t length)
{
    (void)source, (void)offset, (void)length;
    return Q2_ERR_NO_SPACE;
}

/* The device is full under the refcounts. */
static void test_refcount_lower_that_fails(void)
{
    for (uint64_t refcount = 1; refcount <= 2; refcount++) {
        static struct q2_source_ops ops;

        setup(refcount);
        ops = *f.image.source.ops;
        ops.reserve = reserve_nothing;
        f.image.source.ops = &ops;
        q2_windows_clear(&f.disk->windows);
        q2_slice_cache_init(&f.disk->slices, &f.disk->windows);
        T_CHECK_U64(q2_refcount_lower(f.disk, host >> 12, 1), Q2_ERR_NO_SPACE);
        check_refcount(refcount);
        cleanup();
    }
}

/* Only a cluster that is free is searched again, and no stream is packed into it any more. */
static void test_refcount_lower_to_nothing_or_not(void)
{
    for (uint64_t refcount = 1; refcount <= 2; refcount++) {
        struct q2_writer *writer;

        t_row(refcount == 1 ? "the last reference" : "one of two");
        setup(refcount);
        writer = &f.disk->writer;
        writer->packed_end = host + 100;
        writer->first_free = (host >> 12) + 1;
        T_CHECK_U64(q2_refcount_lower(f.disk, host >> 12, 1), Q2_OK);
        check_refcount(refcount - 1);
        T_CHECK_U64(writer->packed_end, refcount == 1 ? 0 : host + 100);
        T_CHECK_U64(writer->first_free, (host >> 12) + (refcount == 1 ? 0 : 1));
        cleanup();
    }
}

/* A range that waits has no references: the disk is read-only from then on. (O10) */
static void test_commit_of_references_that_there_are_not(void)
{
    setup(0);
    q2_clusters_free_later(f.disk, host, 4 * KIB);
    T_CHECK_U64(q2_commit(f.disk), Q2_ERR_BAD_REFCOUNT);
    T_CHECK(!q2_disk_is_writable(f.disk));
    cleanup();
}

int main(void)
{
    T_RUN(test_refcount_lower_by_more_than_there_is);
    T_RUN(test_refcount_lower_that_fails);
    T_RUN(test_refcount_lower_to_nothing_or_not);
    T_RUN(test_commit_of_references_that_there_are_not);
    return t_done();
}
