/* Opening a disk for reading, and closing it.
 *
 * May call backing_chain.c, which opens the files, and the init functions of window.c,
 * slice_cache.c and compressed.c. Invariant: a disk that is opened here cannot be written;
 * core/open/ makes one writable.
 */
#include "open.h"

#include "backing_chain.h"
#include "q2_fail.h"
#include "core/base/memory.h"

/* The decoded cache is divided for the largest cluster that any layer compresses. */
static uint32_t largest_cluster(const struct q2_disk *disk)
{
    uint32_t bits = Q2_MIN_CLUSTER_BITS;

    for (uint32_t i = 0; i < disk->nb_layers; i++) {
        if (disk->layers[i].format == Q2_FORMAT_QCOW2 && disk->layers[i].rules.cluster_bits > bits)
            bits = disk->layers[i].rules.cluster_bits;
    }
    return 1u << bits;
}

void q2_disk_reset_decoded(struct q2_disk *disk)
{
    q2_decoded_cache_init(&disk->decoded, &disk->windows, &disk->decoded_memory,
                          largest_cluster(disk));
}

static enum q2_status check_options(const struct q2_disk_options *options, struct q2_opener *opener,
                                    struct q2_fault *fault)
{
    if (!opener && !options->metadata_only)
        return q2_fail(fault, Q2_ERR_ARGUMENT, "no opener was given", NULL);
    if (options->overlay && options->metadata_only)
        return q2_fail(fault, Q2_ERR_ARGUMENT, "an overlay needs more than metadata", NULL);
    return Q2_OK;
}

/* Give every field its first value. The large buffers are left as they are. */
static void start(struct q2_disk *disk, struct q2_opener *opener,
                  const struct q2_disk_options *options)
{
    disk->opener = opener;
    disk->unlocker = options->unlocker;
    disk->zlib = options->zlib;
    disk->zstd = options->zstd;
    disk->metadata_only = options->metadata_only;
    disk->short_end = options->short_end;
    disk->nb_layers = 0;
    disk->recent.length = 0;
    disk->next_offset = 0;
    memset(&disk->fault, 0, sizeof(disk->fault));
    memset(&disk->listing, 0, sizeof(disk->listing));
    disk->writer.writable = false;
    disk->writer.repairable = false;
    disk->writer.end = 0;
    disk->writer.header_ready = false;
    disk->writer.nb_bitmaps_lost = 0;
    disk->writer.keep_bitmaps = options->keep_bitmaps;
    disk->writer.nb_recorded = 0;
    disk->writer.repaired = false;
    disk->writer.latched = false;
    disk->writer.first_free = 0;
    disk->writer.packed_end = 0;
    disk->writer.nb_frees = 0;
    q2_windows_clear(&disk->windows);
    q2_slice_cache_init(&disk->slices, &disk->windows);
}

enum q2_status q2_layers_open(void *workspace, struct q2_source *image, struct q2_opener *opener,
                              const struct q2_disk_options *options, struct q2_fault *fault,
                              struct q2_disk **ret_disk)
{
    struct q2_disk *disk = workspace;
    enum q2_status status = check_options(options, opener, fault);

    if (status != Q2_OK)
        return status;
    start(disk, opener, options);
    status = q2_chain_open(disk, image, options);
    if (status != Q2_OK) {
        *fault = disk->fault;
        return status;
    }
    q2_disk_reset_decoded(disk);
    *ret_disk = disk;
    return Q2_OK;
}

enum q2_status q2_disk_open_for_reading(void *workspace, struct q2_source *image,
                                        struct q2_opener *opener,
                                        const struct q2_disk_options *options,
                                        struct q2_fault *fault, struct q2_disk **ret_disk)
{
    if (options->writable || options->repair || options->repair_if_dirty)
        return q2_fail(fault, Q2_ERR_ARGUMENT,
                       "a disk that is opened for reading cannot be written", NULL);
    return q2_layers_open(workspace, image, opener, options, fault, ret_disk);
}

void q2_disk_close(struct q2_disk *disk)
{
    q2_chain_close(disk);
}
