/* The files of an open disk, as a hand-off record has them.
 *
 * For programs that make a record on a host. (The firmware's disks are described by
 * efi/handoff/record.c, because not all of their sources have extents.) Every source of the disk
 * must be a struct q2_source_extents on one volume.
 */
#ifndef Q2_DRIVERS_HANDOFF_FILES_H
#define Q2_DRIVERS_HANDOFF_FILES_H

#include "q2_disk.h"
#include "q2_handoff.h"

/* Samples of every file that a record can have. */
#define Q2_HANDOFF_ALL_SAMPLES ((size_t)Q2_HANDOFF_MAX_FILES * Q2_HANDOFF_MAX_SAMPLES)

/* Fill handoff->files: role, layer, path, size with the room after the end, extents, samples.
 *
 * disk         open with all its files, and flushed, because samples are read from the volume
 * first_layer  the layer of the top image: 1 if the disk has an overlay in memory, else 0
 * samples      Q2_HANDOFF_ALL_SAMPLES of them; the record points into it, and into the sources
 * buffer       Q2_HANDOFF_SAMPLE_SIZE bytes
 * fault        filled on any error
 *
 * Q2_ERR_LIMIT   a file is stored in more extents than the record has room for; fault names it
 * Q2_ERR_IO ...  a source failed
 */
enum q2_status q2_handoff_files(struct q2_handoff *handoff, const struct q2_disk *disk,
                                uint32_t first_layer, struct q2_handoff_sample *samples,
                                void *buffer, struct q2_fault *fault);

#endif
