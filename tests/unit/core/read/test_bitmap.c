/* core/read/bitmap.c: the bitmap directory. */
#include <stdlib.h>

#include "tests/support/fixture.h"
#include "tests/support/t.h"

#define KIB 1024ull
#define MIB (1024 * KIB)

static struct image image;
static struct fixture f;
static uint64_t directory;

struct entry {
    uint64_t table_offset;
    uint32_t table_size, flags, extra_size;
    uint8_t granularity_bits;
    const char *name;
};

static uint64_t put_entry(uint64_t at, const struct entry *entry)
{
    size_t name = strlen(entry->name);

    image_put64(&image, at, entry->table_offset);
    image_put32(&image, at + 8, entry->table_size);
    image_put32(&image, at + 12, entry->flags);
    image_put32(&image, at + 16,
                1u << 24 | (uint32_t)entry->granularity_bits << 16 | (uint32_t)name);
    image_put32(&image, at + 20, entry->extra_size);
    image_put(&image, at + 24 + entry->extra_size, entry->name, name);
    return (at + 24 + entry->extra_size + name + 7) & ~7ull;
}

static void setup(const struct entry *entries, uint32_t nb)
{
    uint64_t at, extension;

    image_start(&image, &(struct image_spec){.size = MIB});
    extension = image_extension(&image, 0x23852875, "012345678901234567890123", 24);
    at = directory = image_alloc(&image, 1);
    for (uint32_t i = 0; i < nb; i++)
        at = put_entry(at, &entries[i]);
    image_put32(&image, extension + 8, nb);
    image_put32(&image, extension + 12, 0);
    image_put64(&image, extension + 16, at - directory);
    image_put64(&image, extension + 24, directory);
    fixture_start(&f, &image);
    T_CHECK_U64(fixture_open(&f), Q2_OK);
}

static void cleanup(void)
{
    fixture_end(&f);
    image_free(&image);
}

static void test_bitmap_list_all_fields(void)
{
    static char long_name[1024];
    struct entry entries[3] = {
        {0x10000, 3, Q2_BITMAP_AUTO, 0, 16, "first"},
        {0x20000, 4, Q2_BITMAP_IN_USE, 33, 9, "second, with extra data"},
        {0x30000, 5, 0, 0, 31, long_name},
    };
    struct q2_bitmap bitmap;

    memset(long_name, 'n', 1023);
    setup(entries, 3);
    T_CHECK_U64(q2_disk_nb_bitmaps(f.disk), 3);
    for (uint32_t i = 0; i < 3; i++) {
        T_CHECK_U64(q2_disk_bitmap(f.disk, i, &bitmap), Q2_OK);
        T_CHECK_U64(bitmap.table_offset, entries[i].table_offset);
        T_CHECK_U64(bitmap.table_size, entries[i].table_size);
        T_CHECK_U64(bitmap.flags, entries[i].flags);
        T_CHECK_U64(bitmap.granularity_bits, entries[i].granularity_bits);
        T_CHECK_STR(bitmap.name, entries[i].name);
    }
    T_CHECK_U64(q2_disk_bitmap(f.disk, 3, &bitmap), Q2_ERR_RANGE);
    T_CHECK_STR(fixture_text(&f), "img/top.qcow2: no such bitmap (bitmap index is 3, limit 3)");
    cleanup();
}

static void test_bitmap_none(void)
{
    struct q2_bitmap bitmap;

    setup(NULL, 0);
    T_CHECK_U64(q2_disk_nb_bitmaps(f.disk), 0);
    T_CHECK_U64(q2_disk_bitmap(f.disk, 0, &bitmap), Q2_ERR_RANGE);
    cleanup();
}

/* Entry 0 is in the first slice, its name ends in the second; entry 1 in the third. */
static void test_bitmap_unreadable_directory(void)
{
    static const struct entry entries[2] = {{0x10000, 3, 0, 4090, 16, "first of the two"},
                                            {0x10000, 3, 0, 4090, 16, "second"}};
    struct q2_bitmap bitmap;

    setup(entries, 2);
    f.image.bad_start = directory;
    f.image.bad_end = directory + 1;
    T_CHECK_U64(q2_disk_bitmap(f.disk, 0, &bitmap), Q2_ERR_IO);
    T_CHECK_U64(q2_disk_fault(f.disk)->offset, directory);
    f.image.bad_start = directory + 4096;
    f.image.bad_end = directory + 4097;
    T_CHECK_U64(q2_disk_bitmap(f.disk, 0, &bitmap), Q2_ERR_IO);
    f.image.bad_end = f.image.bad_start;
    T_CHECK_U64(q2_disk_bitmap(f.disk, 0, &bitmap), Q2_OK);
    T_CHECK_U64(q2_disk_bitmap(f.disk, 1, &bitmap), Q2_OK);
    T_CHECK_STR(bitmap.name, "second");
    cleanup();
}

/* The second entry has no name: it is told with its place in the file. */
static void test_bitmap_wrong_entry(void)
{
    static const struct entry entries[2] = {{0x10000, 3, 0, 0, 16, "first"},
                                            {0x10000, 3, 0, 0, 16, ""}};
    struct q2_bitmap bitmap;

    setup(entries, 2);
    T_CHECK_U64(q2_disk_bitmap(f.disk, 1, &bitmap), Q2_ERR_BAD_BITMAP);
    T_CHECK_STR(q2_disk_fault(f.disk)->what, "a bitmap's name is empty or too long");
    T_CHECK_U64(q2_disk_fault(f.disk)->offset, directory + 32);
    cleanup();
}

/* Leave bytes on the stack that no bool has: the sanitizer tells who takes them for one. */
__attribute__((noinline)) static void leave_bytes_on_the_stack(void)
{
    volatile uint8_t bytes[4 * KIB];

    for (size_t i = 0; i < sizeof(bytes); i++)
        bytes[i] = 0x99;
}

/* Bits that cannot be read are an error: neither clean nor dirty. */
static void test_bitmap_dirty_where_bits_cannot_be_read(void)
{
    static const struct entry entry = {0x10000, 1, Q2_BITMAP_AUTO, 0, 16, "bitmap"};
    struct q2_bitmap bitmap;
    uint64_t table, bits, offset, length;

    setup(&entry, 1);
    fixture_end(&f);
    table = image_alloc(&image, 2);
    bits = table + 64 * KIB;
    image_put64(&image, directory, table);
    image_put64(&image, table, bits);
    image_put64(&image, bits, 1ull << 58); /* bit 2 */
    fixture_start(&f, &image);
    T_CHECK_U64(fixture_open(&f), Q2_OK);
    T_CHECK_U64(q2_disk_bitmap(f.disk, 0, &bitmap), Q2_OK);
    t_row("the table");
    f.image.bad_start = table;
    f.image.bad_end = table + 1;
    leave_bytes_on_the_stack();
    T_CHECK_U64(q2_disk_bitmap_dirty(f.disk, &bitmap, 0, &offset, &length), Q2_ERR_IO);
    T_CHECK_STR(q2_disk_fault(f.disk)->what, "a bitmap's table cannot be read");
    t_row("the bits");
    f.image.bad_start = bits;
    f.image.bad_end = bits + 1;
    T_CHECK_U64(q2_disk_bitmap_dirty(f.disk, &bitmap, 0, &offset, &length), Q2_ERR_IO);
    T_CHECK_STR(q2_disk_fault(f.disk)->what, "a bitmap cannot be read");
    T_CHECK_U64(q2_disk_fault(f.disk)->offset, bits);
    t_row("once");
    f.image.bad_end = bits;
    f.image.fail_call = f.image.nb_reads + 1;
    T_CHECK_U64(q2_disk_bitmap_dirty(f.disk, &bitmap, 0, &offset, &length), Q2_ERR_IO);
    t_row("and then they can");
    T_CHECK_U64(q2_disk_bitmap_dirty(f.disk, &bitmap, 0, &offset, &length), Q2_OK);
    T_CHECK(offset == 128 * KIB && length == 64 * KIB);
    cleanup();
}

int main(void)
{
    T_RUN(test_bitmap_list_all_fields);
    T_RUN(test_bitmap_none);
    T_RUN(test_bitmap_unreadable_directory);
    T_RUN(test_bitmap_wrong_entry);
    T_RUN(test_bitmap_dirty_where_bits_cannot_be_read);
    return t_done();
}
