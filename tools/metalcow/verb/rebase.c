/* metalcow rebase: puts another backing file below an image.
 *
 * Where the image itself has no data, its disk is compared with the new backing file's. What
 * differs is written into the image, which still has its old chain. Then the header names the new
 * file. With -u only the header is changed.
 *
 * Invariant without -u: the disk reads the same at any moment, because the header is written last,
 * after a flush.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tools/metalcow/base/image.h"
#include "tools/metalcow/convert/make_image.h"
#include "tools/metalcow/base/output.h"
#include "tools/metalcow/base/progress.h"
#include "q2_amend.h"
#include "tools/metalcow/verbs.h"
#include "tools/metalcow/base/zeros.h"

#define CHUNK_SIZE ((size_t)1 << 20)

struct rebase {
    struct image *image;
    struct image *base;  /* NULL: none */
    uint32_t same_layer; /* the layer of the image's chain that is the new backing file */
    uint64_t unit;       /* bytes; writes begin and end at multiples of it */
    bool has_zero_clusters;
    uint8_t *old, *new; /* CHUNK_SIZE each */
    struct progress progress;
};

static bool judge(const struct image *image, enum q2_status status)
{
    if (status != Q2_OK)
        image_print_fault(image);
    return status == Q2_OK;
}

/* --- comparing and writing ------------------------------------------------------------------ */

/* Read the new backing file's bytes; zeros after its end. */
static bool read_new(struct rebase *rebase, uint64_t at, size_t length)
{
    uint64_t size = rebase->base ? q2_disk_size(rebase->base->disk) : 0;
    size_t inside = at < size ? (size_t)(length < size - at ? length : size - at) : 0;

    memset(rebase->new + inside, 0, length - inside);
    return inside == 0 ||
           judge(rebase->base, q2_disk_read(rebase->base->disk, at, rebase->new, inside));
}

enum action {
    ACTION_KEEP, /* both are equal */
    ACTION_ZERO,
    ACTION_WRITE,
};

/* Version 2 has no zero clusters. There, zeros above a backing file are bytes: the engine, which
 * does not know the new backing file, could leave them unallocated. */
static enum action action_at(const struct rebase *rebase, size_t offset, size_t length)
{
    if (memcmp(rebase->old + offset, rebase->new + offset, length) == 0)
        return ACTION_KEEP;
    if (rebase->base && !rebase->has_zero_clusters)
        return ACTION_WRITE;
    return is_zero(rebase->old + offset, length) ? ACTION_ZERO : ACTION_WRITE;
}

static bool act(struct rebase *rebase, enum action action, uint64_t at, size_t offset,
                size_t length)
{
    struct q2_disk *disk = rebase->image->disk;

    if (action == ACTION_KEEP)
        return true;
    if (action == ACTION_ZERO)
        return judge(rebase->image, q2_disk_write_zeroes(disk, at + offset, length));
    return judge(rebase->image, q2_disk_write(disk, at + offset, rebase->old + offset, length));
}

/* Bytes from an offset of the chunk to the end of its unit, or of the chunk if that is nearer. */
static size_t unit_at(const struct rebase *rebase, uint64_t at, size_t offset, size_t length)
{
    uint64_t n = rebase->unit - (at + offset) % rebase->unit;

    return n < length - offset ? (size_t)n : length - offset;
}

/* Compare a chunk that is not in the image itself, and write what would change. */
static bool rebase_chunk(struct rebase *rebase, uint64_t at, size_t length)
{
    size_t offset = 0;

    if (!judge(rebase->image, q2_disk_read(rebase->image->disk, at, rebase->old, length)) ||
        !read_new(rebase, at, length))
        return false;
    while (offset < length) {
        size_t end = offset + unit_at(rebase, at, offset, length);
        enum action action = action_at(rebase, offset, end - offset);

        while (end < length) {
            size_t n = unit_at(rebase, at, end, length);

            if (action_at(rebase, end, n) != action)
                break;
            end += n;
        }
        if (!act(rebase, action, at, offset, end - offset))
            return false;
        offset = end;
    }
    return true;
}

/* Whether a range that is zeros in the old chain is zeros in the new backing file too; *length is
 * cut to the part for which that is so. */
static bool is_zero_in_new(struct rebase *rebase, uint64_t at, uint64_t *length)
{
    uint64_t size = rebase->base ? q2_disk_size(rebase->base->disk) : 0;
    struct q2_extent extent;

    if (at >= size)
        return true;
    if (q2_disk_map(rebase->base->disk, at, *length, &extent) != Q2_OK)
        return false; /* reading will say why */
    if (extent.kind != Q2_EXTENT_ZERO && extent.kind != Q2_EXTENT_UNALLOCATED)
        return false;
    *length = extent.length;
    return true;
}

static bool rebase_extent(struct rebase *rebase, const struct q2_extent *extent,
                          uint64_t *ret_length)
{
    bool nothing = extent->kind == Q2_EXTENT_UNALLOCATED;

    *ret_length = extent->length;
    if (!nothing && (extent->layer == 0 || extent->layer >= rebase->same_layer))
        return true;
    if ((nothing || extent->kind == Q2_EXTENT_ZERO) &&
        is_zero_in_new(rebase, extent->guest_offset, ret_length))
        return true;
    *ret_length = extent->length < CHUNK_SIZE ? extent->length : CHUNK_SIZE;
    return rebase_chunk(rebase, extent->guest_offset, (size_t)*ret_length);
}

static bool rebase_all(struct rebase *rebase)
{
    uint64_t size = q2_disk_size(rebase->image->disk), at = 0, length;

    while (at < size) {
        struct q2_extent extent;

        if (!judge(rebase->image, q2_disk_map(rebase->image->disk, at, size - at, &extent)) ||
            !rebase_extent(rebase, &extent, &length))
            return false;
        at += length;
        progress_update(&rebase->progress, at, size);
    }
    return image_flush(rebase->image);
}

/* --- opening -------------------------------------------------------------------------------- */

/* Print why the new backing file cannot be opened. If it is in use because it is the image itself,
 * which this program has locked, then the chain would be a loop. */
static bool say_base(const struct rebase *rebase, const char *path, const struct q2_fault *fault)
{
    const char *file = fault->file[0] != '\0' ? fault->file : path;

    if (fault->status == Q2_ERR_BUSY && image_uses_path(rebase->image, file))
        return complain_of(path, Q2_ERR_CHAIN_LOOP, NULL);
    print_fault(path, fault);
    return false;
}

/* The layer of a disk from which on its chain is the chain of the disk base; UINT32_MAX: none. All
 * files are compared, because --backing-file may have replaced any name in the disk's chain. */
static uint32_t find_same_layer(struct q2_disk *disk, struct q2_disk *base)
{
    uint32_t nb_layers = q2_disk_nb_layers(disk), nb_same = q2_disk_nb_layers(base);

    if (nb_same >= nb_layers)
        return UINT32_MAX;
    for (uint32_t i = 0; i < nb_same; i++) {
        struct q2_layer_info of_disk, of_base;

        q2_disk_layer_info(disk, nb_layers - nb_same + i, &of_disk);
        q2_disk_layer_info(base, i, &of_base);
        if (!q2_same_file(of_disk.source, of_base.source) || of_disk.format != of_base.format)
            return UINT32_MAX;
    }
    return nb_layers - nb_same;
}

/* Open the new backing file; it may be one of the old chain, but must not depend on the image. */
static bool open_base(struct rebase *rebase, const struct arguments *arguments)
{
    struct image_options options = arguments->image[0];
    char path[Q2_MAX_PATH_LENGTH + 1];
    struct q2_fault fault;

    options.format = strcmp(arguments->backing_format, "raw") == 0 ? FORMAT_RAW : FORMAT_QCOW2;
    options.data_file = NULL;
    options.backing_files.nb = 0;
    options.cache = options.backing_cache;
    options.share = options.share_backing;
    if (!make_image_backing(rebase->image->file.path, arguments->backing_file, options.names, path))
        return false;
    rebase->base = image_try_open(path, &options, false, &fault);
    if (!rebase->base && fault.status != Q2_OK)
        return say_base(rebase, path, &fault);
    if (!rebase->base)
        return false;
    if (image_uses(rebase->base, &rebase->image->file.source))
        return complain_of(path, Q2_ERR_CHAIN_LOOP, NULL);
    rebase->same_layer = find_same_layer(rebase->image->disk, rebase->base->disk);
    return true;
}

static bool prepare(struct rebase *rebase)
{
    struct q2_layer_info info;

    q2_disk_layer_info(rebase->image->disk, 0, &info);
    if (!info.header)
        return complain_of(rebase->image->path, Q2_ERR_UNSUPPORTED,
                           "a raw image has no backing file");
    rebase->has_zero_clusters = info.header->version >= 3;
    rebase->unit = q2_header_unit(info.header);
    rebase->old = malloc(CHUNK_SIZE);
    rebase->new = malloc(CHUNK_SIZE);
    return (rebase->old && rebase->new) ||
           complain_of(rebase->image->path, Q2_ERR_LIMIT, "out of memory");
}

/* Write into the image what would read differently from the new backing file. */
static bool bring(struct rebase *rebase, const struct arguments *arguments)
{
    bool done;

    if (arguments->backing_file[0] != '\0' && !open_base(rebase, arguments))
        return false;
    if (!prepare(rebase))
        return false;
    progress_begin(&rebase->progress, arguments->progress, arguments->quiet);
    done = rebase_all(rebase);
    progress_end(&rebase->progress, done);
    return done;
}

static bool rebase_image(struct rebase *rebase, const struct arguments *arguments)
{
    struct q2_disk *disk = rebase->image->disk;
    const char *file = arguments->backing_file;
    const char *format = file[0] != '\0' ? arguments->backing_format : NULL;

    return judge(rebase->image, q2_disk_can_set_backing(disk, file, format)) &&
           (arguments->unsafe || bring(rebase, arguments)) &&
           judge(rebase->image, q2_disk_set_backing(disk, file, format));
}

/* Does the command line say what the new backing file is? "" as its name: none. */
static bool check_arguments(const struct arguments *arguments)
{
    const char *file = arguments->backing_file, *format = arguments->backing_format;

    if (!file && !arguments->unsafe)
        return complain("the new backing file is not named; add -b FILE, or -b '' for none");
    if (format && strcmp(format, "qcow2") != 0 && strcmp(format, "raw") != 0)
        return complain("the backing format is not supported; qcow2 and raw are");
    if (file && file[0] != '\0' && !format)
        return complain("the format of the new backing file is not given; add -F qcow2 or -F raw");
    return true;
}

int verb_rebase(const struct arguments *arguments)
{
    struct rebase rebase = {.same_layer = UINT32_MAX};
    struct image_options options = arguments->image[0];
    struct arguments wanted = *arguments;
    bool done;

    if (!check_arguments(arguments))
        return EXIT_ERROR;
    if (!wanted.backing_file)
        wanted.backing_file = "";
    options.writable = true;
    rebase.image = image_open(wanted.operands[0], &options, wanted.unsafe);
    if (!rebase.image)
        return EXIT_ERROR;
    done = rebase_image(&rebase, &wanted);
    image_close(rebase.base);
    image_close(rebase.image);
    free(rebase.old);
    free(rebase.new);
    return done ? EXIT_SUCCESS : EXIT_ERROR;
}
