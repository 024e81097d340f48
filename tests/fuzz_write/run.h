/* One run: an image with random geometry, a model of it, and a sequence of random operations.
 *
 * run_episode() is judged as it goes; the first thing that is wrong ends it and is told in
 * run->why. Every operation has a seed of its own, so that a run without some of its operations
 * does the others as before, as far as the state allows.
 */
#ifndef METALCOW_TESTS_FUZZ_WRITE_RUN_H
#define METALCOW_TESTS_FUZZ_WRITE_RUN_H

#include "content.h"
#include "q2_check.h"

#define MAX_SNAPS   3u
#define EPISODE_OPS 200u

enum snap_presence {
    SNAP_NONE,
    SNAP_MAYBE, /* after a failure while it was made or deleted */
    SNAP_PRESENT,
};

/* A snapshot that the model knows. */
struct snap {
    enum snap_presence presence;
    char name[64];
    uint64_t size;
    uint8_t *bytes; /* GUEST_MAX */
    bool unreadable[NB_SECTORS];
};

struct geometry {
    uint32_t cluster_bits, refcount_bits;
    bool version_2, extended, data_file, raw, base;
};

struct run {
    struct world world;
    struct content content;
    struct snap snaps[MAX_SNAPS];
    struct geometry geometry;
    uint64_t seed; /* of the operation at work */
    uint32_t nb_snaps_made;
    bool damaged;       /* any operation may be refused */
    bool may_leak;      /* something failed or was cut */
    bool flags_may_lag; /* COPIED flags may be clear although the refcount is 1 */
    bool limited;       /* the file cannot grow for ever */
    bool compressed;    /* there were compressed clusters */
    uint8_t *next;      /* GUEST_MAX bytes: what the operation makes of the disk */
    uint8_t *read;      /* GUEST_MAX bytes */
    uint8_t *stream;
    uint64_t first_size; /* bytes of the disk when it was made */
    char op[160], why[600];
    bool trace;       /* print each operation */
    const char *keep; /* file for the last damaged image; NULL: none */
};

void run_start(struct run *run);
void run_free(struct run *run);

/* Bounds of a random number. */
uint64_t run_random(struct run *run, uint64_t below);
/* Say what is wrong; returns false. */
bool run_wrong(struct run *run, const char *what, uint64_t value);
bool run_failed(struct run *run, const char *what, enum q2_status status);
/* Say what is being done. */
void run_says(struct run *run, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* --- make.c --- */

/* A new image, open for writing, and its model. */
bool run_make(struct run *run);

/* --- judge.c --- */

/* Read sectors of the disk into run->read and compare them with the model. */
bool judge_range(struct run *run, uint32_t first, uint32_t end);
/* Open for writing; the size and every sector is what the model allows, and becomes the newest. */
bool judge_open(struct run *run);
/* The whole disk, which is open, against the model, and adopt it. */
bool judge_all(struct run *run);
/* The check finds no corruption, and no leak if there can be none. */
bool judge_check(struct run *run, bool flushed);
/* Each snapshot is there or not as the model says, with its content. Closes the disk. */
bool judge_snaps(struct run *run);
/* Judge no sector any more in which a raw data file, which is the disk, has other bytes. */
void judge_leave_out_unnamed(struct run *run);
/* Read what is there, in pieces, where each sector may fail: sets unreadable. */
void judge_observe(struct run *run, uint64_t size, uint8_t *bytes, bool *unreadable);

/* --- steps.c --- */

/* Do one random operation, with failures and cuts, and judge it. */
bool step_run(struct run *run);
/* Flush; close if the disk is open. */
bool step_close(struct run *run);

/* --- damage.c --- */

/* Damage the metadata, judge what reading, checking and repairing make of it, and go on with the
 * result, or with the image as it was before. */
bool damage_run(struct run *run);

#endif
