/* One disk under test. */
#include "fixture.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/format/header_write.h"
#include "core/read/disk.h"
#include "q2_check.h"
#include "t.h"
#include "workspace.h"

#define GARBAGE 0xa7

void fixture_start_bytes(struct fixture *f, const uint8_t *bytes, uint64_t size)
{
    memset(f, 0, sizeof(*f));
    f->workspace = workspace_take();
    fake_source_init(&f->image, FIXTURE_IMAGE_PATH, bytes, size);
    fake_opener_init(&f->opener);
    fake_codec_init(&f->zlib);
    fake_codec_init(&f->zstd);
    f->options.zlib = &f->zlib.codec;
    f->options.zstd = &f->zstd.codec;
}

void fixture_start(struct fixture *f, const struct image *image)
{
    fixture_start_bytes(f, image->bytes, image->size);
    if (image->data) {
        fake_source_init(&f->data, FIXTURE_DATA_PATH, image->data, image->data_size);
        fake_opener_add(&f->opener, FIXTURE_DATA_PATH, &f->data);
    }
}

void fixture_start_writable(struct fixture *f, const struct image *image, uint8_t *memory,
                            uint64_t capacity)
{
    memcpy(memory, image->bytes, image->size);
    fixture_start(f, image);
    fake_source_init_writable(&f->image, FIXTURE_IMAGE_PATH, memory, image->size, capacity);
    f->options.writable = true;
}

void fixture_end(struct fixture *f)
{
    fixture_close(f);
    workspace_give(f->workspace);
    free(f->buffer);
}

enum q2_status fixture_open(struct fixture *f)
{
    fixture_close(f);
    memset(&f->fault, 0, sizeof(f->fault));
    return q2_disk_open(f->workspace, &f->image.source, &f->opener.opener, &f->options, &f->fault,
                        &f->disk);
}

void fixture_close(struct fixture *f)
{
    if (f->disk)
        q2_disk_close(f->disk);
    f->disk = NULL;
}

static void check_same_layer(const struct q2_image *a, const struct q2_image *b)
{
    struct q2_header_disk header_a, header_b;

    q2_header_encode(&a->header, &header_a);
    q2_header_encode(&b->header, &header_b);
    T_CHECK(memcmp(&header_a, &header_b, sizeof(header_a)) == 0);
    T_CHECK_U64(a->rules.version_3, b->rules.version_3);
    T_CHECK_U64(a->virtual_size, b->virtual_size);
    T_CHECK_U64(a->l1_table_offset, b->l1_table_offset);
    T_CHECK_U64(a->l1_size, b->l1_size);
    T_CHECK_U64(a->nb_bitmaps, b->nb_bitmaps);
    T_CHECK_U64(a->bitmaps_offset, b->bitmaps_offset);
    T_CHECK_U64(a->bitmaps_length, b->bitmaps_length);
    T_CHECK_STR(a->backing_file, b->backing_file);
    T_CHECK_STR(a->backing_format, b->backing_format);
    T_CHECK_STR(a->data_file, b->data_file);
}

void fixture_reopen(struct fixture *f)
{
    struct q2_image before = f->disk->layers[0];

    if (T_CHECK_U64(fixture_open(f), Q2_OK))
        check_same_layer(&before, &f->disk->layers[0]);
}

/* Compare [offset, offset + length) with want, read in one request. */
static uint64_t compare(struct fixture *f, const uint8_t *want, uint64_t offset, uint64_t length)
{
    memset(f->buffer, GARBAGE, length);
    if (q2_disk_read(f->disk, offset, f->buffer, length) != Q2_OK)
        return FIXTURE_ERROR;
    for (uint64_t i = 0; i < length; i++) {
        if (f->buffer[i] != want[offset + i])
            return offset + i;
    }
    return FIXTURE_SAME;
}

uint64_t fixture_first_difference(struct fixture *f, const uint8_t *want, uint64_t size)
{
    static const uint64_t lengths[] = {1, 511, 512, 4096, 65537, 3, 131072, 100000, 8191};
    uint64_t at = 0, difference;

    if (q2_disk_size(f->disk) != size)
        return q2_disk_size(f->disk);
    free(f->buffer);
    f->buffer = malloc(size + 1);
    if (!f->buffer)
        abort();
    difference = compare(f, want, 0, size);
    for (size_t i = 0; at < size && difference == FIXTURE_SAME; i++) {
        uint64_t length = lengths[i % (sizeof(lengths) / sizeof(lengths[0]))];
        if (length > size - at)
            length = size - at;
        difference = compare(f, want, at, length);
        at += length;
    }
    return difference;
}

static const struct q2_fault *last_fault(const struct fixture *f)
{
    return f->disk ? q2_disk_fault(f->disk) : &f->fault;
}

const char *fixture_text(struct fixture *f)
{
    f->text[0] = '\0';
    if (last_fault(f)->status != Q2_OK)
        (void)q2_fault_format(last_fault(f), f->text, sizeof(f->text));
    return f->text;
}

enum q2_status fixture_status(const struct fixture *f)
{
    return last_fault(f)->status;
}

const char *fixture_field(const struct fixture *f)
{
    return last_fault(f)->field ? last_fault(f)->field : "";
}

enum q2_status fixture_fill(struct fixture *f, uint8_t *model, uint64_t offset, size_t length,
                            uint8_t value)
{
    uint8_t *bytes = malloc(length + 1);
    enum q2_status status;

    memset(bytes, value, length);
    status = q2_disk_write(f->disk, offset, bytes, length);
    if (status == Q2_OK)
        memset(model + offset, value, length);
    free(bytes);
    return status;
}

void fixture_check_flushed(struct fixture *f, const uint8_t *model, uint64_t size)
{
    struct q2_check_result result;

    T_CHECK_U64(fixture_first_difference(f, model, size), FIXTURE_SAME);
    T_CHECK_U64(q2_disk_flush(f->disk), Q2_OK);
    fixture_reopen(f);
    T_CHECK_U64(fixture_first_difference(f, model, size), FIXTURE_SAME);
    T_CHECK_U64(q2_disk_check(f->disk, NULL, &result), Q2_OK);
    T_CHECK_U64(result.corruptions + result.leaks + result.check_errors, 0);
}

struct counter {
    struct q2_check_reporter reporter;
    uint32_t nb_dangerous;
};

static void count_finding(struct q2_check_reporter *reporter,
                          const struct q2_check_finding *finding)
{
    if (finding->kind != Q2_CHECK_LEAK && finding->kind != Q2_CHECK_COPIED)
        ((struct counter *)reporter)->nb_dangerous++;
}

uint32_t fixture_nb_dangerous(struct fixture *f)
{
    struct counter counter = {.reporter = {.report = count_finding}};
    struct q2_check_result result;

    T_CHECK_U64(q2_disk_check(f->disk, &counter.reporter, &result), Q2_OK);
    return counter.nb_dangerous;
}

uint8_t fixture_byte(struct fixture *f, uint64_t at)
{
    uint8_t byte = 0;

    T_CHECK_U64(q2_disk_read(f->disk, at, &byte, 1), Q2_OK);
    return byte;
}

bool fixture_is_dirty(struct fixture *f, const struct q2_bitmap *bitmap, uint64_t at)
{
    uint64_t offset = 0, length = 0;

    T_CHECK_U64(q2_disk_bitmap_dirty(f->disk, bitmap, at, &offset, &length), Q2_OK);
    return length > 0 && offset <= at;
}

bool fixture_settle(struct fixture *f, enum q2_status status)
{
    enum q2_status stored;

    if (status != Q2_OK)
        T_CHECK_U64(q2_disk_fault(f->disk)->status, status);
    stored = q2_disk_bitmaps_store(f->disk); /* as at close, whatever has failed */
    status = status == Q2_OK ? stored : status;
    if (status == Q2_OK)
        status = q2_disk_flush(f->disk);
    return status == Q2_OK && q2_disk_nb_bitmaps_lost(f->disk) == 0;
}
