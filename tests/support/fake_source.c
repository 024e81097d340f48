/* A source in memory with scripted faults. */
#include "fake_source.h"
#include "core/base/range.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define GARBAGE 0xe5

static bool must_fail(const struct fake_source *fake, uint64_t offset, size_t length)
{
    if (offset < fake->bad_end && offset + length > fake->bad_start)
        return true;
    return fake->fail_call != 0 && (fake->nb_reads == fake->fail_call ||
                                    (fake->fail_on && fake->nb_reads > fake->fail_call));
}

static enum q2_status fake_read_at(struct q2_source *source, uint64_t offset, void *buffer,
                                   size_t length)
{
    struct fake_source *fake = (struct fake_source *)source;
    uint64_t held;

    if (length == 0 || !q2_range_fits(offset, length, source->size)) {
        printf("# %s: read of %zu bytes at %llu breaks the contract, size is %llu\n", source->path,
               length, (unsigned long long)offset, (unsigned long long)source->size);
        abort();
    }
    if (fake->nb_reads < FAKE_LOG_SIZE)
        fake->log[fake->nb_reads] = (struct fake_call){.offset = offset, .length = length};
    fake->nb_reads++;
    fake->nb_bytes += length;
    if (must_fail(fake, offset, length)) {
        memset(buffer, GARBAGE, length);
        return fake->fail_status;
    }
    held = offset < fake->nb_held ? fake->nb_held - offset : 0;
    held = held < length ? held : length;
    memset(buffer, 0, length);
    memcpy(buffer, fake->bytes + (held > 0 ? offset : 0), held);
    return Q2_OK;
}

static const struct q2_source_ops fake_ops = {.read_at = fake_read_at};

static enum q2_status fake_write_at(struct q2_source *source, uint64_t offset, const void *buffer,
                                    size_t length)
{
    struct fake_source *fake = (struct fake_source *)source;

    if (length == 0 || !q2_range_fits(offset, length, source->size)) {
        printf("# %s: write of %zu bytes at %llu breaks the contract, size is %llu\n", source->path,
               length, (unsigned long long)offset, (unsigned long long)source->size);
        abort();
    }
    if (++fake->nb_writes == fake->fail_write)
        return fake->fail_status;
    memcpy(fake->memory + offset, buffer, length);
    fake->nb_unflushed++;
    return Q2_OK;
}

static enum q2_status fake_flush(struct q2_source *source)
{
    struct fake_source *fake = (struct fake_source *)source;

    if (++fake->nb_flushes == fake->fail_flush)
        return fake->fail_status;
    fake->nb_unflushed = 0;
    return Q2_OK;
}

static enum q2_status fake_grow(struct q2_source *source, uint64_t new_size)
{
    struct fake_source *fake = (struct fake_source *)source;

    if (++fake->nb_grows == fake->fail_grow)
        return fake->fail_status;
    if (new_size > fake->capacity)
        return Q2_ERR_NO_SPACE;
    memset(fake->memory + source->size, 0, new_size - source->size);
    source->size = fake->nb_held = new_size;
    return Q2_OK;
}

static const struct q2_source_ops writable_ops = {
    .read_at = fake_read_at, .write_at = fake_write_at, .flush = fake_flush, .grow = fake_grow};

static enum q2_status fake_punch(struct q2_source *source, uint64_t offset, uint64_t length)
{
    struct fake_source *fake = (struct fake_source *)source;

    if (length == 0 || !q2_range_fits(offset, length, source->size))
        abort();
    fake->nb_punches++;
    memset(fake->memory + offset, 0, length);
    return Q2_OK;
}

static enum q2_status fake_truncate(struct q2_source *source, uint64_t new_size)
{
    struct fake_source *fake = (struct fake_source *)source;

    if (new_size >= source->size)
        abort();
    source->size = fake->nb_held = new_size;
    return Q2_OK;
}

static const struct q2_source_ops giving_ops = {.read_at = fake_read_at,
                                                .write_at = fake_write_at,
                                                .flush = fake_flush,
                                                .grow = fake_grow,
                                                .punch = fake_punch,
                                                .truncate = fake_truncate};

void fake_source_gives_back(struct fake_source *fake)
{
    fake->source.ops = &giving_ops;
}

void fake_source_init(struct fake_source *fake, const char *path, const uint8_t *bytes,
                      uint64_t size)
{
    static uint64_t next_identity;

    *fake = (struct fake_source){
        .source = {.ops = &fake_ops,
                   .path = path,
                   .size = size,
                   .identity = {0xfa, ++next_identity},
                   .io_align = 1},
        .bytes = bytes,
        .nb_held = size,
        .fail_status = Q2_ERR_IO,
    };
}

void fake_source_init_writable(struct fake_source *fake, const char *path, uint8_t *memory,
                               uint64_t size, uint64_t capacity)
{
    fake_source_init(fake, path, memory, size);
    fake->source.ops = &writable_ops;
    fake->source.writable = true;
    fake->memory = memory;
    fake->capacity = capacity;
}

void fake_source_reset(struct fake_source *fake)
{
    fake->nb_reads = 0;
    fake->nb_bytes = 0;
    fake->nb_writes = fake->nb_flushes = fake->nb_grows = fake->nb_punches = 0;
    memset(fake->log, 0, sizeof(fake->log));
}

const char *const fake_kind_names[FAKE_NB_KINDS] = {"read", "reads from", "write", "flush", "grow"};

void fake_source_fail_nth(struct fake_source *fake, enum fake_kind kind, uint64_t n)
{
    fake_source_reset(fake);
    fake->fail_status = kind == FAKE_GROW ? Q2_ERR_NO_SPACE : Q2_ERR_IO;
    fake->fail_on = kind == FAKE_READS;
    fake->fail_call = kind == FAKE_READ || kind == FAKE_READS ? n : 0;
    fake->fail_write = kind == FAKE_WRITE ? n : 0;
    fake->fail_flush = kind == FAKE_FLUSH ? n : 0;
    fake->fail_grow = kind == FAKE_GROW ? n : 0;
}

uint64_t fake_source_nb_calls(const struct fake_source *fake, enum fake_kind kind)
{
    const uint64_t nb[FAKE_NB_KINDS] = {fake->nb_reads, fake->nb_reads, fake->nb_writes,
                                        fake->nb_flushes, fake->nb_grows};

    return nb[kind];
}
