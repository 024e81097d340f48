/* Every content that files may have after a power cut.
 *
 * From a log of writes, flushes and grows: at each flush, and at the end,
 * every subset of what was done to each file since its own last flush may have reached it
 * (HAZARDS.md, "Power cuts"). That includes every prefix. After each write, the write torn at each
 * sector.
 */
#ifndef METALCOW_TESTS_CRASH_STATES_H
#define METALCOW_TESTS_CRASH_STATES_H

#include "crash_source.h"

/* A file as it may be found after the cut. */
struct crash_file {
    uint8_t *bytes; /* zeros from size to capacity */
    uint64_t size;
    uint64_t capacity;
};

struct crash_state {
    struct crash_file *files; /* may be changed by the visitor if it puts the bytes back */
    uint32_t nb_files;
    uint32_t op;   /* what was going on: operations below it are complete */
    uint64_t hash; /* of all files' content */
};

/* How much to try. */
struct crash_bounds {
    uint32_t all_up_to; /* in-flight writes and grows of which every subset is tried */
    uint32_t sample;    /* subsets tried beyond, drawn by seed */
    uint32_t tears;     /* places where one write is torn, at most */
    uint64_t seed;
};

struct crash_visitor {
    /* Judge one state. Return false to stop. */
    bool (*visit)(struct crash_visitor *visitor, const struct crash_state *state);
};

/* Visit every state of a log.
 *
 * initial, sizes  the files before the first event, nb_files of them
 * capacities      no file was ever larger
 * nb_ops          the op of the cut after the last event
 */
void crash_states_visit(const struct crash_log *log, const uint8_t *const *initial,
                        const uint64_t *sizes, const uint64_t *capacities, uint32_t nb_files,
                        uint32_t nb_ops, const struct crash_bounds *bounds,
                        struct crash_visitor *visitor);

/* Next number of a stream; the seed is its state. */
uint64_t crash_random(uint64_t *seed);

#endif
