/* options.overlay: an image made by q2_create() in memory, opened above any image. What is written
 * reads back, the image below is not touched, a full overlay fails and stays right. */
#include <stdlib.h>

#include "tests/support/fixture.h"
#include "q2_check.h"
#include "q2_create.h"
#include "tests/support/t.h"

#define KIB      1024ull
#define MIB      (1024 * KIB)
#define CAPACITY (1 * MIB)

static struct image image;
static struct fixture f;
static struct fake_source overlay;
static uint8_t *memory, *model;
static uint64_t size; /* of the disk */

/* Open f over the overlay; the model is what the image reads as. */
static enum q2_status setup(const uint8_t *content, uint64_t disk_size, uint64_t capacity)
{
    const struct q2_create_options options = {.virtual_size = disk_size, .cluster_bits = 12};

    size = disk_size;
    model = calloc(1, size + 1);
    memcpy(model, content, size);
    fake_source_init_writable(&overlay, "overlay", memory, 0, capacity);
    T_CHECK_U64(q2_create(f.workspace, &overlay.source, &options, &f.fault), Q2_OK);
    f.options.writable = true;
    f.options.overlay = &overlay.source;
    return fixture_open(&f);
}

static void cleanup(void)
{
    fixture_end(&f);
    free(model);
}

static enum q2_status write_at(uint64_t offset, size_t length, uint8_t value)
{
    return fixture_fill(&f, model, offset, length, value);
}

/* Writes of many shapes read back; the image's file was only read; the overlay is sound. */
static void check_writes(void)
{
    static const struct {
        uint64_t offset;
        size_t length;
    } pieces[] = {{0, 1}, {511, 2}, {4096, 4096}, {100000, 70000}, {8191, 3}, {4000, 200}};
    struct q2_check_result result;

    T_CHECK(f.disk);
    if (!f.disk)
        return;
    T_CHECK(q2_disk_is_writable(f.disk));
    T_CHECK_U64(q2_disk_size(f.disk), size);
    T_CHECK_U64(fixture_first_difference(&f, model, size), FIXTURE_SAME);
    for (size_t i = 0; i < sizeof(pieces) / sizeof(pieces[0]); i++)
        T_CHECK_U64(write_at(pieces[i].offset, pieces[i].length, (uint8_t)(i + 1)), Q2_OK);
    T_CHECK_U64(q2_disk_write_zeroes(f.disk, 40960, 8192), Q2_OK);
    T_CHECK_U64(q2_disk_discard(f.disk, 61440, 4096), Q2_OK);
    memset(model + 40960, 0, 8192);
    memset(model + 61440, 0, 4096);
    T_CHECK_U64(fixture_first_difference(&f, model, size), FIXTURE_SAME);
    T_CHECK_U64(q2_disk_flush(f.disk), Q2_OK);
    T_CHECK_U64(fixture_first_difference(&f, model, size), FIXTURE_SAME);
    T_CHECK_U64(q2_disk_check(f.disk, NULL, &result), Q2_OK);
    T_CHECK_U64(result.corruptions + result.leaks + result.check_errors, 0);
    T_CHECK_U64(f.image.nb_writes + f.image.nb_flushes + f.image.nb_grows, 0);
    T_CHECK(!f.opener.last_writable);
}

static void fill_image(void)
{
    for (uint64_t at = 0; at < image.spec.size; at += image_cluster_size(&image)) {
        if (at / image_cluster_size(&image) % 3 != 2)
            image_data(&image, at, 1 + (uint32_t)(at >> 16));
    }
}

/* What cannot be written, and all that can. */
static void test_overlay_above_images_of_any_state(void)
{
    static const struct {
        const char *row;
        struct image_spec spec;
        const char *field;
        uint64_t value;
    } rows[] = {
        {"plain", {.size = 256 * KIB}, NULL, 0},
        {"version 2", {.size = 256 * KIB, .version = 2}, NULL, 0},
        {"size no multiple of a cluster", {.size = 200 * KIB + 512}, NULL, 0},
        {"data file", {.size = 256 * KIB, .external = true}, NULL, 0},
        {"corrupt", {.size = 256 * KIB}, "incompatible_features", 2},
        {"dirty", {.size = 256 * KIB}, "incompatible_features", 1},
        {"small clusters", {.size = 256 * KIB, .cluster_bits = 9, .max_clusters = 1024}, NULL, 0},
    };

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        t_row(rows[i].row);
        image_start(&image, &rows[i].spec);
        fill_image();
        if (rows[i].field)
            image_field_set(&image, rows[i].field, rows[i].value);
        fixture_start(&f, &image);
        f.options.data_file = rows[i].spec.external ? FIXTURE_DATA_PATH : NULL;
        T_CHECK_U64(setup(image.model.bytes, image.spec.size, CAPACITY), Q2_OK);
        check_writes();
        cleanup();
        image_free(&image);
    }
}

static void test_overlay_above_a_snapshot(void)
{
    image_start(&image, &(struct image_spec){.size = 256 * KIB});
    fill_image();
    image_snapshot(&image, &(struct image_snapshot_spec){.id = "1", .name = "first"});
    image_snapshots_write(&image);
    image_data(&image, 0, 77);
    fixture_start(&f, &image);
    f.options.snapshot = "first";
    T_CHECK_U64(setup(image.snapshot_models[0].bytes, image.spec.size, CAPACITY), Q2_OK);
    check_writes();
    cleanup();
    image_free(&image);
}

static void test_overlay_above_a_raw_image(void)
{
    uint8_t *bytes = malloc(256 * KIB);

    for (uint64_t i = 0; i < 256 * KIB; i++)
        bytes[i] = image_byte(5, i);
    fixture_start_bytes(&f, bytes, 256 * KIB);
    f.options.format = Q2_FORMAT_RAW;
    T_CHECK_U64(setup(bytes, 256 * KIB, CAPACITY), Q2_OK);
    check_writes();
    cleanup();
    free(bytes);
}

/* The options are the image's: a data file that it does not have is its mistake. */
static void test_overlay_options_are_about_the_image_below(void)
{
    image_start(&image, &(struct image_spec){.size = 256 * KIB});
    fixture_start(&f, &image);
    f.options.data_file = FIXTURE_DATA_PATH;
    T_CHECK_U64(setup(image.model.bytes, image.spec.size, CAPACITY), Q2_ERR_DATA_FILE_UNEXPECTED);
    T_CHECK_STR(f.fault.file, FIXTURE_IMAGE_PATH);
    f.options.data_file = NULL;
    f.options.metadata_only = true;
    f.options.writable = false;
    T_CHECK_U64(fixture_open(&f), Q2_ERR_ARGUMENT);
    T_CHECK_STR(fixture_text(&f), "an overlay needs more than metadata");
    cleanup();
    image_free(&image);
}

/* Every capacity up to one that holds all: a write fails with Q2_ERR_NO_SPACE, what was written
 * before stays, clusters that exist can be written, and what is given back is used again. */
static void test_overlay_full_fails_and_reads_stay_right(void)
{
    image_start(&image, &(struct image_spec){.size = 256 * KIB});
    fill_image();
    for (uint64_t capacity = 24 * KIB; capacity <= 128 * KIB; capacity += 4 * KIB + 512) {
        uint64_t at = 0;
        enum q2_status status = Q2_OK;

        fixture_start(&f, &image);
        T_CHECK_U64(setup(image.model.bytes, image.spec.size, capacity), Q2_OK);
        for (; status == Q2_OK && at < size; at += 4096)
            status = write_at(at, 4096, (uint8_t)(1 + at / 4096));
        T_CHECK_U64(status, Q2_ERR_NO_SPACE);
        T_CHECK(at > 4096);
        T_CHECK(q2_disk_is_writable(f.disk));
        T_CHECK_U64(fixture_first_difference(&f, model, size), FIXTURE_SAME);
        T_CHECK_U64(write_at(0, 4096, 99), Q2_OK);
        T_CHECK_U64(q2_disk_discard(f.disk, 0, 4096), Q2_OK);
        memset(model, 0, 4096);
        T_CHECK_U64(write_at(200 * KIB, 4096, 98), Q2_OK);
        T_CHECK_U64(write_at(204 * KIB, 4096, 97), Q2_ERR_NO_SPACE);
        T_CHECK_U64(fixture_first_difference(&f, model, size), FIXTURE_SAME);
        T_CHECK_U64(q2_disk_flush(f.disk), Q2_OK);
        T_CHECK_U64(fixture_first_difference(&f, model, size), FIXTURE_SAME);
        cleanup();
    }
    image_free(&image);
}

/* A large write takes what is left, cluster by cluster, before it fails. */
static void test_overlay_large_write_takes_all_the_room(void)
{
    image_start(&image, &(struct image_spec){.size = 256 * KIB});
    fixture_start(&f, &image);
    T_CHECK_U64(setup(image.model.bytes, image.spec.size, 100 * KIB), Q2_OK);
    T_CHECK_U64(write_at(0, 256 * KIB, 1), Q2_ERR_NO_SPACE);
    T_CHECK(overlay.source.size + 4096 > 100 * KIB);
    T_CHECK(q2_disk_room(f.disk) < 4096);
    cleanup();
    image_free(&image);
}

/* Room is what the file has after its last cluster in use. */
static void test_room_and_dirt_of_a_writable_disk(void)
{
    uint64_t before;

    image_start(&image, &(struct image_spec){.size = 1 * MIB});
    memcpy(memory, image.bytes, image.size);
    memset(memory + image.size, 0, 4 * 65536);
    fixture_start(&f, &image);
    fake_source_init_writable(&f.image, FIXTURE_IMAGE_PATH, memory, image.size + 4 * 65536,
                              image.size + 4 * 65536);
    T_CHECK_U64(fixture_open(&f), Q2_OK);
    T_CHECK_U64(q2_disk_room(f.disk), 0);
    T_CHECK(!q2_disk_is_writable(f.disk));
    f.options.writable = true;
    T_CHECK_U64(fixture_open(&f), Q2_OK);
    before = q2_disk_room(f.disk);
    T_CHECK_U64(before, 4 * 65536);
    T_CHECK(!q2_disk_is_dirty(f.disk));
    T_CHECK_U64(q2_disk_write(f.disk, 0, "x", 1), Q2_OK);
    T_CHECK_U64(q2_disk_room(f.disk), before - 2 * 65536); /* an L2 table and a cluster */
    T_CHECK(q2_disk_is_dirty(f.disk));
    T_CHECK_U64(q2_disk_flush(f.disk), Q2_OK);
    T_CHECK(!q2_disk_is_dirty(f.disk));
    T_CHECK_U64(q2_disk_write(f.disk, 0, "y", 1), Q2_OK); /* in place */
    T_CHECK(!q2_disk_is_dirty(f.disk));
    fixture_end(&f);
    image_free(&image);
}

int main(void)
{
    memory = malloc(8 * MIB);
    T_RUN(test_overlay_above_images_of_any_state);
    T_RUN(test_overlay_above_a_snapshot);
    T_RUN(test_overlay_above_a_raw_image);
    T_RUN(test_overlay_options_are_about_the_image_below);
    T_RUN(test_overlay_full_fails_and_reads_stay_right);
    T_RUN(test_overlay_large_write_takes_all_the_room);
    T_RUN(test_room_and_dirt_of_a_writable_disk);
    free(memory);
    return t_done();
}
