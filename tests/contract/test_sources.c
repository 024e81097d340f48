/* The source contract against the host's sources: memory, POSIX file, file of a FAT image through
 * its extent map. */
#include "core/fs/fat_chain.h"
#include "drivers/extents/source.h"
#include "drivers/memory/source.h"
#include "drivers/posix/source.h"
#include "fat_image.h"
#include "source_suite.h"

static uint8_t content[SUITE_SIZE];

static const uint8_t *pattern(uint32_t seed)
{
    for (uint64_t i = 0; i < SUITE_SIZE; i++)
        content[i] = suite_pattern(seed, i);
    return content;
}

static struct q2_source_memory memories[2];
static uint8_t memory_bytes[2][SUITE_MAX_SIZE];

static struct q2_source *memory_open(unsigned slot, uint32_t seed, bool writable)
{
    memset(memory_bytes[slot], 0xee, SUITE_MAX_SIZE);
    memcpy(memory_bytes[slot], pattern(seed), SUITE_SIZE);
    q2_source_memory_init(&memories[slot], memory_bytes[slot], SUITE_SIZE, SUITE_MAX_SIZE, writable,
                          "memory");
    return &memories[slot].source;
}

static void memory_close(unsigned slot)
{
    (void)slot;
}

static struct q2_source_posix files[2];

static struct q2_source *posix_open(unsigned slot, uint32_t seed, bool writable)
{
    const char *name = slot == 0 ? "a.bin" : "b.bin";

    fat_image_write(name, pattern(seed), SUITE_SIZE);
    if (q2_source_posix_open(&files[slot], fat_image_path(name),
                             writable ? Q2_POSIX_WRITABLE : 0) != Q2_OK)
        return NULL;
    return &files[slot].source;
}

static void posix_close(unsigned slot)
{
    q2_source_posix_close(&files[slot]);
}

/* Two files in pieces on one volume, both reached through one source of the volume. */
#define MAX_EXTENTS 1000u
static struct q2_source_extents mapped[2];
static struct q2_file_extent extents[2][MAX_EXTENTS];
static struct q2_source_posix volume_file;
static unsigned nb_mapped;

static void extents_make_volume(void)
{
    fat_image_mkfs("suite.img", 8192, "-F 16 -s 1");
    fat_image_fragment("suite.img", 300, 1024);
    fat_image_write("a", pattern(1), SUITE_SIZE);
    fat_image_run("mmd -i suite.img ::/img");
    fat_image_run("mcopy -i suite.img a ::/img/file-0.qcow2");
    fat_image_run("mcopy -i suite.img a ::/img/file-1.qcow2");
}

static struct q2_source *extents_open(unsigned slot, uint32_t seed, bool writable)
{
    static const char *const paths[] = {"/img/file-0.qcow2", "/img/file-1.qcow2"};
    static uint8_t work[Q2_FAT_MIN_BUFFER];
    struct q2_extents_file file = {.volume = &volume_file.source,
                                   .extents = extents[slot],
                                   .path = paths[slot],
                                   .writable = true};
    struct q2_fat_volume volume;
    struct q2_fat_chain chain;
    struct q2_fat_file found;
    struct q2_fault fault;

    if (nb_mapped++ == 0 &&
        q2_source_posix_open(&volume_file, fat_image_path("suite.img"), Q2_POSIX_WRITABLE) != Q2_OK)
        return NULL;
    if (q2_fat_volume_open(file.volume, &fault, &volume) != Q2_OK ||
        q2_fat_find(&volume, paths[slot], work, sizeof(work), &fault, &found) != Q2_OK ||
        q2_fat_map(&volume, &found, work, sizeof(work), extents[slot], MAX_EXTENTS, &fault,
                   &chain) != Q2_OK)
        return NULL;
    file.nb_extents = chain.nb_extents;
    if (slot == 0 && !T_CHECK(file.nb_extents >= 50)) /* else the suite shows nothing */
        return NULL;
    file.size = found.size;
    file.file_id = q2_fat_file_id(&found);
    if (q2_source_extents_init(&mapped[slot], &file) != Q2_OK ||
        mapped[slot].source.ops->write_at(&mapped[slot].source, 0, pattern(seed), SUITE_SIZE) !=
            Q2_OK)
        return NULL;
    file.writable = writable;
    return q2_source_extents_init(&mapped[slot], &file) == Q2_OK ? &mapped[slot].source : NULL;
}

static void extents_close(unsigned slot)
{
    (void)slot;
    if (--nb_mapped == 0)
        q2_source_posix_close(&volume_file);
}

static const struct source_fixture fixtures[] = {
    {"memory", memory_open, memory_close, 1, true},
    {"posix", posix_open, posix_close, 1, true},
    {"extents", extents_open, extents_close, 1, false},
};

/* The suite wrote through the map: the volume must still be one, and mcopy must see the bytes. */
static void test_extents_writes_are_seen_by_mtools_and_leave_the_volume_whole(void)
{
    struct q2_source *source;
    uint8_t *bytes;
    size_t length;

    suite_fixture = &fixtures[2];
    source = extents_open(0, 55, true);
    if (!T_CHECK(source != NULL))
        return;
    T_CHECK_U64(source->ops->flush(source), Q2_OK);
    extents_close(0);
    fat_image_run("fsck.fat -n suite.img");
    fat_image_run("mcopy -n -o -i suite.img ::/img/file-0.qcow2 out");
    bytes = fat_image_read("out", &length);
    T_CHECK_U64(length, SUITE_SIZE);
    T_CHECK(length == SUITE_SIZE && memcmp(bytes, pattern(55), SUITE_SIZE) == 0);
    free(bytes);
}

/* A volume that counts its calls. */
struct counting_source {
    struct q2_source source;
    struct q2_source *below;
    unsigned nb_calls;
};

static enum q2_status counting_read(struct q2_source *source, uint64_t offset, void *buffer,
                                    size_t length)
{
    struct counting_source *counting = (struct counting_source *)source;

    counting->nb_calls++;
    return counting->below->ops->read_at(counting->below, offset, buffer, length);
}

static void test_extents_request_inside_one_extent_is_one_call(void)
{
    static const struct q2_source_ops ops = {.read_at = counting_read};
    static const struct q2_file_extent map[] = {
        {0, 4096, 1000}, {1000, 9000, 3}, {1003, 0, 4000}, {5003, 20000, 10000}};
    static const struct {
        uint64_t offset;
        size_t length;
        unsigned nb_calls;
    } rows[] = {
        {0, 1000, 1},  {0, 1001, 2},     {999, 1, 1},  {999, 2, 2},   {1000, 3, 1},    {1001, 3, 2},
        {0, 15003, 4}, {5003, 10000, 1}, {5002, 2, 2}, {15002, 1, 1}, {1003, 4000, 1}, {2, 5, 1},
    };
    struct counting_source counting;
    struct q2_source_extents source;
    static uint8_t got[15003];

    (void)memory_open(0, 9, false);
    counting = (struct counting_source){.source = memories[0].source};
    counting.source.ops = &ops;
    counting.below = &memories[0].source;
    T_CHECK_U64(q2_source_extents_init(&source,
                                       &(struct q2_extents_file){
                                           .volume = &counting.source,
                                           .extents = map,
                                           .nb_extents = 4,
                                           .size = 15003,
                                       }),
                Q2_OK);
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        counting.nb_calls = 0;
        T_CHECK_U64(source.source.ops->read_at(&source.source, rows[i].offset, got, rows[i].length),
                    Q2_OK);
        T_CHECK_U64(counting.nb_calls, rows[i].nb_calls);
        for (size_t k = 0; k < rows[i].length; k++) {
            uint64_t at = rows[i].offset + k, e = at < 1000 ? 0 : at < 1003 ? 1 : at < 5003 ? 2 : 3;
            if (!T_CHECK(got[k] == memory_bytes[0][map[e].volume_offset + at - map[e].file_offset]))
                break;
        }
    }
}

static void test_extents_maps_that_are_not_valid_are_refused(void)
{
    static const struct {
        const char *row;
        struct q2_file_extent map[2];
        uint64_t size;
        enum q2_status status;
    } rows[] = {
        {"valid", {{0, 0, 512}, {512, 4096, 512}}, 1024, Q2_OK},
        {"to the volume's end", {{0, SUITE_SIZE - 1, 1}, {1, 0, 512}}, 513, Q2_OK},
        {"past the volume's end", {{0, SUITE_SIZE - 1, 2}, {2, 0, 511}}, 513, Q2_ERR_ARGUMENT},
        {"after the volume", {{0, SUITE_SIZE + 1, 1}, {1, 0, 512}}, 513, Q2_ERR_ARGUMENT},
        {"wraps", {{0, UINT64_MAX, 2}, {2, 0, 511}}, 513, Q2_ERR_ARGUMENT},
        {"hole", {{0, 0, 512}, {513, 4096, 511}}, 1024, Q2_ERR_ARGUMENT},
        {"overlap", {{0, 0, 512}, {511, 4096, 513}}, 1024, Q2_ERR_ARGUMENT},
        {"not from 0", {{1, 0, 512}, {513, 4096, 511}}, 1024, Q2_ERR_ARGUMENT},
        {"empty extent", {{0, 0, 1024}, {1024, 4096, 0}}, 1024, Q2_ERR_ARGUMENT},
        {"too short", {{0, 0, 512}, {512, 4096, 511}}, 1024, Q2_ERR_ARGUMENT},
        {"too long", {{0, 0, 512}, {512, 4096, 513}}, 1024, Q2_ERR_ARGUMENT},
    };

    (void)memory_open(0, 9, false);
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct q2_source_extents source;
        struct q2_extents_file file = {.volume = &memories[0].source,
                                       .extents = rows[i].map,
                                       .nb_extents = 2,
                                       .size = rows[i].size};
        t_row(rows[i].row);
        T_CHECK_U64(q2_source_extents_init(&source, &file), rows[i].status);
    }
    t_row("writable on a volume that is not");
    T_CHECK_U64(q2_source_extents_init(&mapped[0],
                                       &(struct q2_extents_file){
                                           .volume = &memories[0].source,
                                           .writable = true,
                                       }),
                Q2_ERR_READ_ONLY);
}

static void test_extents_same_file_twice_has_one_identity(void)
{
    static const struct q2_file_extent map[] = {{0, 0, 512}};
    struct q2_extents_file file = {
        .volume = &memories[0].source, .extents = map, .nb_extents = 1, .size = 512, .file_id = 3};
    struct q2_source_extents a, b, c;

    (void)memory_open(0, 9, false);
    (void)memory_open(1, 9, false);
    T_CHECK_U64(q2_source_extents_init(&a, &file), Q2_OK);
    T_CHECK_U64(q2_source_extents_init(&b, &file), Q2_OK);
    T_CHECK(memcmp(a.source.identity, b.source.identity, sizeof(a.source.identity)) == 0);
    file.volume = &memories[1].source;
    T_CHECK_U64(q2_source_extents_init(&c, &file), Q2_OK);
    T_CHECK(memcmp(a.source.identity, c.source.identity, sizeof(a.source.identity)) != 0);
}

static void test_extents_grow_only_into_what_the_map_has(void)
{
    static const struct q2_file_extent map[] = {{0, 4096, 1000}},
                                       longer[] = {{0, 4096, 1500}, {1500, 512, 600}},
                                       moved[] = {{0, 4097, 1500}, {1500, 512, 600}},
                                       holed[] = {{0, 4096, 1500}, {1501, 512, 599}};
    const struct q2_extents_file file = {.volume = &memories[0].source,
                                         .extents = map,
                                         .nb_extents = 1,
                                         .size = 1000,
                                         .writable = true,
                                         .can_grow = true};
    struct q2_source_extents file_map;
    struct q2_source *source = &file_map.source;
    static uint8_t bytes[2100];

    (void)memory_open(0, 9, true);
    memset(bytes, 7, sizeof(bytes));
    T_CHECK_U64(q2_source_extents_init(&file_map, &file), Q2_OK);
    T_CHECK_U64(source->ops->grow(source, 1001), Q2_ERR_NO_SPACE);
    T_CHECK_U64(q2_source_extents_remap(&file_map, moved, 2, 2100), Q2_ERR_BAD_VOLUME);
    T_CHECK_U64(q2_source_extents_remap(&file_map, holed, 2, 2100), Q2_ERR_ARGUMENT);
    T_CHECK_U64(q2_source_extents_remap(&file_map, longer, 1, 999), Q2_ERR_ARGUMENT);
    T_CHECK_U64(source->ops->grow(source, 1001), Q2_ERR_NO_SPACE);
    T_CHECK_U64(q2_source_extents_remap(&file_map, longer, 2, 2100), Q2_OK);
    T_CHECK_U64(source->size, 1000);
    T_CHECK_U64(source->ops->write_at(source, 999, bytes, 2), Q2_ERR_IO);
    T_CHECK_U64(source->ops->grow(source, 1000), Q2_ERR_ARGUMENT);
    T_CHECK_U64(source->ops->grow(source, 2101), Q2_ERR_NO_SPACE);
    T_CHECK_U64(source->ops->grow(source, 1600), Q2_OK);
    T_CHECK_U64(source->ops->write_at(source, 1400, bytes, 200), Q2_OK);
    T_CHECK_U64(source->ops->write_at(source, 1400, bytes, 201), Q2_ERR_IO);
    T_CHECK(memcmp(memory_bytes[0] + 4096 + 1400, bytes, 100) == 0);
    T_CHECK(memcmp(memory_bytes[0] + 512, bytes, 100) == 0);
    T_CHECK(memory_bytes[0][512 + 100] != 7 || memory_bytes[0][4096 + 1500] != 7);
    T_CHECK_U64(q2_source_extents_remap(&file_map, map, 1, 1000), Q2_ERR_ARGUMENT);
    T_CHECK_U64(source->ops->grow(source, 2100), Q2_OK);
}

/* A file that is not to grow has no grow(), so that nobody counts on it. */
static void test_extents_that_cannot_grow_say_so(void)
{
    static const struct q2_file_extent map[] = {{0, 0, 512}};
    struct q2_extents_file file = {.volume = &memories[0].source,
                                   .extents = map,
                                   .nb_extents = 1,
                                   .size = 512,
                                   .writable = true};
    struct q2_source_extents file_map;

    (void)memory_open(0, 9, true);
    T_CHECK_U64(q2_source_extents_init(&file_map, &file), Q2_OK);
    T_CHECK(file_map.source.ops->grow == NULL);
    file.can_grow = true;
    file.writable = false;
    T_CHECK_U64(q2_source_extents_init(&file_map, &file), Q2_OK);
    T_CHECK_U64(file_map.source.ops->grow(&file_map.source, 513), Q2_ERR_READ_ONLY);
}

/* Pages of 1 KiB from offset 1000 on; the file is in pages 1 (a part) to 5 (a part), and again
 * inside page 70, which has the slot of page 6. */
static void test_extents_account_for_shared_pages_that_were_written(void)
{
    static const struct q2_file_extent map[] = {{0, 1000 + 1024 + 512, 4 * 1024},
                                                {4 * 1024, 1000 + 70 * 1024 + 8, 100}};
    static const struct {
        const char *row;
        uint64_t offset;
        size_t length;
        uint64_t stale;
    } rows[] = {
        {"first bytes", 0, 1, 1u << 1},
        {"up to the first page of its own", 511, 1, 1u << 1},
        {"over it", 511, 2, 1u << 1},
        {"its own pages", 512, 3 * 1024, 0},
        {"one byte of its own", 2000, 1, 0},
        {"into the last page", 512, 3 * 1024 + 1, 1u << 5},
        {"all of the extent", 0, 4 * 1024, 1u << 1 | 1u << 5},
        {"an extent inside a page", 4 * 1024, 100, 1u << 6},
        {"everything", 0, 4 * 1024 + 100, 1u << 1 | 1u << 5 | 1u << 6},
    };
    struct q2_extents_file file = {.volume = &memories[0].source,
                                   .extents = map,
                                   .nb_extents = 2,
                                   .size = 4 * 1024 + 100,
                                   .writable = true,
                                   .page_start = 1000,
                                   .page_bits = 10};
    static uint8_t bytes[5 * 1024];

    (void)memory_open(0, 9, true);
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct q2_source_extents file_map;
        struct q2_source *source = &file_map.source;
        t_row(rows[i].row);
        file.page_bits = 10;
        T_CHECK_U64(q2_source_extents_init(&file_map, &file), Q2_OK);
        T_CHECK_U64(source->ops->read_at(source, rows[i].offset, bytes, rows[i].length), Q2_OK);
        T_CHECK_U64(file_map.stale, 0);
        T_CHECK_U64(source->ops->write_at(source, rows[i].offset, bytes, rows[i].length), Q2_OK);
        T_CHECK_U64(file_map.stale, rows[i].stale);
        file.page_bits = 0;
        T_CHECK_U64(q2_source_extents_init(&file_map, &file), Q2_OK);
        T_CHECK_U64(source->ops->write_at(source, rows[i].offset, bytes, rows[i].length), Q2_OK);
        T_CHECK_U64(file_map.stale, 0);
    }
}

static void test_memory_grow_past_capacity_is_no_space(void)
{
    struct q2_source *source = memory_open(0, 1, true);

    T_CHECK_U64(source->ops->grow(source, SUITE_MAX_SIZE + 1), Q2_ERR_NO_SPACE);
    T_CHECK_U64(source->size, SUITE_SIZE);
    T_CHECK_U64(source->ops->grow(source, SUITE_MAX_SIZE), Q2_OK);
}

int main(void)
{
    fat_image_start();
    extents_make_volume();
    for (size_t i = 0; i < sizeof(fixtures) / sizeof(fixtures[0]); i++)
        source_suite_run(&fixtures[i]);
    T_RUN(test_extents_writes_are_seen_by_mtools_and_leave_the_volume_whole);
    T_RUN(test_extents_request_inside_one_extent_is_one_call);
    T_RUN(test_extents_maps_that_are_not_valid_are_refused);
    T_RUN(test_extents_same_file_twice_has_one_identity);
    T_RUN(test_extents_grow_only_into_what_the_map_has);
    T_RUN(test_extents_that_cannot_grow_say_so);
    T_RUN(test_extents_account_for_shared_pages_that_were_written);
    T_RUN(test_memory_grow_past_capacity_is_no_space);
    return t_done();
}
