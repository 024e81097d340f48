/* core/read/disk.c: the engine's face. Whole images read back, bounds, options, faults, layers. */
#include "core/read/disk.h"
#include "tests/support/fixture.h"
#include "tests/support/t.h"

#define KIB 1024ull
#define MIB (1024 * KIB)

/* One cluster of each kind, twice, with a hole at both ends. */
static void build_mixed(struct image *image, const struct image_spec *spec)
{
    uint64_t cluster = 1ull << (spec->cluster_bits ? spec->cluster_bits : 16);

    image_start(image, spec);
    for (uint64_t i = 0; i < 2; i++) {
        uint64_t at = cluster * (1 + 7 * i);
        image_data(image, at, 1);
        image_data(image, at + cluster, 2);
        image_zero(image, at + 2 * cluster, false);
        image_zero(image, at + 3 * cluster, true);
        if (!spec->external)
            image_compressed(image, at + 4 * cluster, 3);
        image_data(image, at + 5 * cluster, 4);
    }
}

static void test_disk_read_every_geometry_is_the_model(void)
{
    static const struct {
        const char *row;
        struct image_spec spec;
    } rows[] = {
        {"64 KiB clusters", {.size = MIB}},
        {"512 byte clusters", {.size = 16 * 512, .cluster_bits = 9}},
        {"512 byte clusters, several L2 tables", {.size = 200 * 512, .cluster_bits = 9}},
        {"4 KiB clusters, zstd", {.size = 64 * KIB, .cluster_bits = 12, .compression_type = 1}},
        {"2 MiB clusters", {.size = 15 * MIB, .cluster_bits = 21, .max_clusters = 32}},
        {"size no multiple of the cluster", {.size = MIB - 512 * 3}},
        {"size no multiple of 512 (F14)", {.size = 15 * 512 + 1, .cluster_bits = 9}},
        {"extended L2", {.size = 16 * 16 * KIB, .cluster_bits = 14, .extended = true}},
        {"external data file", {.size = MIB, .external = true}},
        {"external, extended L2",
         {.size = 16 * 16 * KIB, .cluster_bits = 14, .extended = true, .external = true}},
        {"header of 104 bytes", {.size = MIB, .header_length = 104}},
        {"L1 table larger than needed", {.size = MIB, .l1_size = 100}},
        {"1 bit refcounts", {.size = MIB, .refcount_bits = 16}},
    };

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct image image;
        struct fixture f;

        t_row(rows[i].row);
        build_mixed(&image, &rows[i].spec);
        if (image.data)
            image_data_name(&image, "data.raw");
        fixture_start(&f, &image);
        T_CHECK_STR(q2_status_name(fixture_open(&f)), "Q2_OK");
        if (f.disk) {
            T_CHECK_U64(fixture_first_difference(&f, image.model.bytes, image.spec.size),
                        FIXTURE_SAME);
            T_CHECK_STR(fixture_text(&f), "");
        }
        fixture_end(&f);
        image_free(&image);
    }
}

static void test_disk_read_version_2_is_the_model(void)
{
    static const struct image_spec spec = {.size = MIB, .version = 2};
    struct image image;
    struct fixture f;

    image_start(&image, &spec);
    image_data(&image, 0, 1);
    image_compressed(&image, 65536, 1);
    image_data(&image, MIB - 1, 2);
    fixture_start(&f, &image);
    T_CHECK_U64(fixture_open(&f), Q2_OK);
    T_CHECK_U64(fixture_first_difference(&f, image.model.bytes, MIB), FIXTURE_SAME);
    fixture_end(&f);
    image_free(&image);
}

static void test_disk_read_subclusters_are_the_model(void)
{
    static const uint32_t patterns[][2] = {
        {0xffffffff, 0},          {0, 0xffffffff},
        {0x0000ffff, 0xffff0000}, {0x55555555, 0xaaaaaaaa},
        {0x55555555, 0x00000000}, {0, 0x33333333},
        {0x80000001, 0x00000000}, {0x00000000, 0x80000001},
        {0x0f0f00f0, 0x00f0000f}, {0, 0},
    };
    static const struct image_spec spec = {
        .size = 12 * 16 * KIB, .cluster_bits = 14, .extended = true};
    struct image image;
    struct fixture f;

    image_start(&image, &spec);
    for (size_t i = 0; i < sizeof(patterns) / sizeof(patterns[0]); i++)
        image_subclusters(&image, i * 16 * KIB, patterns[i][0], patterns[i][1], (uint32_t)i);
    fixture_start(&f, &image);
    T_CHECK_U64(fixture_open(&f), Q2_OK);
    T_CHECK_U64(fixture_first_difference(&f, image.model.bytes, spec.size), FIXTURE_SAME);
    fixture_end(&f);
    image_free(&image);
}

static void test_disk_read_size_0(void)
{
    static const struct image_spec spec = {.size = 0};
    struct q2_extent extent;
    struct image image;
    struct fixture f;
    uint8_t byte;

    image_start(&image, &spec);
    fixture_start(&f, &image);
    T_CHECK_U64(fixture_open(&f), Q2_OK);
    T_CHECK_U64(q2_disk_size(f.disk), 0);
    T_CHECK_U64(q2_disk_read(f.disk, 0, &byte, 0), Q2_OK);
    T_CHECK_U64(q2_disk_read(f.disk, 0, &byte, 1), Q2_ERR_RANGE);
    T_CHECK_U64(q2_disk_map(f.disk, 0, 1, &extent), Q2_ERR_RANGE);
    fixture_end(&f);
    image_free(&image);
}

static void test_disk_read_bounds_table(void)
{
    static const struct {
        const char *row;
        uint64_t offset;
        size_t length;
        enum q2_status status;
    } rows[] = {
        {"all", 0, 1000, Q2_OK},
        {"nothing at the end", 1000, 0, Q2_OK},
        {"nothing past the end", 1001, 0, Q2_ERR_RANGE},
        {"last byte", 999, 1, Q2_OK},
        {"one past the end", 999, 2, Q2_ERR_RANGE},
        {"sum wraps", UINT64_MAX, 1, Q2_ERR_RANGE},
    };
    static const struct image_spec spec = {.size = 1000, .cluster_bits = 9};
    struct image image;
    struct fixture f;
    uint8_t buffer[1000];

    image_start(&image, &spec);
    fixture_start(&f, &image);
    T_CHECK_U64(fixture_open(&f), Q2_OK);
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        t_row(rows[i].row);
        T_CHECK_U64(q2_disk_read(f.disk, rows[i].offset, buffer, rows[i].length), rows[i].status);
    }
    T_CHECK_STR(fixture_text(&f), "the range is not inside the disk (guest offset is "
                                  "0xffffffffffffffff, limit 1000)");
    fixture_end(&f);
    image_free(&image);
}

static void test_disk_map_kinds_and_lengths(void)
{
    static const struct image_spec spec = {.size = 12 * 64 * KIB};
    struct q2_extent e;
    struct image image;
    struct fixture f;
    uint64_t host, stream;

    image_start(&image, &spec);
    host = image_data(&image, 64 * KIB, 1);
    (void)image_data(&image, 128 * KIB, 1); /* the next host cluster */
    stream = image_compressed(&image, 192 * KIB, 1);
    (void)image_zero(&image, 256 * KIB, false);
    fixture_start(&f, &image);
    T_CHECK_U64(fixture_open(&f), Q2_OK);

    t_row("hole before");
    T_CHECK_U64(q2_disk_map(f.disk, 10, UINT64_MAX, &e), Q2_OK);
    T_CHECK(e.kind == Q2_EXTENT_UNALLOCATED && e.guest_offset == 10 && e.length == 64 * KIB - 10 &&
            !e.has_host_offset);
    t_row("data, two clusters, from the middle");
    T_CHECK_U64(q2_disk_map(f.disk, 64 * KIB + 5, UINT64_MAX, &e), Q2_OK);
    T_CHECK(e.kind == Q2_EXTENT_DATA && e.length == 128 * KIB - 5 && e.host_offset == host + 5 &&
            e.has_host_offset && e.copied && e.layer == 0);
    t_row("cut by max_length");
    T_CHECK_U64(q2_disk_map(f.disk, 64 * KIB, 100, &e), Q2_OK);
    T_CHECK_U64(e.length, 100);
    t_row("compressed, from the middle");
    T_CHECK_U64(q2_disk_map(f.disk, 192 * KIB + 7, UINT64_MAX, &e), Q2_OK);
    T_CHECK(e.kind == Q2_EXTENT_COMPRESSED && e.length == 64 * KIB - 7 && e.host_offset == stream &&
            e.stream_length > 0 && e.stream_length % 512 == 0);
    t_row("zero");
    T_CHECK_U64(q2_disk_map(f.disk, 256 * KIB, UINT64_MAX, &e), Q2_OK);
    T_CHECK(e.kind == Q2_EXTENT_ZERO && e.length == 64 * KIB && !e.has_host_offset);
    t_row("hole to the end of the disk");
    T_CHECK_U64(q2_disk_map(f.disk, 320 * KIB, UINT64_MAX, &e), Q2_OK);
    T_CHECK(e.kind == Q2_EXTENT_UNALLOCATED && e.length == 7 * 64 * KIB);
    t_row("last byte");
    T_CHECK_U64(q2_disk_map(f.disk, spec.size - 1, 1, &e), Q2_OK);
    T_CHECK_U64(e.length, 1);
    t_row("arguments");
    T_CHECK_U64(q2_disk_map(f.disk, spec.size, 1, &e), Q2_ERR_RANGE);
    T_CHECK_U64(q2_disk_map(f.disk, 0, 0, &e), Q2_ERR_RANGE);
    fixture_end(&f);
    image_free(&image);
}

/* What the header promises of q2_disk_fault(): it speaks of calls that failed. */
static void test_disk_fault_is_of_the_last_call_that_failed(void)
{
    static const struct image_spec spec = {.size = 4 * 64 * KIB};
    struct q2_extent extent;
    struct image image;
    struct fixture f;

    image_start(&image, &spec);
    image_data(&image, 0, 1);
    image_put64(&image, image_l2_entry(&image, 64 * KIB), 2);
    fixture_start(&f, &image);
    T_CHECK_U64(fixture_open(&f), Q2_OK);
    T_CHECK_U64(q2_disk_fault(f.disk)->status, Q2_OK);
    T_CHECK(q2_disk_fault(f.disk)->what == NULL);
    t_row("a run that ends before a bad entry is no failure");
    T_CHECK_U64(q2_disk_map(f.disk, 0, UINT64_MAX, &extent), Q2_OK);
    T_CHECK_U64(extent.length, 64 * KIB);
    T_CHECK_U64(q2_disk_fault(f.disk)->status, Q2_OK);
    t_row("the bad entry is");
    T_CHECK_U64(q2_disk_map(f.disk, 64 * KIB, UINT64_MAX, &extent), Q2_ERR_BAD_L2);
    T_CHECK_U64(q2_disk_fault(f.disk)->status, Q2_ERR_BAD_L2);
    t_row("and stays the last one");
    T_CHECK_U64(q2_disk_map(f.disk, 0, UINT64_MAX, &extent), Q2_OK);
    T_CHECK_U64(q2_disk_fault(f.disk)->status, Q2_ERR_BAD_L2);
    fixture_end(&f);
    image_free(&image);
}

static void test_disk_open_options_are_checked(void)
{
    static const struct image_spec spec = {.size = MIB};
    struct q2_disk_options options = {.writable = false};
    struct q2_fault fault;
    struct q2_disk *disk = NULL;
    struct image image;
    struct fixture f;

    image_start(&image, &spec);
    fixture_start(&f, &image);
    t_row("no opener");
    T_CHECK_U64(q2_disk_open(f.workspace, &f.image.source, NULL, &options, &fault, &disk),
                Q2_ERR_ARGUMENT);
    T_CHECK(disk == NULL && fault.status == Q2_ERR_ARGUMENT);
    T_CHECK_STR(fault.what, "no opener was given");
    t_row("no opener needed for the metadata");
    options.metadata_only = true;
    T_CHECK_U64(q2_disk_open(f.workspace, &f.image.source, NULL, &options, &fault, &disk), Q2_OK);
    q2_disk_close(disk);
    t_row("writing through the function that only reads");
    for (int i = 0; i < 3; i++) {
        options = (struct q2_disk_options){
            .writable = i == 0, .repair = i == 1, .repair_if_dirty = i == 2};
        T_CHECK_U64(
            q2_disk_open_for_reading(f.workspace, &f.image.source, NULL, &options, &fault, &disk),
            Q2_ERR_ARGUMENT);
        T_CHECK_STR(fault.what, "a disk that is opened for reading cannot be written");
    }
    fixture_end(&f);
    image_free(&image);
}

/* A snapshot without its extra data endangers nothing; a refcount that is too low does, beside such
 * a snapshot as well. */
static void test_disk_open_for_writing_by_what_the_check_finds(void)
{
    static const struct {
        const char *row;
        bool incomplete, too_low;
        enum q2_status status;
    } rows[] = {
        {"nothing", false, false, Q2_OK},
        {"a snapshot without extra data", true, false, Q2_OK},
        {"a refcount that is too low", false, true, Q2_ERR_CORRUPT},
        {"both", true, true, Q2_ERR_CORRUPT},
    };
    static uint8_t memory[MIB];

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct image image;
        struct fixture f;

        t_row(rows[i].row);
        image_start(&image, &(struct image_spec){.size = 64 * KIB, .cluster_bits = 12});
        if (rows[i].incomplete) {
            image_snapshot(&image,
                           &(struct image_snapshot_spec){.id = "1", .name = "s", .extra = ""});
            (void)image_snapshots_write(&image);
        }
        image_data(&image, 0, 1);
        if (rows[i].too_low)
            image_refcount_set(&image, (image.size >> 12) - 1, 0);
        fixture_start_writable(&f, &image, memory, sizeof(memory));
        T_CHECK_U64(fixture_open(&f), rows[i].status);
        fixture_end(&f);
        image_free(&image);
    }
}

/* The workspace of a disk that was repaired when it was opened serves the next disk. */
static void test_disk_open_forgets_the_repair_of_the_disk_before(void)
{
    static uint8_t memory[MIB];
    struct image image;
    struct fixture f;

    image_start(&image, &(struct image_spec){.size = 64 * KIB, .cluster_bits = 12});
    image_field_set(&image, "incompatible_features", Q2_INCOMPAT_DIRTY);
    fixture_start_writable(&f, &image, memory, sizeof(memory));
    f.options.repair_if_dirty = true;
    T_CHECK_U64(fixture_open(&f), Q2_OK);
    T_CHECK(q2_disk_was_repaired(f.disk));
    T_CHECK_U64(fixture_open(&f), Q2_OK);
    T_CHECK(!q2_disk_was_repaired(f.disk));
    fixture_end(&f);
    image_free(&image);
}

static void test_disk_open_metadata_only_reads_nothing(void)
{
    static const struct image_spec spec = {.size = MIB, .external = true};
    struct q2_layer_info info;
    struct q2_extent extent;
    struct image image;
    struct fixture f;
    uint8_t byte;

    image_start(&image, &spec);
    image_data_name(&image, "data.raw");
    image_backing(&image, "base.raw", "raw");
    image_data(&image, 0, 1);
    fixture_start(&f, &image);
    f.options.metadata_only = true;
    T_CHECK_U64(fixture_open(&f), Q2_OK);
    T_CHECK_U64(f.opener.nb_calls, 0);
    T_CHECK_U64(q2_disk_nb_layers(f.disk), 1);
    q2_disk_layer_info(f.disk, 0, &info);
    T_CHECK(info.data_source == NULL && info.source == &f.image.source && !info.is_snapshot);
    T_CHECK(info.format == Q2_FORMAT_QCOW2 && info.header && info.virtual_size == MIB);
    T_CHECK_STR(info.backing_file, "base.raw");
    T_CHECK_STR(info.backing_format, "raw");
    T_CHECK_STR(info.data_file, "data.raw");
    T_CHECK_U64(q2_disk_map(f.disk, 0, 1, &extent), Q2_OK);
    T_CHECK_U64(q2_disk_read(f.disk, 0, &byte, 1), Q2_ERR_NOT_OPEN);
    fixture_end(&f);
    image_free(&image);
}

static void test_disk_open_raw_top_is_the_file(void)
{
    static const uint8_t bytes[1000] = {1, 2, 3};
    struct q2_layer_info info;
    struct q2_snapshot snapshot;
    struct q2_extent e;
    struct fixture f;

    fixture_start_bytes(&f, bytes, sizeof(bytes));
    f.options.format = Q2_FORMAT_RAW;
    T_CHECK_U64(fixture_open(&f), Q2_OK);
    T_CHECK_U64(fixture_first_difference(&f, bytes, sizeof(bytes)), FIXTURE_SAME);
    T_CHECK_U64(q2_disk_map(f.disk, 10, UINT64_MAX, &e), Q2_OK);
    T_CHECK(e.kind == Q2_EXTENT_DATA && e.host_offset == 10 && e.length == 990);
    q2_disk_layer_info(f.disk, 0, &info);
    T_CHECK(info.format == Q2_FORMAT_RAW && info.header == NULL && info.backing_file[0] == '\0');
    T_CHECK_U64(q2_disk_snapshot(f.disk, 0, &snapshot), Q2_ERR_RANGE);
    T_CHECK_U64(q2_disk_nb_bitmaps(f.disk), 0);
    fixture_end(&f);
}

static void test_disk_read_source_fails_at_each_call(void)
{
    static const struct image_spec spec = {.size = 16 * 512, .cluster_bits = 9};
    struct image image;
    struct fixture f;
    uint8_t buffer[16 * 512];
    uint64_t nb_calls = 0, call;

    build_mixed(&image, &spec);
    for (call = 1; call < 200; call++) {
        enum q2_status status;

        fixture_start(&f, &image);
        f.image.fail_call = call;
        f.image.fail_on = true;
        f.image.fail_status = call % 2 ? Q2_ERR_IO : Q2_ERR_NO_MEDIA;
        status = fixture_open(&f);
        if (status == Q2_OK)
            status = q2_disk_read(f.disk, 0, buffer, sizeof(buffer));
        nb_calls = f.image.nb_reads;
        if (status == Q2_OK) {
            fixture_end(&f);
            break;
        }
        T_CHECK_U64(status, f.image.fail_status);
        T_CHECK_U64(fixture_status(&f), status);
        /* The medium comes back: everything reads. */
        f.image.fail_call = 0;
        if (!f.disk)
            T_CHECK_U64(fixture_open(&f), Q2_OK);
        T_CHECK_U64(fixture_first_difference(&f, image.model.bytes, sizeof(buffer)), FIXTURE_SAME);
        fixture_end(&f);
    }
    T_CHECK_U64(nb_calls, call - 1);
    T_CHECK(call > 3);
    image_free(&image);
}

/* Reads in sequence look at the tables once for many of them. */
static void test_disk_read_in_sequence_looks_ahead(void)
{
    struct image image;
    struct fixture f;
    uint8_t buffer[512];
    uint64_t clock;

    image_start(&image, &(struct image_spec){.size = 64 * 512, .cluster_bits = 9});
    (void)image_l2_entry(&image, 0);
    for (uint64_t at = 0; at < 64 * 512; at += 512)
        (void)image_data(&image, at, 1);
    fixture_start(&f, &image);
    T_CHECK_U64(fixture_open(&f), Q2_OK);
    clock = f.disk->slices.clock;
    for (uint64_t at = 512; at < 64 * 512; at += 512) {
        T_CHECK_U64(q2_disk_read(f.disk, at, buffer, 512), Q2_OK);
        T_CHECK(memcmp(buffer, image.model.bytes + at, 512) == 0);
    }
    T_CHECK(f.disk->slices.clock - clock < 8);
    fixture_end(&f);
    image_free(&image);
}

/* A file ends 100 bytes after the start of its last cluster, the 63rd of 64 that a refcount block
 * counts. Nothing says that there was another cluster, or the last refcount, or the next block. */
static void test_disk_read_short_end_asks_the_refcounts_after_it(void)
{
    static const struct {
        const char *row;
        uint64_t last_refcount, next_block;
        enum q2_status status;
    } rows[] = {
        {"never had more", 0, 0, Q2_OK},
        {"one cluster more", 1, 0, Q2_ERR_TRUNCATED},
        {"one block more", 0, 512, Q2_ERR_TRUNCATED},
    };

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct image image;
        struct fixture f;
        uint8_t buffer[1024];

        t_row(rows[i].row);
        image_start(&image, &(struct image_spec){.size = 64 * 512,
                                                 .cluster_bits = 9,
                                                 .refcount_bits = 64,
                                                 .max_clusters = 64});
        (void)image_l2_entry(&image, 0);
        (void)image_alloc(&image, 62 - (uint32_t)(image.size / 512));
        (void)image_data(&image, 0, 1);
        image_refcount_set(&image, 63, rows[i].last_refcount);
        image_put64(&image, image_field(&image, "refcount_table_offset") + 8, rows[i].next_block);
        fixture_start(&f, &image);
        f.image.source.size = 62 * 512 + 100;
        f.options.short_end = true;
        T_CHECK_U64(fixture_open(&f), Q2_OK);
        memset(buffer, 0x77, sizeof(buffer));
        T_CHECK_U64(q2_disk_read(f.disk, 0, buffer, 512), rows[i].status);
        if (rows[i].status == Q2_OK) {
            T_CHECK(memcmp(buffer, image.model.bytes, 100) == 0);
            T_CHECK(buffer[100] == 0 && buffer[511] == 0 && buffer[512] == 0x77);
        }
        fixture_end(&f);
        image_free(&image);
    }
}

int main(void)
{
    T_RUN(test_disk_read_every_geometry_is_the_model);
    T_RUN(test_disk_read_version_2_is_the_model);
    T_RUN(test_disk_read_subclusters_are_the_model);
    T_RUN(test_disk_read_size_0);
    T_RUN(test_disk_read_bounds_table);
    T_RUN(test_disk_map_kinds_and_lengths);
    T_RUN(test_disk_fault_is_of_the_last_call_that_failed);
    T_RUN(test_disk_open_options_are_checked);
    T_RUN(test_disk_open_for_writing_by_what_the_check_finds);
    T_RUN(test_disk_open_forgets_the_repair_of_the_disk_before);
    T_RUN(test_disk_open_metadata_only_reads_nothing);
    T_RUN(test_disk_open_raw_top_is_the_file);
    T_RUN(test_disk_read_source_fails_at_each_call);
    T_RUN(test_disk_read_in_sequence_looks_ahead);
    T_RUN(test_disk_read_short_end_asks_the_refcounts_after_it);
    return t_done();
}
