/* A byte source over a buffer in memory.
 *
 * Lowest step of the data path; calls nothing but mem*. Invariant: no access past capacity, no
 * growth past it.
 */
#include "source.h"
#include "core/base/range.h"

static struct q2_source_memory *memory_of(struct q2_source *source)
{
    return (struct q2_source_memory *)source;
}

static enum q2_status memory_read(struct q2_source *source, uint64_t offset, void *buffer,
                                  size_t length)
{
    if (!q2_range_fits(offset, length, source->size))
        return Q2_ERR_IO;
    __builtin_memcpy(buffer, memory_of(source)->buffer + offset, length);
    return Q2_OK;
}

static enum q2_status memory_write(struct q2_source *source, uint64_t offset, const void *buffer,
                                   size_t length)
{
    if (!source->writable)
        return Q2_ERR_READ_ONLY;
    if (!q2_range_fits(offset, length, source->size))
        return Q2_ERR_IO;
    __builtin_memcpy(memory_of(source)->buffer + offset, buffer, length);
    return Q2_OK;
}

static enum q2_status memory_flush(struct q2_source *source)
{
    (void)source;
    return Q2_OK;
}

static enum q2_status memory_grow(struct q2_source *source, uint64_t new_size)
{
    struct q2_source_memory *memory = memory_of(source);

    if (!source->writable)
        return Q2_ERR_READ_ONLY;
    if (new_size > memory->capacity)
        return Q2_ERR_NO_SPACE;
    if (new_size <= source->size)
        return Q2_ERR_ARGUMENT;
    __builtin_memset(memory->buffer + source->size, 0, (size_t)(new_size - source->size));
    source->size = new_size;
    return Q2_OK;
}

static const struct q2_source_ops memory_ops = {
    .read_at = memory_read,
    .write_at = memory_write,
    .flush = memory_flush,
    .grow = memory_grow,
};

void q2_source_memory_init(struct q2_source_memory *memory, void *buffer, uint64_t size,
                           uint64_t capacity, bool writable, const char *path)
{
    *memory = (struct q2_source_memory){
        .source =
            {
                .ops = &memory_ops,
                .path = path,
                .size = size,
                .identity = {(uintptr_t)buffer, UINT64_MAX},
                .io_align = 1,
                .writable = writable,
            },
        .buffer = buffer,
        .capacity = capacity,
    };
}
