/* An image that a verb has opened. May call drivers/ and the engine.
 *
 * Invariant: what image_open() returned is open as a whole; on error nothing stays open.
 */
#include "image.h"

#include <stdlib.h>
#include <string.h>

#include "given.h"
#include "guard.h"
#include "output.h"
#include "q2_bitmap.h"
#include "probe.h"
#include "secrets.h"
#include "core/base/range.h"

static struct q2_disk_options disk_options(struct image *image, const struct image_options *options,
                                           enum q2_image_format format, bool metadata_only)
{
    return (struct q2_disk_options){
        .snapshot = options->snapshot,
        .names = options->names,
        .name_rules = Q2_NAME_RULES_POSIX,
        .format = format,
        .backing_format = options->backing_format,
        .metadata_only = metadata_only,
        .short_end = true,
        .writable = options->writable,
        .keep_bitmaps = options->writable,
        .repair = options->repair,
        .repair_if_dirty = options->writable,
        .overlay = options->overlay,
        .zlib = q2_codec_zlib_init(&image->zlib),
        .zstd = q2_codec_zstd_init(&image->zstd),
        .unlocker = q2_unlocker_passphrase_init(&image->unlocker),
    };
}

/* Choose the format. A file of another format is refused with its name, also if the user says that
 * it is qcow2. */
static bool choose_format(struct image *image, const struct image_options *options,
                          enum format_choice choice, enum q2_image_format *ret_format,
                          struct q2_fault *ret_fault)
{
    const char *foreign = NULL;
    enum probed probed = PROBED_RAW;

    if (options->format != FORMAT_PROBED)
        choice = options->format;
    if (choice != FORMAT_RAW)
        probed = probe_file(&image->file.source, &foreign);
    if (probed == PROBED_FOREIGN) {
        *ret_fault = (struct q2_fault){.status = Q2_ERR_UNSUPPORTED, .what = foreign};
        return false;
    }
    *ret_format = Q2_FORMAT_QCOW2;
    if (choice == FORMAT_RAW || (choice == FORMAT_PROBED && probed == PROBED_RAW))
        *ret_format = Q2_FORMAT_RAW;
    if (choice == FORMAT_PROBED && probed == PROBED_RAW && options->writable && !options->overlay)
        guard_raw(image);
    return true;
}

static enum q2_status open_disk(struct image *image, const struct image_options *options,
                                enum q2_image_format format, bool metadata_only,
                                struct q2_fault *fault)
{
    struct q2_disk_options engine_options = disk_options(image, options, format, metadata_only);
    enum q2_status status;

    if (!given_files(image, options, &engine_options, fault))
        return fault->status;
    if (!(metadata_only && options->key_secret) &&
        !secrets_provide(&image->passphrase, options, &image->unlocker))
        return Q2_ERR_ENCRYPTED;
    if (options->held)
        q2_source_posix_hold(&image->file, options->held);
    q2_opener_posix_init(&image->opener);
    image->opener.block_devices = options->names == Q2_NAMES_ANY;
    image->opener.share = options->share || options->share_backing;
    image->opener.cache = cache_flags(options->cache);
    image->opener.read_cache = cache_flags(
        options->backing_cache != CACHE_UNSAID ? options->backing_cache : options->cache);
    status = q2_disk_open(image->workspace, &image->file.source, &image->opener.opener,
                          &engine_options, fault, &image->disk);
    passphrase_wipe(&image->passphrase, &image->unlocker);
    if (status == Q2_OK && q2_disk_was_repaired(image->disk)) {
        fputs("metalcow: ", stderr);
        print_escaped(stderr, image->path);
        fputs(
            ": the image was not closed cleanly; its record of which clusters are in use has been "
            "repaired\n",
            stderr);
    }
    return status;
}

static enum q2_status open_file(struct image *image, const char *path,
                                const struct image_options *options, struct q2_fault *ret_fault)
{
    bool writes = options->writable && !options->overlay;
    unsigned how = writes ? Q2_POSIX_WRITABLE : options->share ? 0u : Q2_POSIX_STABLE;

    if (writes && options->share)
        ret_fault->what = "--force-share is for reading only";
    else if (writes && options->read_only)
        ret_fault->what = "read-only=on does not go with a change; leave it out";
    ret_fault->status =
        ret_fault->what
            ? Q2_ERR_ARGUMENT
            : q2_source_posix_open(&image->file, path,
                                   Q2_POSIX_BLOCK_DEVICES | how | cache_flags(options->cache));
    return ret_fault->status;
}

/* Open the image in memory that was allocated for it. */
static bool open_image(struct image *image, const struct image_options *options, bool metadata_only,
                       struct q2_fault *ret_fault)
{
    enum q2_image_format format = Q2_FORMAT_QCOW2;
    enum format_choice choice;
    const char *path = given_image(image, image->path, &choice, ret_fault);

    if (!path || open_file(image, path, options, ret_fault) != Q2_OK)
        return false;
    if (choose_format(image, options, choice, &format, ret_fault) &&
        open_disk(image, options, format, metadata_only, ret_fault) == Q2_OK) {
        if (given_formats_fit(image, options, ret_fault))
            return true;
        q2_disk_close(image->disk);
    }
    q2_source_posix_close(&image->file);
    return false;
}

static void free_image(struct image *image)
{
    if (!image)
        return;
    given_free(image);
    free(image->path);
    free(image->workspace);
    free(image);
}

struct image *image_try_open(const char *path, const struct image_options *options,
                             bool metadata_only, struct q2_fault *ret_fault)
{
    struct image *image = calloc(1, sizeof(*image));

    *ret_fault = (struct q2_fault){.status = Q2_OK};
    if (image)
        image->path = strdup(path);
    if (image)
        image->workspace = aligned_alloc(Q2_WORKSPACE_ALIGN, Q2_WORKSPACE_SIZE);
    if (!image || !image->workspace || !image->path) {
        fputs("metalcow: out of memory\n", stderr);
        free_image(image);
        return NULL;
    }
    if (open_image(image, options, metadata_only, ret_fault))
        return image;
    if (ret_fault->status == Q2_ERR_BUSY && !options->writable)
        ret_fault->what = "the file is in use by a program that may write it ('-U' reads it all "
                          "the same)";
    free_image(image);
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

static void close_disk(struct image *image)
{
    (void)q2_disk_bitmaps_store(image->disk); /* those that it cannot store are lost */
    if (q2_disk_nb_bitmaps_lost(image->disk) > 0) {
        fputs("metalcow: ", stderr);
        print_escaped(stderr, image->path);
        fprintf(stderr,
                ": warning: %u dirty bitmap(s) are inconsistent now, because a write could not be "
                "recorded; make a full backup next\n",
                (unsigned)q2_disk_nb_bitmaps_lost(image->disk));
    }
    q2_disk_close(image->disk);
}

void image_close(struct image *image)
{
    if (!image)
        return;
    if (image->disk)
        close_disk(image);
    q2_source_posix_close(&image->file);
    free_image(image);
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
    if (image->block0_kept) {
        print_fault(image->path, &(struct q2_fault){
                                     .status = Q2_ERR_DENIED,
                                     .what = "this write would make the raw disk look like an "
                                             "image of another format; say '-f raw' to allow it"});
        return;
    }
    print_fault(image->path, q2_disk_fault(image->disk));
}

int image_source_fd(const struct q2_source *source)
{
    return ((const struct q2_source_posix *)source)->fd;
}

bool image_uses(const struct image *image, const struct q2_source *file)
{
    for (uint32_t i = 0; i < q2_disk_nb_layers(image->disk); i++) {
        struct q2_layer_info info;

        q2_disk_layer_info(image->disk, i, &info);
        if (q2_same_file(info.source, file) ||
            (info.data_source && q2_same_file(info.data_source, file)))
            return true;
    }
    return false;
}

bool images_use(struct image *const *images, size_t nb, const struct q2_source *file)
{
    for (size_t i = 0; i < nb; i++) {
        if (image_uses(images[i], file))
            return true;
    }
    return false;
}

bool images_use_path(struct image *const *images, size_t nb, const char *path)
{
    struct q2_source_posix file;
    bool ret;

    if (nb == 0 || q2_source_posix_open(&file, path, Q2_POSIX_BLOCK_DEVICES) != Q2_OK)
        return false;
    ret = images_use(images, nb, &file.source);
    q2_source_posix_close(&file);
    return ret;
}

bool image_uses_path(struct image *image, const char *path)
{
    return images_use_path(&image, 1, path);
}
