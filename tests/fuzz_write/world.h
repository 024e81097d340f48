/* The files of a random image, in memory, and what a power cut makes of them.
 *
 * Every file has two contents: the one that is read and written, and the durable one, which has
 * what was flushed. world_settle() moves what a flush covered from the log to the durable content;
 * world_cut() makes the files what they may be after a power cut. May call crash_source.h.
 */
#ifndef METALCOW_TESTS_FUZZ_WRITE_WORLD_H
#define METALCOW_TESTS_FUZZ_WRITE_WORLD_H

#include "q2_disk.h"
#include "tests/fault/crash_source.h"
#include "tests/fault/crash_states.h"
#include "tests/support/fake_codec.h"

#define SECTOR      512u
#define GUEST_MAX   (1u << 20) /* bytes of a disk that are written and compared */
#define NB_SECTORS  (GUEST_MAX / SECTOR)
#define IMAGE_MAX   (12u << 20) /* bytes that the image's file can grow to */
#define DATA_MAX    (2u * GUEST_MAX)
#define WORLD_FILES 2u

struct durable {
    uint8_t *bytes; /* zeros from size on */
    uint64_t size;
};

struct world {
    struct crash_log log, base_log;
    struct crash_source files[WORLD_FILES]; /* the image and its data file */
    struct durable durable[WORLD_FILES];
    struct crash_source base; /* raw backing file, only read */
    struct q2_opener opener;
    struct fake_codec codec;
    void *workspace;
    struct q2_disk *disk; /* NULL while not open */
    struct q2_fault fault;
    bool small_cache; /* after each write only slices that wait to be written are kept */
};

/* How to open. */
enum world_mode {
    WORLD_READ,
    WORLD_WRITE,
    WORLD_REPAIR,
    WORLD_REPAIR_METADATA, /* the same without other files */
};

void world_start(struct world *world);
void world_free(struct world *world);
/* All files empty, no call fails, nothing is open. */
void world_reset(struct world *world);

/* Close the disk, if it is open, and open it. snapshot may be NULL. */
enum q2_status world_open(struct world *world, enum world_mode mode, const char *snapshot);
void world_close(struct world *world);

/* What flushes have covered becomes durable and leaves the log. */
void world_settle(struct world *world);
/* Everything that was written is durable. */
void world_settle_all(struct world *world);
/* Cut the power after the first nb_events events of the log: of what no flush covered, a random
 * part has reached the files. The disk must be closed. The log is empty afterwards. */
void world_cut(struct world *world, size_t nb_events, uint64_t *seed);

#endif
