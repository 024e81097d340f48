/* The allocation of a disk as qemu-img's `map` tells it: runs of one state, from all layers.
 *
 * Called by the verbs map, convert and compare.
 */
#ifndef METALCOW_ENTRIES_H
#define METALCOW_ENTRIES_H

#include <stdbool.h>
#include <stdint.h>

#include "holes.h"
#include "image.h"

struct map_entry {
    uint64_t start;  /* guest offset, bytes */
    uint64_t length; /* bytes */
    uint64_t offset; /* bytes into file, if has_offset */
    const char *file;
    uint32_t depth; /* layer that answered */
    bool present;   /* some layer has it */
    bool zero;      /* known to read as zeros */
    bool data;      /* stored, not only noted as zeros */
    bool has_offset;
};

/* What is kept while an image is walked. */
struct entries {
    struct image *image;
    struct holes holes;
    bool look_for_holes[Q2_MAX_LAYERS];
};

void entries_begin(struct entries *entries, struct image *image);

/* The state at guest offset start, for 1..max_length bytes. Errors as q2_disk_map(). */
enum q2_status entries_next(struct entries *entries, uint64_t start, uint64_t max_length,
                            struct map_entry *ret_entry);

/* Whether b continues a. */
bool entries_continue(const struct map_entry *a, const struct map_entry *b);

#endif
