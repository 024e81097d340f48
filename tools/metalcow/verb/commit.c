/* metalcow commit: copies an overlay's data into a file of its backing chain.
 *
 * Invariant: an interruption loses nothing, because the data are written to the base first, then
 * the base is flushed, and only then is the overlay emptied. The overlay stays open, and so locked,
 * from the first read on.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "drivers/posix/lock.h"
#include "q2_amend.h"

#include "tools/metalcow/base/image.h"
#include "tools/metalcow/convert/make_image.h"
#include "tools/metalcow/base/output.h"
#include "tools/metalcow/base/progress.h"
#include "tools/metalcow/base/rate.h"
#include "tools/metalcow/verbs.h"

#define BUFFER_SIZE ((size_t)2 << 20)

struct commit {
    struct image *overlay;
    struct image *base;
    uint32_t base_layer; /* of the overlay's chain */
    uint8_t *buffer;
    struct progress progress;
    struct rate rate;
};

/* --- the base ------------------------------------------------------------------------------- */

static bool leads_to(const char *path, const struct q2_source *file)
{
    struct q2_source_posix other;
    bool ret;

    if (q2_source_posix_open(&other, path, Q2_POSIX_BLOCK_DEVICES) != Q2_OK)
        return false;
    ret = q2_same_file(&other.source, file);
    q2_source_posix_close(&other);
    return ret;
}

/* Whether the user's name means a layer: as the layer above names it, or as a path from there or
 * from here. */
static bool is_named(const char *name, const struct q2_layer_info *above,
                     const struct q2_layer_info *layer)
{
    char path[Q2_MAX_PATH_LENGTH + 1];

    return strcmp(name, above->backing_file) == 0 || leads_to(name, layer->source) ||
           (make_image_join(above->source->path, name, path) && leads_to(path, layer->source));
}

static bool find_base(struct commit *commit, const char *name)
{
    struct q2_disk *disk = commit->overlay->disk;
    uint32_t nb_layers = q2_disk_nb_layers(disk);

    if (nb_layers == 1)
        return complain_of(commit->overlay->path, Q2_ERR_ARGUMENT,
                           "the image has no backing file that its data could go to");
    commit->base_layer = 1;
    for (; name && commit->base_layer < nb_layers; commit->base_layer++) {
        struct q2_layer_info above, layer;

        q2_disk_layer_info(disk, commit->base_layer - 1, &above);
        q2_disk_layer_info(disk, commit->base_layer, &layer);
        if (is_named(name, &above, &layer))
            break;
    }
    return commit->base_layer < nb_layers ||
           complain_of(name, Q2_ERR_ARGUMENT, "not in the image's backing chain");
}

/* A raw file grows before it is opened as a disk. */
static bool grow_raw(const char *path, uint64_t size)
{
    struct q2_source_posix file;
    enum q2_status status =
        q2_source_posix_open(&file, path, Q2_POSIX_WRITABLE | Q2_POSIX_BLOCK_DEVICES);

    if (status != Q2_OK)
        return complain_of(path, status, NULL);
    if (file.source.size < size)
        status =
            file.source.ops->grow ? file.source.ops->grow(&file.source, size) : Q2_ERR_NO_SPACE;
    q2_source_posix_close(&file);
    return status == Q2_OK || complain_of(path, status, NULL);
}

/* Release the locks of a layer that keep other programs from changing it, because this program is
 * about to write to it. */
static void unlock_layer(const struct q2_layer_info *info)
{
    q2_lock_posix_release(image_source_fd(info->source));
    if (info->data_source && info->data_source != info->source)
        q2_lock_posix_release(image_source_fd(info->data_source));
}

/* The id of the base's secret: its own if files below the image have their own, otherwise the one
 * that opens all. NULL: none. */
static const char *base_secret(const struct image_options *options, uint32_t base_layer)
{
    const struct given_files *files = &options->backing_files;

    for (uint32_t i = 0; i < files->nb; i++) {
        if (files->key_secrets[i])
            return base_layer <= files->nb ? files->key_secrets[base_layer - 1] : NULL;
    }
    return options->key_secret;
}

/* Open the base for writing, at least as large as the overlay. */
static bool open_base(struct commit *commit, const struct arguments *arguments)
{
    struct image_options options = {
        .names = arguments->image[0].names,
        .backing_format = arguments->image[0].backing_format,
        .passphrase_file = arguments->image[0].passphrase_file,
        .key_file = arguments->image[0].key_file,
        .key_secret = base_secret(&arguments->image[0], commit->base_layer),
        .objects = arguments->image[0].objects,
        .cache = arguments->image[0].cache,
        .writable = true,
    };
    uint64_t size = q2_disk_size(commit->overlay->disk);
    struct q2_layer_info info;

    for (uint32_t i = commit->base_layer; i < arguments->image[0].backing_files.nb; i++) {
        const struct given_files *given = &arguments->image[0].backing_files;
        options.backing_files.paths[options.backing_files.nb] = given->paths[i];
        options.backing_files.key_secrets[options.backing_files.nb] = given->key_secrets[i];
        options.backing_files.formats[options.backing_files.nb++] = given->formats[i];
    }
    q2_disk_layer_info(commit->overlay->disk, commit->base_layer, &info);
    options.format = info.format == Q2_FORMAT_RAW ? FORMAT_RAW : FORMAT_QCOW2;
    unlock_layer(&info);
    if (info.format == Q2_FORMAT_RAW && !grow_raw(info.source->path, size))
        return false;
    commit->base = image_open(info.source->path, &options, false);
    if (!commit->base)
        return false;
    if (q2_disk_size(commit->base->disk) >= size ||
        q2_disk_resize(commit->base->disk, (size + 511) & ~UINT64_C(511), false) == Q2_OK)
        return true;
    image_print_fault(commit->base);
    return false;
}

/* --- copying -------------------------------------------------------------------------------- */

static bool copy_data(struct commit *commit, uint64_t at, uint64_t length)
{
    while (length > 0) {
        size_t n = length < BUFFER_SIZE ? (size_t)length : BUFFER_SIZE;

        if (q2_disk_read(commit->overlay->disk, at, commit->buffer, n) != Q2_OK) {
            image_print_fault(commit->overlay);
            return false;
        }
        if (q2_disk_write(commit->base->disk, at, commit->buffer, n) != Q2_OK) {
            image_print_fault(commit->base);
            return false;
        }
        rate_wait(&commit->rate, n);
        at += n;
        length -= n;
    }
    return true;
}

/* Can whole clusters of the base be given back? A raw file, and raw external data, are written
 * anyway. */
static bool can_discard(const struct commit *commit)
{
    struct q2_layer_info info;

    q2_disk_layer_info(commit->base->disk, 0, &info);
    return info.format == Q2_FORMAT_QCOW2 &&
           !(info.header->autoclear_features & Q2_AUTOCLEAR_RAW_EXTERNAL);
}

/* Zeros take no clusters of the base: what it has there is given back, the rest becomes zeros. */
static bool copy_zeros(struct commit *commit, uint64_t at, uint64_t length)
{
    struct q2_disk *disk = commit->base->disk;
    enum q2_status status = can_discard(commit) ? q2_disk_discard(disk, at, length) : Q2_OK;

    if (status == Q2_OK)
        status = q2_disk_write_zeroes(disk, at, length);
    if (status == Q2_OK)
        return true;
    image_print_fault(commit->base);
    return false;
}

/* Past the end of a layer above the base, the disk reads as zeros. Where the base has data there,
 * write zeros into it; where it has none, leave it. */
static bool hide(struct commit *commit, uint64_t at, uint64_t length)
{
    while (length > 0) {
        struct q2_extent extent;

        if (q2_disk_map(commit->base->disk, at, length, &extent) != Q2_OK) {
            image_print_fault(commit->base);
            return false;
        }
        if (extent.kind != Q2_EXTENT_UNALLOCATED && !copy_zeros(commit, at, extent.length))
            return false;
        at += extent.length;
        length -= extent.length;
    }
    return true;
}

static bool copy_extent(struct commit *commit, const struct q2_extent *extent)
{
    if (extent->layer >= commit->base_layer)
        return true;
    switch (extent->kind) {
    case Q2_EXTENT_DATA:
    case Q2_EXTENT_COMPRESSED:
        return copy_data(commit, extent->guest_offset, extent->length);
    case Q2_EXTENT_ZERO:
        return copy_zeros(commit, extent->guest_offset, extent->length);
    case Q2_EXTENT_UNALLOCATED:
    default:
        return hide(commit, extent->guest_offset, extent->length);
    }
}

static bool copy(struct commit *commit)
{
    uint64_t size = q2_disk_size(commit->overlay->disk), at = 0;

    while (at < size) {
        struct q2_extent extent;

        if (q2_disk_map(commit->overlay->disk, at, size - at, &extent) != Q2_OK) {
            image_print_fault(commit->overlay);
            return false;
        }
        if (!copy_extent(commit, &extent))
            return false;
        at += extent.length;
        progress_update(&commit->progress, at, size);
    }
    /* The first flush makes the data durable and then lowers the refcounts of what was given back;
     * the second one makes those durable too. */
    return image_flush(commit->base) && image_flush(commit->base);
}

/* --- the verb ------------------------------------------------------------------------------- */

static bool copy_to_base(struct commit *commit, const struct arguments *arguments)
{
    bool done;

    if (!find_base(commit, arguments->base) || !open_base(commit, arguments))
        return false;
    commit->buffer = malloc(BUFFER_SIZE);
    if (!commit->buffer)
        return complain_of(commit->overlay->path, Q2_ERR_LIMIT, "out of memory");
    progress_begin(&commit->progress, arguments->progress, arguments->quiet);
    done = copy(commit);
    progress_end(&commit->progress, done);
    return done;
}

static bool empty(struct commit *commit)
{
    if (q2_disk_make_empty(commit->overlay->disk) == Q2_OK)
        return true;
    image_print_fault(commit->overlay);
    return false;
}

int verb_commit(const struct arguments *arguments)
{
    bool drop = arguments->drop || arguments->base;
    struct image_options options = arguments->image[0];
    struct commit commit = {.base_layer = 1};
    bool done;

    rate_begin(&commit.rate, arguments->rate);
    options.writable = !drop;
    commit.overlay = image_open(arguments->operands[0], &options, false);
    if (!commit.overlay)
        return EXIT_ERROR;
    done = copy_to_base(&commit, arguments) && (drop || empty(&commit));
    image_close(commit.base);
    image_close(commit.overlay);
    free(commit.buffer);
    if (done && !arguments->quiet)
        puts("Image committed.");
    return done ? EXIT_SUCCESS : EXIT_ERROR;
}
