/* The bench: our disk beside other ways to the same bytes, in turns.
 *
 * command_bench.c opens everything. bench_rows.c says what is read, bench_ways.c how. bench.c lets
 * the ways take turns, and bench_report.c prints. A row is read in rounds of several turns. In a
 * turn every way reads the same ranges, one way after the other. The next turn starts with another
 * way, so that other work on the machine disturbs all ways alike.
 */
#ifndef METALCOW_EFI_BENCH_H
#define METALCOW_EFI_BENCH_H

#include "bench_plan.h"

#define MC_BENCH_MAX_ROUNDS   32u
#define MC_BENCH_MAX_TURNS    32u            /* in one round */
#define MC_BENCH_MAX_REQUESTS 1024u          /* in one turn */
#define MC_BENCH_MAX_LENGTH   (1024u * 1024) /* of one request */
#define MC_BENCH_NB_WAYS      11u
#define MC_BENCH_MAX_QUEUED   64u /* requests on their way at once */
#define MC_BENCH_BUFFER_SIZE  (4u * 1024 * 1024)
#define MC_BENCH_MAX_FILES    8u

/* A file of the plan, opened through the file system. */
struct mc_bench_file {
    const struct q2_place_file *file;
    EFI_FILE_PROTOCOL *File;
    uint64_t position; /* where the next Read() begins by itself */
};

/* What one way took in the turns of a round. */
struct mc_bench_times {
    uint64_t ticks[MC_BENCH_MAX_TURNS];
    uint64_t nb_requests; /* of a turn */
    bool left_out;        /* it cannot read all of the row's turns */
};

struct mc_bench {
    EFI_BLOCK_IO_PROTOCOL *ours;   /* the published disk */
    EFI_BLOCK_IO2_PROTOCOL *ours2; /* the same disk's */
    EFI_BLOCK_IO_PROTOCOL *beside; /* another one, NULL if none was named */
    EFI_HANDLE volume;             /* where the image is stored */
    EFI_BLOCK_IO_PROTOCOL *volume_block_io;
    EFI_DISK_IO_PROTOCOL *volume_disk_io;
    struct mc_image *image; /* the same image, opened by this program, for the plan */
    const struct mc_disk_spec *options;
    struct mc_plan plan;
    struct mc_bench_file files[MC_BENCH_MAX_FILES];
    EFI_BLOCK_IO2_TOKEN tokens[MC_BENCH_MAX_QUEUED];
    uint8_t *buffer; /* MC_BENCH_BUFFER_SIZE bytes in pages */
    uint64_t frequency;
    uint32_t nb_rounds;
    uint64_t position; /* sequential rows: the next guest offset; others: a number to draw from */
    uint64_t next_new; /* write rows: guest offset that nothing was written to yet */
    struct mc_bench_times times[MC_BENCH_NB_WAYS];
    struct q2_fault fault;
    /* The current turn. */
    size_t request, nb_requests;
    uint64_t offsets[MC_BENCH_MAX_REQUESTS];
};

/* One row's results. */
struct mc_bench_result {
    const char *row;
    size_t request; /* bytes */
    struct {
        const char *way;
        uint64_t nb_requests; /* of a turn; 0: it cannot read everything */
        /* Per round: the median turn, and the fastest one, which no other work has disturbed. */
        uint64_t ns[MC_BENCH_MAX_ROUNDS], least[MC_BENCH_MAX_ROUNDS];
    } ways[MC_BENCH_NB_WAYS];
    uint32_t nb_rounds;
};

/* How bytes are reached. */
struct mc_bench_way {
    const char *name;
    /* Can it read the current turn? */
    bool (*applies)(const struct mc_bench *bench);
    /* Read its first requests. */
    EFI_STATUS (*run)(struct mc_bench *bench, size_t nb_requests);
    /* For a way that is known to be slow: of this many random requests only one is made. */
    size_t one_of_random;
};

/* bench_ways.c; the first one is our disk. */
#define MC_BENCH_BARE 2u
extern const struct mc_bench_way mc_bench_ways[MC_BENCH_NB_WAYS];

/* bench_queue.c: read the first requests of the turn through Block I/O 2, many at once; or signal
 * so many events and wait for each, without a request; and close the events that this took.
 *
 * length  bytes of one request to Block I/O 2; the turn's request size is a multiple of it
 * most    requests on their way at once, at most; 1 to MC_BENCH_MAX_QUEUED
 */
EFI_STATUS mc_bench_queue(struct mc_bench *bench, size_t nb_requests, size_t length, size_t most);
EFI_STATUS mc_bench_events(struct mc_bench *bench, size_t nb_events);
void mc_bench_close_events(struct mc_bench *bench);

/* Close what the ways opened. */
void mc_bench_close_files(struct mc_bench *bench);

/* What a row reads: bench_rows.c. */
struct mc_bench_row {
    const char *name;
    size_t request;               /* bytes */
    size_t nb_requests, nb_turns; /* of a turn; of a round */
    bool is_random;
    bool (*applies)(const struct mc_bench *bench);
    /* Once before the first round. */
    EFI_STATUS (*prepare)(struct mc_bench *bench);
    /* Set the offsets of the next turn. */
    void (*draw)(struct mc_bench *bench);
};
#define MC_BENCH_NB_ROWS 6u
#define MC_BENCH_OPEN    "open" /* the row that reads nothing: mc_bench_open() */
extern const struct mc_bench_row mc_bench_rows[MC_BENCH_NB_ROWS];

/* Sorts the values; nb >= 1. */
uint64_t mc_bench_median(uint64_t *values, size_t nb);

/* Read a row in rounds.
 *
 * ret_result  filled; nb_rounds 0 if the row does not apply to the image
 * Errors: bench->fault is filled
 */
enum q2_status mc_bench_run(struct mc_bench *bench, const struct mc_bench_row *row,
                            struct mc_bench_result *ret_result);

/* bench_write.c: the same for writes. The disk's content is lost.
 *
 * mc_bench_write_prepare() comes before bench->image is opened, and allocates what will be written
 * in place.
 */
#define MC_BENCH_NB_WRITE_ROWS 3u
enum q2_status mc_bench_write_prepare(struct mc_bench *bench);
enum q2_status mc_bench_write(struct mc_bench *bench, size_t index,
                              struct mc_bench_result *ret_result);

/* In each round, time opening and mapping the image, and beside it reading one FAT. */
enum q2_status mc_bench_open(struct mc_bench *bench, struct mc_bench_result *ret_result);

/* bench_report.c: print a result as part of the table, and the same as JSON.
 *
 * The JSON is printed between the lines MC_BENCH_BEGIN and MC_BENCH_END, one object per row and
 * way. A console breaks long lines, so they are broken between tokens before.
 */
#define MC_BENCH_BEGIN "metalcow-bench-begin"
#define MC_BENCH_END   "metalcow-bench-end"
void mc_bench_print_head(const struct mc_bench *bench);
void mc_bench_print(const struct mc_bench_result *result);
void mc_bench_print_json(const struct mc_bench *bench, const struct mc_bench_result *results,
                         size_t nb_results);

#endif
