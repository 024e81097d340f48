/* The allocation of a disk as qemu-img's `map` shows it: runs of one state, from all layers.
 *
 * May call the engine, holes.h and preallocated.h.
 */
#ifndef METALCOW_ENTRIES_H
#define METALCOW_ENTRIES_H

#include <stdbool.h>
#include <stdint.h>

#include "tools/metalcow/convert/holes.h"
#include "image.h"
#include "q2_report.h"

/* What is kept while an image is walked. */
struct entries {
    struct image *image;
    struct holes holes;
    bool look_for_holes[Q2_MAX_LAYERS];
};

void entries_begin(struct entries *entries, struct image *image);

/* The state at guest offset start, for 1..max_length bytes. Errors as q2_disk_map(). */
enum q2_status entries_next(struct entries *entries, uint64_t start, uint64_t max_length,
                            struct q2_map_entry *ret_entry);

#endif
