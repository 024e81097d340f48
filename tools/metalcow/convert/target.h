/* What convert writes to: a raw file or a qcow2 image.
 *
 * Implemented by target_raw.c and target_qcow2.c. Each function prints what failed on stderr before
 * it returns.
 */
#ifndef METALCOW_TARGET_H
#define METALCOW_TARGET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "tools/metalcow/base/create_options.h"
#include "tools/metalcow/base/image.h"
#include "tools/metalcow/convert/inputs.h"

/* Bytes of zeros in a row that become a hole, if nobody says so. */
#define TARGET_SPARSE_SIZE 4096u

struct target;

struct target_ops {
    /* chunk bytes for the next write(); NULL: what was written before has failed. */
    uint8_t *(*buffer)(struct target *target);

    /* Write length bytes of what buffer() gave. Zeros in it may become holes. */
    bool (*write)(struct target *target, uint64_t at, size_t length);

    /* Have the file system copy up to length bytes of a file to at. Returns how many it has copied;
     * 0, and nothing is said: none, they have to be read and written. NULL: it never can. */
    uint64_t (*offload)(struct target *target, uint64_t at, int fd, uint64_t offset,
                        uint64_t length);

    /* Make a range read as zeros. */
    bool (*zeros)(struct target *target, uint64_t at, uint64_t length);

    /* Nothing more comes: write what is still held back and make the target complete. */
    bool (*finish)(struct target *target);

    /* Free it. done: finish() was true. Else a target that did not exist before is removed. */
    void (*close)(struct target *target, bool done);
};

struct target {
    const struct target_ops *ops;
    uint64_t unit;       /* bytes; where a write may begin and end (or at the disk's end) */
    size_t chunk;        /* bytes, a multiple of unit */
    bool shares_backing; /* what is not written shows the backing file, which the input has too */
    uint64_t blank_from; /* bytes; from here on, what is not written reads as zeros because the
                             target is new and its backing file ends; UINT64_MAX: nowhere */
};

/* What a target shall be. */
struct target_options {
    const char *path;
    const struct inputs *inputs;   /* what is converted */
    uint64_t sparse_size;          /* bytes of zeros in a row that become a hole; 0: none */
    enum file_cache cache;         /* of the target's files */
    struct image_options opens_by; /* what --target-image-opts says of it */
    bool skip_create;              /* write into a target that exists, without emptying it */
    bool target_is_zero;           /* with skip_create: it reads as zeros as it is */
    bool keeps_backing;            /* -B: leave out what the target's backing file has */
    bool compressed;
    bool bitmaps;                    /* copy the dirty bitmaps of the first input; qcow2 only */
    unsigned nb_threads;             /* that encode; >= 1 */
    struct create_options *creation; /* outlives the target; image.virtual_size is set here */
};

/* Open or make a target; NULL if it cannot be, and nothing was changed then. */
struct target *target_raw_open(const struct target_options *options);
struct target *target_qcow2_open(const struct target_options *options);

/* Whether a file is one of those that an input is stored in: writing onto it would destroy what is
 * being read. Said on stderr. */
bool target_is_input(const struct target_options *options, const struct q2_source *file);

/* The same for a file that could not be opened because it is in use: perhaps by the input. */
bool target_path_is_input(const struct target_options *options, const char *path);

/* Length of the piece at bytes, in whole units, that is all zero or has no unit of zeros. */
size_t target_piece(const uint8_t *bytes, size_t length, uint64_t unit, bool *ret_zero);

#endif
