/* What the bench reads without the engine: guest ranges as pieces of files, streams and zeros.
 *
 * A plan is made before the clock starts, so that the loops that are timed look nothing up. May
 * call q2_disk_map() and the maps of the files.
 */
#ifndef METALCOW_EFI_BENCH_PLAN_H
#define METALCOW_EFI_BENCH_PLAN_H

#include "efi/image/attach.h"

/* Guest bytes of one kind, in one place, within one request. */
struct mc_piece {
    enum q2_extent_kind kind;
    uint32_t length;
    struct q2_place_file *file; /* DATA */
    uint64_t file_offset;       /* DATA */
    uint64_t volume_offset;     /* DATA, if file is read by extents */
    struct q2_codec *codec;     /* COMPRESSED: a whole cluster */
    const uint8_t *stream;      /* COMPRESSED */
    size_t stream_length;
};

struct mc_plan {
    struct mc_piece *pieces; /* pages */
    size_t nb, capacity;
    uint8_t *streams; /* pages */
    size_t nb_stream_bytes;
    size_t nb_data, nb_fill; /* pieces of these kinds */
    bool complete;           /* false: not everything can be read without the engine */
};

/* Get memory for a plan; false if there is none. */
bool mc_plan_init(struct mc_plan *plan);
void mc_plan_free(struct mc_plan *plan);

/* Forget all pieces. */
void mc_plan_clear(struct mc_plan *plan);

/* Add one request. What cannot be planned (a part of a compressed cluster, a file that is not read
 * by extents, too many pieces) makes the plan incomplete.
 *
 * Errors are those of q2_disk_map() and of the sources.
 */
enum q2_status mc_plan_add(struct mc_plan *plan, struct mc_image *image, uint64_t offset,
                           size_t length);

#endif
