/* A source in memory with scripted faults. */
#include "fake_source.h"

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

    if (length == 0 || offset > source->size || length > source->size - offset) {
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

void fake_source_reset(struct fake_source *fake)
{
    fake->nb_reads = 0;
    fake->nb_bytes = 0;
    memset(fake->log, 0, sizeof(fake->log));
}
