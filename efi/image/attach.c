/* Opening an image on a volume.
 *
 * Between registry.c and the engine, at attach and detach only. Calls volume.c, q2_disk_open(),
 * q2_disk_map(). Invariant: an image that does not open leaves nothing behind.
 */
#include "attach.h"

#include "efi/base/fail.h"
#include "efi/place/fat_cache.h"
#include "efi/base/firmware.h"

/* Extents looked at by mc_image_check_files(). Contiguous files need a handful; 64 GiB of scattered
 * 64 KiB clusters are a million, of which the first part is looked at. */
#define MAX_EXTENTS_CHECKED 65536u

static enum q2_status get_memory(struct mc_image **ret_image, struct q2_fault *fault)
{
    struct mc_image *image = mc_alloc_pages(sizeof(*image));

    if (!image)
        return mc_fail_memory(fault);
    __builtin_memset(image, 0, sizeof(*image));
    image->workspace = mc_alloc_pages(Q2_WORKSPACE_SIZE);
    if (!image->workspace) {
        mc_free_pages(image, sizeof(*image));
        return mc_fail_memory(fault);
    }
    *ret_image = image;
    return Q2_OK;
}

/* The engine knows that a file did not open; the opener knows why. */
static void use_openers_fault(const struct mc_opener *opener, struct q2_fault *fault)
{
    if (opener->fault.status == fault->status && opener->fault.what && !fault->what)
        *fault = opener->fault;
}

static enum q2_status open_disk(struct mc_image *image, const struct mc_attach_options *options,
                                bool metadata_only, struct q2_fault *fault)
{
    const struct q2_disk_options disk_options = {
        .data_file = options->data_file,
        .backing_file = options->backing_file,
        .snapshot = options->snapshot,
        .names = options->names,
        .format = options->format,
        .backing_raw_if_unnamed = options->backing_raw,
        .metadata_only = metadata_only,
        .writable = !metadata_only && image->mode != MC_MODE_READ_ONLY,
        .overlay = !metadata_only && image->overlay.memory ? &image->overlay.source.source : NULL,
        .zlib = q2_codec_zlib_init(&image->zlib),
        .zstd = q2_codec_zstd_init(&image->zstd),
        .unlocker = &image->unlock.unlocker.unlocker,
    };
    enum q2_status status = mc_unlock_init(&image->unlock, &image->volume, options, fault);

    if (status != Q2_OK)
        return status;
    mc_opener_init(&image->opener, &image->volume);
    status = q2_disk_open(image->workspace, &image->file->as.source, &image->opener.opener,
                          &disk_options, fault, &image->disk);
    if (status != Q2_OK)
        use_openers_fault(&image->opener, fault);
    mc_unlock_forget(&image->unlock, status, fault);
    return status;
}

/* The overlay is made before the disk is opened for good, and must know its size: that stands in
 * the image's metadata. */
static enum q2_status make_overlay(struct mc_image *image, const struct mc_attach_options *options,
                                   struct q2_fault *fault)
{
    uint64_t size;
    enum q2_status status = open_disk(image, options, true, fault);

    if (status != Q2_OK)
        return status;
    size = q2_disk_size(image->disk);
    q2_disk_close(image->disk);
    image->disk = NULL;
    return mc_overlay_make(image->workspace, size, options->overlay_size, fault, &image->overlay);
}

enum q2_status mc_image_open(EFI_HANDLE volume, const struct mc_attach_options *options,
                             bool metadata_only, struct q2_fault *fault,
                             struct mc_image **ret_image)
{
    struct mc_image *image;
    enum q2_status status = get_memory(&image, fault);

    if (status != Q2_OK)
        return status;
    image->mode = metadata_only ? MC_MODE_READ_ONLY : options->mode;
    image->room = options->room;
    status = mc_volume_open(volume, fault, &image->volume);
    if (status == Q2_OK)
        status = mc_file_open(&image->volume, options->image, image->mode == MC_MODE_READ_WRITE,
                              fault, &image->file);
    if (status == Q2_OK && image->mode == MC_MODE_OVERLAY)
        status = make_overlay(image, options, fault);
    if (status == Q2_OK)
        status = open_disk(image, options, metadata_only, fault);
    if (status != Q2_OK) {
        mc_image_close(image);
        return status;
    }
    *ret_image = image;
    return Q2_OK;
}

size_t mc_image_written_files(const struct mc_image *image, struct mc_file *ret_files[2])
{
    struct q2_layer_info info;
    size_t nb = 0;

    if (image->mode != MC_MODE_READ_WRITE)
        return 0;
    q2_disk_layer_info(image->disk, 0, &info);
    ret_files[nb++] = image->file;
    if (info.data_source != info.source) /* the opener's sources are the first of a file */
        ret_files[nb++] = (struct mc_file *)(uintptr_t)info.data_source;
    return nb;
}

/* Who reads the files next, through the file system, reads what is there. */
static void forget_old_bytes(struct mc_image *image)
{
    struct mc_file *files[2];
    size_t nb = mc_image_written_files(image, files);

    (void)mc_fat_cache_evict(files, nb, MC_ALL_PAGES);
}

void mc_image_close(struct mc_image *image)
{
    if (image->disk) {
        forget_old_bytes(image);
        q2_disk_close(image->disk);
    }
    mc_unlock_close(&image->unlock);
    mc_file_close(image->file);
    mc_overlay_free(&image->overlay);
    mc_free_pages(image->workspace, Q2_WORKSPACE_SIZE);
    mc_free_pages(image, sizeof(*image));
}

/* Does an extent lie inside its file? */
static bool extent_is_there(const struct q2_disk *disk, const struct q2_extent *extent,
                            const struct q2_source **ret_source)
{
    struct q2_layer_info info;
    uint64_t size;

    if (extent->kind != Q2_EXTENT_DATA)
        return true;
    q2_disk_layer_info(disk, extent->layer, &info);
    *ret_source = info.data_source;
    size = info.data_source->size;
    return extent->host_offset <= size && extent->length <= size - extent->host_offset;
}

enum q2_status mc_image_check_files(struct mc_image *image, struct q2_fault *fault)
{
    uint64_t size = q2_disk_size(image->disk);
    uint64_t at = 0;

    for (uint32_t i = 0; at < size && i < MAX_EXTENTS_CHECKED; i++) {
        const struct q2_source *source;
        struct q2_extent extent;
        if (q2_disk_map(image->disk, at, size - at, &extent) != Q2_OK)
            return Q2_OK;
        if (!extent_is_there(image->disk, &extent, &source)) {
            (void)mc_fail(fault, Q2_ERR_TRUNCATED, NULL, source->path);
            fault->field = "host offset";
            fault->has_value = true;
            fault->value = extent.host_offset + extent.length - 1;
            fault->has_limit = true;
            fault->limit = source->size;
            return Q2_ERR_TRUNCATED;
        }
        at += extent.length;
    }
    return Q2_OK;
}
