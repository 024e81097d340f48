/* A file in memory that records what is done to it, and fails on demand. */
#include "crash_source.h"
#include "core/base/range.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SECTOR  512u
#define GARBAGE 0xe5

void *crash_memory(void *old, size_t size)
{
    void *memory = realloc(old, size > 0 ? size : 1);

    if (!memory) {
        printf("# out of memory\n");
        abort();
    }
    return memory;
}

/* Buffers that nobody uses now, the newest last. */
static struct {
    void *bytes;
    size_t size;
} spare[256];
static unsigned nb_spare;

void *crash_buffer_take(size_t size)
{
    for (unsigned i = nb_spare; i-- > 0;) {
        if (spare[i].size == size) {
            void *bytes = spare[i].bytes;
            memmove(&spare[i], &spare[i + 1], (--nb_spare - i) * sizeof(*spare));
            return bytes;
        }
    }
    return crash_memory(NULL, size);
}

void crash_buffer_give(void *buffer, size_t size)
{
    if (!buffer)
        return;
    if (nb_spare == sizeof(spare) / sizeof(*spare)) {
        free(spare[0].bytes);
        memmove(&spare[0], &spare[1], --nb_spare * sizeof(*spare));
    }
    spare[nb_spare].bytes = buffer;
    spare[nb_spare++].size = size;
}

void crash_log_free(struct crash_log *log)
{
    free(log->events);
    free(log->arena);
    *log = (struct crash_log){.recording = false};
}

static struct crash_event *add_event(struct crash_source *crash, enum crash_call call)
{
    struct crash_log *log = crash->log;

    if (log->nb_events == log->max_events) {
        log->max_events = 2 * log->max_events + 64;
        log->events = crash_memory(log->events, log->max_events * sizeof(*log->events));
    }
    log->events[log->nb_events] =
        (struct crash_event){.call = call, .file = crash->file, .op = log->op};
    return &log->events[log->nb_events++];
}

static void add_write(struct crash_source *crash, uint64_t offset, size_t length)
{
    struct crash_log *log = crash->log;
    uint64_t start = offset / SECTOR * SECTOR;
    size_t n = (size_t)((offset + length + SECTOR - 1) / SECTOR * SECTOR - start);
    struct crash_event *event;

    if (log->arena_size - log->arena_used < n) {
        log->arena_size = 2 * log->arena_size + n;
        log->arena = crash_memory(log->arena, log->arena_size);
    }
    memcpy(log->arena + log->arena_used, crash->bytes + start, n);
    event = add_event(crash, CRASH_WRITE);
    event->offset = start;
    event->length = n;
    event->bytes = log->arena_used;
    log->arena_used += n;
}

/* Count a call; does it fail? */
static bool fails(struct crash_source *crash, enum crash_call call)
{
    struct crash_log *log = crash->log;

    if (!(log->fail_calls & (unsigned)call))
        return false;
    log->nb_calls++;
    if (log->fail_at == 0 || log->nb_calls < log->fail_at ||
        (log->nb_calls > log->fail_at && !log->fail_on))
        return false;
    log->failed |= (unsigned)call;
    log->failed_file = crash->file;
    return true;
}

static void check_contract(const struct crash_source *crash, uint64_t offset, size_t length)
{
    uint64_t size = crash->source.size;

    if (length == 0 || !q2_range_fits(offset, length, size)) {
        printf("# %s: %zu bytes at %llu break the contract, size is %llu\n", crash->source.path,
               length, (unsigned long long)offset, (unsigned long long)size);
        abort();
    }
}

static enum q2_status crash_read_at(struct q2_source *source, uint64_t offset, void *buffer,
                                    size_t length)
{
    struct crash_source *crash = (struct crash_source *)source;

    check_contract(crash, offset, length);
    if (fails(crash, CRASH_READ)) {
        memset(buffer, GARBAGE, length);
        return crash->log->fail_status;
    }
    memcpy(buffer, crash->bytes + offset, length);
    return Q2_OK;
}

/* The sectors of a write that fails reach the file up to here. */
static size_t torn_length(const struct crash_log *log, uint64_t offset, size_t length)
{
    uint64_t middle = (offset + length / 2) / SECTOR * SECTOR;

    if (log->torn == CRASH_TORN_NONE)
        return 0;
    if (log->torn == CRASH_TORN_ALL)
        return length;
    return middle > offset ? (size_t)(middle - offset) : 0;
}

static enum q2_status crash_write_at(struct q2_source *source, uint64_t offset, const void *buffer,
                                     size_t length)
{
    struct crash_source *crash = (struct crash_source *)source;
    bool failed;

    check_contract(crash, offset, length);
    failed = fails(crash, CRASH_WRITE);
    if (failed)
        length = torn_length(crash->log, offset, length);
    if (length > 0) {
        memcpy(crash->bytes + offset, buffer, length);
        if (crash->log->recording)
            add_write(crash, offset, length);
    }
    if (!failed && crash->log->on_write)
        crash->log->on_write(crash->log);
    return failed ? crash->log->fail_status : Q2_OK;
}

static enum q2_status crash_flush(struct q2_source *source)
{
    struct crash_source *crash = (struct crash_source *)source;

    if (fails(crash, CRASH_FLUSH))
        return crash->log->fail_status;
    if (crash->log->recording)
        (void)add_event(crash, CRASH_FLUSH);
    return Q2_OK;
}

static enum q2_status crash_grow(struct q2_source *source, uint64_t new_size)
{
    struct crash_source *crash = (struct crash_source *)source;

    if (new_size <= source->size) {
        printf("# %s: grow to %llu breaks the contract\n", source->path,
               (unsigned long long)new_size);
        abort();
    }
    if (fails(crash, CRASH_GROW))
        return crash->log->fail_status;
    if (new_size > crash->limit)
        return Q2_ERR_NO_SPACE;
    source->size = new_size;
    if (crash->log->recording)
        add_event(crash, CRASH_GROW)->offset = new_size;
    return Q2_OK;
}

/* Zeros in place of a range, as a write of them. */
static enum q2_status crash_punch(struct q2_source *source, uint64_t offset, uint64_t length)
{
    struct crash_source *crash = (struct crash_source *)source;

    check_contract(crash, offset, (size_t)length);
    memset(crash->bytes + offset, 0, (size_t)length);
    if (crash->log->recording)
        add_write(crash, offset, (size_t)length);
    return Q2_OK;
}

static enum q2_status crash_truncate(struct q2_source *source, uint64_t new_size)
{
    struct crash_source *crash = (struct crash_source *)source;

    if (new_size >= source->size) {
        printf("# %s: cut to %llu breaks the contract\n", source->path,
               (unsigned long long)new_size);
        abort();
    }
    if (crash->gives_back)
        (void)crash_punch(source, new_size, source->size - new_size);
    source->size = new_size;
    if (crash->log->recording)
        add_event(crash, CRASH_CUT)->offset = new_size;
    return Q2_OK;
}

static const struct q2_source_ops giving_ops = {
    .read_at = crash_read_at,
    .write_at = crash_write_at,
    .flush = crash_flush,
    .grow = crash_grow,
    .punch = crash_punch,
    .truncate = crash_truncate,
};

void crash_source_gives_back(struct crash_source *crash)
{
    crash->gives_back = true;
    crash->source.ops = &giving_ops;
}

static const struct q2_source_ops crash_ops = {
    .read_at = crash_read_at,
    .write_at = crash_write_at,
    .flush = crash_flush,
    .grow = crash_grow,
};

void crash_source_init(struct crash_source *crash, struct crash_log *log, uint32_t file,
                       const char *path, const uint8_t *bytes, uint64_t size, uint64_t capacity)
{
    *crash = (struct crash_source){
        .source = {.ops = &crash_ops,
                   .path = path,
                   .size = size,
                   .identity = {0xc4a5, file},
                   .io_align = 1,
                   .writable = true},
        .log = log,
        .file = file,
        .bytes = crash_buffer_take(capacity + SECTOR),
        .capacity = capacity,
        .limit = capacity,
    };
    memset(crash->bytes, 0, capacity + SECTOR);
    memcpy(crash->bytes, bytes, size);
}

void crash_source_reset(struct crash_source *crash, const uint8_t *bytes, uint64_t size)
{
    uint64_t used = crash->source.size > size ? crash->source.size : size;

    memcpy(crash->bytes, bytes, size);
    memset(crash->bytes + size, 0, used - size);
    crash->source.size = size;
    crash->limit = crash->capacity;
}

void crash_source_free(struct crash_source *crash)
{
    crash_buffer_give(crash->bytes, crash->capacity + SECTOR);
    crash->bytes = NULL;
}
