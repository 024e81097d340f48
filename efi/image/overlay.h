/* The overlay: memory that takes what is written to a disk of mode overlay.
 *
 * Used at attach and detach only. It is a qcow2 image like any other, made by q2_create() in a
 * block of pages, so the engine's write side serves it as it is: freed clusters are used again, and
 * when it is full a write fails and reads stay right. Nothing of it outlives the disk.
 */
#ifndef METALCOW_EFI_OVERLAY_H
#define METALCOW_EFI_OVERLAY_H

#include "drivers/memory/source.h"

struct mc_overlay {
    struct q2_source_memory source;
    void *memory; /* pages; NULL: there is no overlay */
};

/* Make an empty overlay.
 *
 * workspace     Q2_WORKSPACE_SIZE bytes, as for q2_create()
 * virtual_size  of the disk, bytes; the rest of a last, partial sector is not offered
 * capacity      bytes of memory
 * fault         filled on any error; then no memory is kept
 *
 * Q2_ERR_LIMIT     not so much memory
 * Q2_ERR_NO_SPACE  capacity does not even hold the tables
 */
enum q2_status mc_overlay_make(void *workspace, uint64_t virtual_size, uint64_t capacity,
                               struct q2_fault *fault, struct mc_overlay *overlay);

/* Give the memory back; nothing if there is none. */
void mc_overlay_free(struct mc_overlay *overlay);

#endif
