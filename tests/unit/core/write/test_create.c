/* core/write/create.c and core/format/header_write.c: new images open, read as zeros and pass the
 * check. */
#include <stdlib.h>

#include "core/format/header_write.h"
#include "tests/support/fixture.h"
#include "q2_check.h"
#include "q2_create.h"
#include "tests/support/t.h"

#define KIB      1024ull
#define MIB      (1024 * KIB)
#define TIB      (MIB * MIB)
#define CAPACITY (8 * MIB)

/* Stands for an encryption header: 3000 bytes that are stored and not looked into. */
#define ENCRYPTION .encryption = encryption, .encryption_length = sizeof(encryption)
static const uint8_t encryption[3000] = {0x4c, 0x55, 0x4b, 0x53, [2999] = 0xe4};

static uint8_t *memory;
static struct fake_source file;
static struct fixture f;
static struct q2_fault fault;

static enum q2_status create(const struct q2_create_options *options)
{
    memset(memory, 0xa7, CAPACITY);
    memset(&fault, 0, sizeof(fault));
    fake_source_init_writable(&file, "new.qcow2", memory, 0, CAPACITY);
    return q2_create(f.workspace, &file.source, options, &fault);
}

/* On a device of nb bytes, which holds something else. */
static enum q2_status create_on_device(const struct q2_create_options *options, uint64_t nb)
{
    static struct q2_source_ops device_ops;

    memset(memory, 0xa7, CAPACITY);
    memset(&fault, 0, sizeof(fault));
    fake_source_init_writable(&file, "dev", memory, nb, nb);
    device_ops = *file.source.ops;
    device_ops.grow = NULL;
    file.source.ops = &device_ops;
    return q2_create(f.workspace, &file.source, options, &fault);
}

static const char *text(void)
{
    (void)q2_fault_format(&fault, f.text, sizeof(f.text));
    return f.text;
}

/* The bytes are stored in clusters of their own, with zeros to the end of the last one. */
static void check_encryption(const struct q2_create_options *o, const struct q2_layer_info *info)
{
    uint64_t size = 1ull << info->header->cluster_bits;
    uint64_t end = info->encryption_offset + o->encryption_length;

    T_CHECK_U64(info->header->crypt_method, o->encryption ? 2 : 0);
    T_CHECK_U64(info->encryption_length, o->encryption_length);
    if (!o->encryption)
        return;
    T_CHECK_U64(info->encryption_offset % size, 0);
    T_CHECK_U64(file.source.size % size, 0);
    T_CHECK(memcmp(memory + info->encryption_offset, encryption, sizeof(encryption)) == 0);
    for (uint64_t at = end; at % size != 0; at++)
        T_CHECK_U64(memory[at], 0);
}

static void test_create_every_geometry_opens_and_is_right(void)
{
    static const struct {
        const char *row;
        struct q2_create_options options;
    } rows[] = {
        {"all defaults", {.virtual_size = MIB}},
        {"size 0", {.virtual_size = 0}},
        {"version 2", {.virtual_size = MIB, .version = 2}},
        {"version 2, its own width said", {.version = 2, .refcount_bits = 16}},
        {"extended, default clusters", {.virtual_size = MIB, .extended_l2 = true}},
        {"512 byte clusters", {.virtual_size = 100 * MIB, .cluster_bits = 9}},
        {"2 MiB clusters", {.virtual_size = 1, .cluster_bits = 20}},
        {"1 bit refcounts", {.virtual_size = 64 * MIB, .cluster_bits = 9, .refcount_bits = 1}},
        {"2 bit refcounts", {.virtual_size = MIB, .refcount_bits = 2}},
        {"4 bit refcounts", {.virtual_size = 64 * MIB, .cluster_bits = 9, .refcount_bits = 4}},
        {"8 bit refcounts", {.virtual_size = MIB, .refcount_bits = 8}},
        {"32 bit refcounts", {.virtual_size = MIB, .refcount_bits = 32}},
        {"64 bit refcounts, blocks need blocks",
         {.virtual_size = 400 * MIB, .cluster_bits = 9, .refcount_bits = 64}},
        {"zstd", {.virtual_size = MIB, .compression_type = 1}},
        {"extended", {.virtual_size = MIB, .extended_l2 = true, .cluster_bits = 14}},
        {"lazy", {.virtual_size = MIB, .lazy_refcounts = true}},
        {"external", {.virtual_size = MIB, .external_data = true, .data_file = "data.raw"}},
        {"raw external", {.virtual_size = MIB, .external_data = true, .raw_external_data = true}},
        {"backing", {.virtual_size = MIB, .backing_file = "base", .backing_format = "raw"}},
        {"64 TiB", {.virtual_size = 64 * TIB, .cluster_bits = 21}},
        {"encrypted", {.virtual_size = MIB, ENCRYPTION}},
        {"encrypted, size 0", {ENCRYPTION}},
        {"encrypted, version 2", {.virtual_size = MIB, .version = 2, ENCRYPTION}},
        {"encrypted, 512 byte clusters", {.virtual_size = MIB, .cluster_bits = 9, ENCRYPTION}},
        {"encrypted, blocks need blocks",
         {.virtual_size = 400 * MIB, .cluster_bits = 9, .refcount_bits = 64, ENCRYPTION}},
        {"encrypted, external",
         {.virtual_size = MIB, .external_data = true, .data_file = "data.raw", ENCRYPTION}},
        {"encrypted, backing", {.virtual_size = MIB, .backing_file = "base", ENCRYPTION}},
    };

    /* Each one as a file, and then on a device. */
    for (size_t i = 0; i < 2 * sizeof(rows) / sizeof(rows[0]); i++) {
        const struct q2_create_options *o = &rows[i / 2].options;
        struct q2_check_result result;
        struct q2_layer_info info;
        struct q2_extent extent;

        t_row(rows[i / 2].row);
        T_CHECK_U64(i % 2 == 0 ? create(o) : create_on_device(o, CAPACITY), Q2_OK);
        T_CHECK(file.nb_flushes >= 2);
        fake_source_init(&f.image, "new.qcow2", memory, file.source.size);
        f.options.metadata_only = true;
        T_CHECK_U64(fixture_open(&f), Q2_OK);
        if (!f.disk)
            continue;
        T_CHECK_U64(q2_disk_size(f.disk), (o->virtual_size + 511) / 512 * 512);
        q2_disk_layer_info(f.disk, 0, &info);
        T_CHECK_U64(info.header->version, o->version ? o->version : 3);
        T_CHECK_U64(info.header->cluster_bits, o->cluster_bits ? o->cluster_bits : 16);
        T_CHECK_U64(1u << info.header->refcount_order, o->refcount_bits ? o->refcount_bits : 16);
        T_CHECK_U64(info.header->compression_type, o->compression_type);
        T_CHECK_U64(info.header->incompatible_features, (o->external_data ? 4 : 0) |
                                                            (o->compression_type ? 8 : 0) |
                                                            (o->extended_l2 ? 16 : 0));
        T_CHECK_U64(info.header->compatible_features, o->lazy_refcounts);
        T_CHECK_U64(info.header->autoclear_features, o->raw_external_data ? 2 : 0);
        T_CHECK_STR(info.data_file, o->data_file ? o->data_file : "");
        T_CHECK_STR(info.backing_file, o->backing_file ? o->backing_file : "");
        T_CHECK_STR(info.backing_format, o->backing_format ? o->backing_format : "");
        check_encryption(o, &info);
        if (o->virtual_size > 0) {
            T_CHECK_U64(q2_disk_map(f.disk, 0, 512, &extent), Q2_OK);
            T_CHECK(extent.kind == Q2_EXTENT_UNALLOCATED);
        }
        T_CHECK_U64(q2_disk_check(f.disk, NULL, &result), Q2_OK);
        T_CHECK_U64(result.corruptions + result.leaks + result.check_errors, 0);
        fixture_close(&f);
    }
}

static void test_create_options_that_contradict(void)
{
    static char long_name[1025], long_format[33];
    struct {
        const char *row;
        struct q2_create_options options;
        const char *text;
    } rows[] = {
        {"version", {.version = 4}, "unknown version (compat)"},
        {"cluster 256",
         {.cluster_bits = 8},
         "the cluster size must be a power of two from 512 to 2M (cluster_size)"},
        {"cluster 4 MiB",
         {.cluster_bits = 22},
         "the cluster size must be a power of two from 512 to 2M (cluster_size)"},
        {"refcount 3",
         {.refcount_bits = 3},
         "the refcount width must be a power of two from 1 to 64 (refcount_bits)"},
        {"refcount 128",
         {.refcount_bits = 128},
         "the refcount width must be a power of two from 1 to 64 (refcount_bits)"},
        {"refcount in version 2",
         {.version = 2, .refcount_bits = 8},
         "version 2 has refcounts of 16 bits only (refcount_bits)"},
        {"compression type",
         {.compression_type = 2},
         "unknown compression type (compression_type)"},
        {"compression type in version 2",
         {.version = 2, .compression_type = 1},
         "version 2 has zlib only (compression_type)"},
        {"extended in version 2",
         {.version = 2, .extended_l2 = true},
         "extended L2 entries need version 3 (extended_l2)"},
        {"extended of 8 KiB",
         {.cluster_bits = 13, .extended_l2 = true},
         "extended L2 entries need clusters of at least 16 KiB (extended_l2)"},
        {"lazy in version 2",
         {.version = 2, .lazy_refcounts = true},
         "lazy refcounts need version 3 (lazy_refcounts)"},
        {"external in version 2",
         {.version = 2, .external_data = true},
         "an external data file needs version 3 (data_file)"},
        {"name without external data",
         {.data_file = "x"},
         "a data file name without external data (data_file)"},
        {"raw without external data",
         {.raw_external_data = true},
         "raw external data without external data (data_file_raw)"},
        {"raw with backing",
         {.raw_external_data = true, .external_data = true, .backing_file = "x"},
         "raw external data does not go with a backing file (data_file_raw)"},
        {"raw and encrypted",
         {.raw_external_data = true, .external_data = true, ENCRYPTION},
         "raw external data cannot be encrypted (data_file_raw)"},
        {"raw and encrypted, a header of one byte",
         {.raw_external_data = true,
          .external_data = true,
          .encryption = encryption,
          .encryption_length = 1},
         "raw external data cannot be encrypted (data_file_raw)"},
        {"format without backing",
         {.backing_format = "raw"},
         "a backing format without a backing file (backing_fmt)"},
        {"backing file name of 1024 bytes",
         {.backing_file = long_name},
         "the name is too long (backing_file)"},
        {"data file name of 1024 bytes",
         {.external_data = true, .data_file = long_name},
         "the name is too long (data_file)"},
        {"backing format of 32 bytes",
         {.backing_file = "x", .backing_format = long_format},
         "the name is too long (backing_fmt)"},
    };
    char want[256];

    memset(long_name, 'n', 1024);
    memset(long_format, 'f', 32);
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        t_row(rows[i].row);
        T_CHECK_U64(create(&rows[i].options), Q2_ERR_ARGUMENT);
        (void)snprintf(want, sizeof(want), "new.qcow2: %s", rows[i].text);
        T_CHECK_STR(text(), want);
        T_CHECK_U64(file.source.size, 0);
    }
}

static void test_create_names_of_the_greatest_length(void)
{
    static char name[1024];
    struct q2_layer_info info;

    memset(name, 'n', 1023);
    T_CHECK_U64(create(&(struct q2_create_options){.virtual_size = MIB,
                                                   .external_data = true,
                                                   .data_file = name,
                                                   .backing_file = name,
                                                   .backing_format = "qcow2"}),
                Q2_OK);
    fake_source_init(&f.image, "new.qcow2", memory, file.source.size);
    f.options.metadata_only = true;
    T_CHECK_U64(fixture_open(&f), Q2_OK);
    q2_disk_layer_info(f.disk, 0, &info);
    T_CHECK_STR(info.data_file, name);
    T_CHECK_STR(info.backing_file, name);
    fixture_close(&f);
}

static void test_create_limits(void)
{
    static const struct {
        const char *row;
        struct q2_create_options options;
        const char *what;
    } rows[] = {
        {"L1 table of 32 MiB and an entry",
         {.virtual_size = 4194304 * 32 * KIB + 1, .cluster_bits = 9},
         "the virtual size needs too large an L1 table"},
        {"2^62 + 1",
         {.virtual_size = (1ull << 62) + 1, .cluster_bits = 21},
         "the virtual size is too large"},
        {"2^64 - 1",
         {.virtual_size = UINT64_MAX, .cluster_bits = 21},
         "the virtual size is too large"},
    };
    static char name[400];

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        t_row(rows[i].row);
        T_CHECK_STR(q2_status_name(create(&rows[i].options)), "Q2_ERR_LIMIT");
        T_CHECK_STR(fault.what, rows[i].what);
        T_CHECK_U64(file.source.size, 0);
    }
    t_row("no room for the names");
    memset(name, 'n', sizeof(name) - 1);
    T_CHECK_U64(create(&(struct q2_create_options){
                    .virtual_size = MIB, .cluster_bits = 9, .backing_file = name}),
                Q2_ERR_LIMIT);
    T_CHECK_STR(fault.what, "the names do not fit into the first cluster");
    t_row("no room for the encryption header's extension, by one byte");
    for (size_t length = 368; length <= 369; length++) {
        memset(name, 0, sizeof(name));
        memset(name, 'n', length);
        T_CHECK_U64(create(&(struct q2_create_options){
                        .virtual_size = MIB, .cluster_bits = 9, .backing_file = name, ENCRYPTION}),
                    length == 368 ? Q2_OK : Q2_ERR_LIMIT);
    }
}

/* The names of features are left out where there is no room; they are a courtesy. */
static void test_create_small_clusters_without_feature_names(void)
{
    static const struct {
        const char *row;
        uint32_t cluster_bits;
        const char *backing_file;
        bool there;
    } rows[] = {
        {"just fits", 9, NULL, true},
        {"no room", 9, "b", false},
        {"room", 10, "b", true},
    };

    for (size_t i = 0; i < 3; i++) {
        bool there = false;

        t_row(rows[i].row);
        T_CHECK_U64(create(&(struct q2_create_options){.virtual_size = MIB,
                                                       .cluster_bits = rows[i].cluster_bits,
                                                       .backing_file = rows[i].backing_file}),
                    Q2_OK);
        for (size_t at = 112; at < 512; at++)
            there = there || memcmp(memory + at, "extended L2 entries", 19) == 0;
        T_CHECK(there == rows[i].there);
    }
}

/* Whatever call fails: an error, and nothing that opens. */
static void test_create_each_call_fails(void)
{
    static const struct q2_create_options options = {.virtual_size = MIB, ENCRYPTION};
    enum {
        GROW,
        WRITE,
        FLUSH
    };

    for (int kind = GROW; kind <= FLUSH; kind++) {
        for (uint64_t call = 1;; call++) {
            uint64_t nb;

            memset(memory, 0, CAPACITY);
            memset(&fault, 0, sizeof(fault));
            fake_source_init_writable(&file, "new.qcow2", memory, 0, CAPACITY);
            *(kind == GROW    ? &file.fail_grow
              : kind == WRITE ? &file.fail_write
                              : &file.fail_flush) = call;
            file.fail_status = Q2_ERR_NO_SPACE;
            if (q2_create(f.workspace, &file.source, &options, &fault) == Q2_OK) {
                nb = kind == GROW    ? file.nb_grows
                     : kind == WRITE ? file.nb_writes
                                     : file.nb_flushes;
                T_CHECK_U64(nb, call - 1);
                T_CHECK(call > 1);
                break;
            }
            T_CHECK_U64(fault.status, Q2_ERR_NO_SPACE);
            T_CHECK_STR(text(), "new.qcow2: the image cannot be written; free some space");
            fake_source_init(&f.image, "new.qcow2", memory, file.source.size);
            /* The last flush may fail with everything in its place. */
            if (kind != FLUSH || call == 1)
                T_CHECK(fixture_open(&f) != Q2_OK);
            fixture_close(&f);
        }
    }
}

static void test_create_needs_an_empty_file(void)
{
    static const struct q2_create_options options = {.virtual_size = MIB};

    fake_source_init_writable(&file, "new.qcow2", memory, 1, CAPACITY);
    T_CHECK_U64(q2_create(f.workspace, &file.source, &options, &fault), Q2_ERR_ARGUMENT);
    T_CHECK_STR(fault.what, "a new image needs an empty file");
}

/* Header, refcount table, refcount block, L1 table: 4 clusters, and one for an encryption header.
 * What is stored after them stays. */
static void test_create_on_a_device(void)
{
    static const struct q2_create_options options = {.virtual_size = MIB};
    static const struct q2_create_options encrypted = {.virtual_size = MIB, ENCRYPTION};

    T_CHECK_U64(create_on_device(&options, 4 * 64 * KIB - 512), Q2_ERR_LIMIT);
    T_CHECK_STR(text(), "dev: the device is too small for the new image's metadata (length is "
                        "0x40000, limit 0x3fe00)");
    T_CHECK_U64(file.nb_writes, 0);
    T_CHECK_U64(create_on_device(&options, CAPACITY), Q2_OK);
    for (uint64_t at = 4 * 64 * KIB; at < CAPACITY; at++)
        T_CHECK(memory[at] == 0xa7);
    T_CHECK_U64(create_on_device(&encrypted, 5 * 64 * KIB + 512), Q2_OK);
    for (uint64_t at = 5 * 64 * KIB; at < CAPACITY; at++)
        T_CHECK(memory[at] == 0xa7);
}

/* The old image does not open, and the new one does not yet. */
static void test_create_on_a_device_that_fails(void)
{
    static const struct q2_create_options options = {.virtual_size = MIB};

    for (uint64_t write = 1; write <= 2; write++) {
        T_CHECK_U64(create_on_device(&options, CAPACITY), Q2_OK);
        file.fail_status = Q2_ERR_IO;
        file.nb_writes = file.nb_flushes = 0;
        file.fail_write = write == 1 ? 1 : 0;
        file.fail_flush = write == 2 ? 1 : 0;
        T_CHECK_U64(q2_create(f.workspace, &file.source, &options, &fault), Q2_ERR_IO);
        T_CHECK_STR(text(), "dev: the image cannot be written");
    }
    fake_source_init(&f.image, "dev", memory, CAPACITY);
    T_CHECK(fixture_open(&f) != Q2_OK);
    fixture_close(&f);
}

static void test_header_bytes_full_writes_nothing_more(void)
{
    uint8_t bytes[32];
    struct q2_header_bytes to = {.bytes = bytes, .size = 24};

    memset(bytes, 0x5a, sizeof(bytes));
    q2_header_bytes_string(&to, 1, "");
    q2_header_bytes_string(&to, 1, NULL);
    T_CHECK_U64(to.length, 0);
    q2_header_bytes_extension(&to, 0x01020304, "123456789", 9);
    T_CHECK(to.length == 24 && !to.full);
    T_CHECK(memcmp(bytes,
                   "\1\2\3\4\0\0\0\x09"
                   "123456789\0\0\0\0\0\0\0",
                   24) == 0);
    q2_header_bytes_end(&to, NULL);
    T_CHECK(to.full && to.length == 24 && bytes[24] == 0x5a);
}

int main(void)
{
    static const uint8_t nothing[1];

    memory = malloc(CAPACITY);
    fixture_start_bytes(&f, nothing, 0);
    T_RUN(test_create_every_geometry_opens_and_is_right);
    T_RUN(test_create_options_that_contradict);
    T_RUN(test_create_names_of_the_greatest_length);
    T_RUN(test_create_limits);
    T_RUN(test_create_small_clusters_without_feature_names);
    T_RUN(test_create_each_call_fails);
    T_RUN(test_create_needs_an_empty_file);
    T_RUN(test_create_on_a_device);
    T_RUN(test_create_on_a_device_that_fails);
    T_RUN(test_header_bytes_full_writes_nothing_more);
    fixture_end(&f);
    free(memory);
    return t_done();
}
