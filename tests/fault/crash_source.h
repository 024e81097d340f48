/* A file in memory that records what is done to it, and fails on demand.
 *
 * Several sources share one log, so that the order between an image and its
 * data file is kept. The device below has sectors of 512 bytes that are written whole: a write is
 * recorded as the sectors that it touches, with their content after it. crash_states.h builds from
 * the log every content that the files may have after a power cut.
 *
 * A call that breaks the contract of q2_source.h aborts the test program.
 */
#ifndef METALCOW_TESTS_CRASH_SOURCE_H
#define METALCOW_TESTS_CRASH_SOURCE_H

#include "q2_source.h"

#define CRASH_MAX_FILES 2

/* Kinds of calls, as bits. */
enum crash_call {
    CRASH_READ = 1,
    CRASH_WRITE = 2,
    CRASH_FLUSH = 4,
    CRASH_GROW = 8,
    CRASH_CUT = 16, /* truncate(); the bytes go by a write of zeros before it */
};
#define CRASH_ALL     (CRASH_READ | CRASH_WRITE | CRASH_FLUSH | CRASH_GROW)
#define CRASH_CHANGES (CRASH_WRITE | CRASH_FLUSH | CRASH_GROW)

/* One write, flush or grow that succeeded. */
struct crash_event {
    enum crash_call call;
    uint32_t file;
    uint32_t op;     /* the log's op when it happened */
    uint64_t offset; /* WRITE: bytes, aligned to a sector; GROW, CUT: the new size */
    size_t length;   /* WRITE: bytes */
    size_t bytes;    /* WRITE: index into the log's arena */
};

/* What of a write that fails reaches the file. */
enum crash_torn {
    CRASH_TORN_NONE,
    CRASH_TORN_HALF, /* the first half of its sectors: a short write */
    CRASH_TORN_ALL,
};

/* The log, and the script of failures. */
struct crash_log {
    bool recording;
    uint32_t op; /* set by the test: what it is doing */
    struct crash_event *events;
    size_t nb_events, max_events;
    uint8_t *arena;
    size_t arena_used, arena_size;
    /* Script: of the calls of fail_calls' kinds number fail_at (from 1; 0: none) fails. */
    unsigned fail_calls;
    uint64_t fail_at;
    bool fail_on; /* and every one after it */
    enum q2_status fail_status;
    enum crash_torn torn;
    uint64_t nb_calls;    /* calls of those kinds so far */
    unsigned failed;      /* kinds that failed since it was last set to 0 */
    uint32_t failed_file; /* of the last call that failed */
    /* Called after each write that succeeded; may be NULL. */
    void (*on_write)(struct crash_log *log);
};

void crash_log_free(struct crash_log *log);

struct crash_source {
    struct q2_source source;
    struct crash_log *log;
    uint32_t file;
    uint8_t *bytes; /* zeros from source.size on */
    uint64_t capacity;
    bool gives_back; /* it has punch() and truncate() */
    uint64_t limit;  /* grow() past it gives Q2_ERR_NO_SPACE; at most capacity */
};

/* A writable source over a copy of size bytes with room to grow to capacity. path must outlive it.
 */
void crash_source_init(struct crash_source *crash, struct crash_log *log, uint32_t file,
                       const char *path, const uint8_t *bytes, uint64_t size, uint64_t capacity);
/* Let it give space back: punch() is recorded as a write of zeros. Neither fails. */
void crash_source_gives_back(struct crash_source *crash);
/* Back to these bytes; the log is left alone. */
void crash_source_reset(struct crash_source *crash, const uint8_t *bytes, uint64_t size);
void crash_source_free(struct crash_source *crash);

/* Memory or the end of the test program. */
void *crash_memory(void *old, size_t size);
/* The same for a buffer of a case, which the next case wants again: size bytes, of any content. New
 * pages cost more than filling them. */
void *crash_buffer_take(size_t size);
void crash_buffer_give(void *buffer, size_t size);

#endif
