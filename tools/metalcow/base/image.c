/* An image that a verb has opened. May call drivers/ and the engine.
 *
 * Invariant: what image_open() returned is open as a whole; on error nothing stays open.
 */
#include "image.h"

#include <stdlib.h>

#include "output.h"
#include "core/base/range.h"

static struct q2_disk_options disk_options(struct image *image, const struct image_options *options,
                                           bool metadata_only)
{
    return (struct q2_disk_options){
        .data_file = options->data_file,
        .backing_file = options->backing_file,
        .snapshot = options->snapshot,
        .names = options->names,
        .format = options->format,
        .backing_raw_if_unnamed = options->backing_raw,
        .metadata_only = metadata_only,
        .writable = options->writable,
        .repair = options->repair,
        .repair_if_dirty = options->writable,
        .overlay = options->overlay,
        .zlib = q2_codec_zlib_init(&image->zlib),
        .zstd = q2_codec_zstd_init(&image->zstd),
        .unlocker = q2_unlocker_passphrase_init(&image->unlocker),
    };
}

static enum q2_status open_disk(struct image *image, const struct image_options *options,
                                bool metadata_only, struct q2_fault *fault)
{
    struct q2_disk_options engine_options = disk_options(image, options, metadata_only);
    enum q2_status status;

    if (!passphrase_provide(&image->passphrase, options->passphrase_file, &image->unlocker))
        return Q2_ERR_ENCRYPTED;
    if (options->held)
        q2_source_posix_hold(&image->file, options->held);
    q2_opener_posix_init(&image->opener);
    image->opener.block_devices = options->names == Q2_NAMES_ANY;
    status = q2_disk_open(image->workspace, &image->file.source, &image->opener.opener,
                          &engine_options, fault, &image->disk);
    passphrase_wipe(&image->passphrase, &image->unlocker);
    if (status == Q2_OK && q2_disk_was_repaired(image->disk)) {
        fputs("metalcow: ", stderr);
        print_escaped(stderr, image->path);
        fputs(": the image was not closed cleanly; its refcounts have been repaired\n", stderr);
    }
    return status;
}

struct image *image_try_open(const char *path, const struct image_options *options,
                             bool metadata_only, struct q2_fault *ret_fault)
{
    struct image *image = calloc(1, sizeof(*image));
    enum q2_status status;

    *ret_fault = (struct q2_fault){.status = Q2_OK};
    if (!image)
        goto no_memory;
    image->path = path;
    image->workspace = aligned_alloc(Q2_WORKSPACE_ALIGN, Q2_WORKSPACE_SIZE);
    if (!image->workspace)
        goto no_memory;
    status = q2_source_posix_open(
        &image->file, path,
        Q2_POSIX_BLOCK_DEVICES | (options->writable && !options->overlay ? Q2_POSIX_WRITABLE : 0u));
    if (status != Q2_OK) {
        ret_fault->status = status;
        goto free_image;
    }
    status = open_disk(image, options, metadata_only, ret_fault);
    if (status != Q2_OK)
        goto close_file;
    return image;

close_file:
    q2_source_posix_close(&image->file);
    goto free_image;
no_memory:
    fputs("metalcow: out of memory\n", stderr);
free_image:
    if (image)
        free(image->workspace);
    free(image);
    return NULL;
}

struct image *image_open(const char *path, const struct image_options *options, bool metadata_only)
{
    struct q2_fault fault;
    struct image *image = image_try_open(path, options, metadata_only, &fault);

    if (!image && fault.status != Q2_OK)
        print_fault(path, &fault);
    return image;
}

void image_close(struct image *image)
{
    if (!image)
        return;
    if (q2_disk_nb_bitmaps_lost(image->disk) > 0) {
        fputs("metalcow: ", stderr);
        print_escaped(stderr, image->path);
        fprintf(stderr,
                ": warning: %u dirty bitmap(s) marked as inconsistent, because the image was "
                "written; make a full backup next\n",
                (unsigned)q2_disk_nb_bitmaps_lost(image->disk));
    }
    q2_disk_close(image->disk);
    q2_source_posix_close(&image->file);
    free(image->workspace);
    free(image);
}

bool image_has_range(const struct image *image, uint64_t offset, uint64_t length)
{
    uint64_t size = q2_disk_size(image->disk);

    if (q2_range_fits(offset, length, size))
        return true;
    print_fault(image->path, &(struct q2_fault){.status = Q2_ERR_RANGE,
                                                .field = "guest offset",
                                                .value = offset,
                                                .has_value = true,
                                                .limit = size,
                                                .has_limit = true});
    return false;
}

bool image_flush(struct image *image)
{
    if (q2_disk_flush(image->disk) == Q2_OK)
        return true;
    image_print_fault(image);
    return false;
}

void image_print_fault(const struct image *image)
{
    print_fault(image->path, q2_disk_fault(image->disk));
}

int image_source_fd(const struct q2_source *source)
{
    return ((const struct q2_source_posix *)source)->fd;
}

bool image_same_file(const struct q2_source *a, const struct q2_source *b)
{
    return a->identity[0] == b->identity[0] && a->identity[1] == b->identity[1];
}

bool image_uses(const struct image *image, const struct q2_source *file)
{
    for (uint32_t i = 0; i < q2_disk_nb_layers(image->disk); i++) {
        struct q2_layer_info info;

        q2_disk_layer_info(image->disk, i, &info);
        if (image_same_file(info.source, file) || image_same_file(info.data_source, file))
            return true;
    }
    return false;
}
