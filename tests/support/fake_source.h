/* A source in memory whose calls fail on demand and are counted: what the unit tests read from.
 *
 * It holds the engine to the contract of q2_source.h: a call
 * outside the source's size or of length 0 aborts the test program. A failed call leaves garbage in
 * the buffer, so that nobody can use it unnoticed.
 */
#ifndef METALCOW_TESTS_FAKE_SOURCE_H
#define METALCOW_TESTS_FAKE_SOURCE_H

#include "q2_source.h"

#define FAKE_LOG_SIZE 64

struct fake_call {
    uint64_t offset;
    size_t length;
};

/* Set the script's fields at any time; counters may be reset at any time. */
struct fake_source {
    struct q2_source source;
    const uint8_t *bytes; /* the caller's */
    uint8_t *memory;      /* the same, if writable */
    uint64_t capacity;    /* of memory: what the file can grow to */
    uint64_t nb_held;     /* how many; between them and source.size the file is zeros */
    /* Script: call number fail_call (from 1; 0: none) fails with fail_status; fail_on: and every
     * one after it. */
    uint64_t fail_call;
    bool fail_on;
    enum q2_status fail_status;
    /* Reads that touch [bad_start, bad_end) fail with fail_status. */
    uint64_t bad_start, bad_end;
    /* Call number n (from 1) of the kind fails with fail_status; 0: none. */
    uint64_t fail_write, fail_flush, fail_grow;
    /* Counters. */
    uint64_t nb_reads, nb_bytes;
    uint64_t nb_writes, nb_flushes, nb_grows, nb_punches;
    uint64_t nb_unflushed;               /* writes since the last flush */
    struct fake_call log[FAKE_LOG_SIZE]; /* the first calls since the counters were reset */
};

/* A source over size bytes, with an identity of its own. path must outlive it. */
void fake_source_init(struct fake_source *fake, const char *path, const uint8_t *bytes,
                      uint64_t size);

/* The same, writable, in memory of capacity bytes; its content past size does not matter. */
void fake_source_init_writable(struct fake_source *fake, const char *path, uint8_t *memory,
                               uint64_t size, uint64_t capacity);

/* Let a writable source punch holes and become shorter. Neither fails. */
void fake_source_gives_back(struct fake_source *fake);

/* Forget counters and log; the script counts from here. */
void fake_source_reset(struct fake_source *fake);

/* Which call fails, for tests that let each of them fail in turn. */
enum fake_kind {
    FAKE_READ,
    FAKE_READS, /* a read and all after it */
    FAKE_WRITE,
    FAKE_FLUSH,
    FAKE_GROW,
    FAKE_NB_KINDS
};

extern const char *const fake_kind_names[FAKE_NB_KINDS];

/* Reset, and let call number n (from 1) of a kind fail and no other; n = 0: none. To grow fails for
 * want of space, all else with an I/O error. */
void fake_source_fail_nth(struct fake_source *fake, enum fake_kind kind, uint64_t n);

/* How many calls of a kind there were since the counters were reset. */
uint64_t fake_source_nb_calls(const struct fake_source *fake, enum fake_kind kind);

#endif
