/* Opening an image in a place.
 *
 * Calls the place, q2_disk_open(), q2_disk_map(). Invariant: an image that does not open leaves
 * nothing open and no memory allocated.
 */
#include "attach.h"

#include "q2_fail.h"
#include "core/base/range.h"
#include "q2_foreign.h"
#include "efi/base/firmware.h"
#include "efi/base/text.h"
#include "efi/place/place.h"
#include "room.h"
#include "verify_image.h"

/* Extents looked at by mc_image_check_files(). Contiguous files need a handful; 64 GiB of scattered
 * 64 KiB clusters are a million, of which the first part is looked at. */
#define MAX_EXTENTS_CHECKED 65536u

static enum q2_status get_memory(struct mc_image **ret_image, struct q2_fault *fault)
{
    struct mc_image *image = mc_alloc_pages(sizeof(*image));

    if (!image)
        return q2_fail_memory(fault);
    __builtin_memset(image, 0, sizeof(*image));
    image->workspace = mc_alloc_pages(Q2_WORKSPACE_SIZE);
    if (!image->workspace) {
        mc_free_pages(image, sizeof(*image));
        return q2_fail_memory(fault);
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

#define ROW(offset, bytes, length, name)                                                           \
    name ", which metalcow does not read; make a qcow2 image of it with 'qemu-img convert -O "     \
         "qcow2'",

/* Say what a file is that is no qcow2 image, and what to do. The text is static. */
static const char *name_format(struct q2_source *source)
{
    static const char *const texts[] = {Q2_FOREIGN_FORMATS(ROW)};
    uint8_t bytes[Q2_FOREIGN_SIZE];
    size_t length = source->size < sizeof(bytes) ? (size_t)source->size : sizeof(bytes), row;

    if (length > 0 && source->ops->read_at(source, 0, bytes, length) == Q2_OK) {
        row = q2_foreign_find(bytes, length);
        if (row < Q2_NB_FOREIGN)
            return texts[row];
    }
    return "not a qcow2 image; if it is a raw disk, say so with 'format raw' in its entry or with "
           "'--format raw'";
}

/* If the file that was named as the image is no qcow2 image, say what it is. Version 1 of qcow is
 * another format. */
static void explain_format(const struct mc_image *image, struct q2_fault *fault)
{
    if ((fault->status == Q2_ERR_BAD_MAGIC ||
         (fault->status == Q2_ERR_VERSION && fault->value == 1)) &&
        !fault->what && q2_text_equal(fault->file, image->file->source->path))
        fault->what = name_format(image->file->source);
}

/* Returns how many backing files the person gives. */
static uint32_t list_backing_files(const struct mc_disk_spec *spec,
                                   struct q2_given_file ret_files[MC_MAX_BACKING_FILES])
{
    uint32_t nb = 0;

    for (; nb < MC_MAX_BACKING_FILES && spec->backing_files[nb]; nb++)
        ret_files[nb] = (struct q2_given_file){.path = spec->backing_files[nb]};
    return nb;
}

/* How the engine opens an image, beside what its specification says. */
enum how {
    HOW_SPECIFIED,
    HOW_METADATA, /* the image's file alone, for reading */
    HOW_READING,  /* all files, for reading, whatever the mode is; HOW_REPAIRED comes next */
    HOW_REPAIRED, /* for writing, and an image that was not closed cleanly is repaired first */
    HOW_DAMAGED,  /* the image's file alone, for q2_disk_repair() */
};

static enum q2_status open_disk(struct mc_image *image, const struct mc_disk_spec *spec,
                                enum how how, struct q2_fault *fault)
{
    bool metadata_only = how == HOW_METADATA || how == HOW_DAMAGED;
    bool for_reading = how == HOW_METADATA || how == HOW_READING;
    struct q2_given_file backing_files[MC_MAX_BACKING_FILES];
    const struct q2_disk_options disk_options = {
        .data_file = spec->data_file,
        .backing_files = backing_files,
        .nb_backing_files = list_backing_files(spec, backing_files),
        .snapshot = spec->snapshot,
        .names = spec->names,
        .format = spec->format,
        .backing_format = spec->backing_format,
        .look_beside = true,
        .metadata_only = metadata_only,
        .writable = !for_reading && image->mode != MC_MODE_READ_ONLY,
        .repair = how == HOW_DAMAGED,
        .repair_if_dirty = how == HOW_REPAIRED,
        .overlay = !metadata_only && image->overlay.memory ? &image->overlay.source.source : NULL,
        .zlib = q2_codec_zlib_init(&image->zlib),
        .zstd = q2_codec_zstd_init(&image->zstd),
        .unlocker = &image->unlock.unlocker.unlocker,
    };
    enum q2_status status = Q2_OK;

    /* What is opened a second time was unlocked the first time. */
    if (!image->unlock.unlocker.remembers)
        status = mc_unlock_init(&image->unlock, image->opener.place, spec, fault);
    if (status == Q2_OK && how == HOW_READING)
        image->unlock.unlocker.remembers = true;
    if (status != Q2_OK)
        return status;
    status = q2_disk_open(image->workspace, image->file->source, &image->opener.opener,
                          &disk_options, fault, &image->disk);
    if (status != Q2_OK)
        use_openers_fault(&image->opener, fault);
    if (status != Q2_OK)
        explain_format(image, fault);
    mc_unlock_forget(&image->unlock, status, fault);
    return status;
}

/* Make the overlay before the disk is opened for good. Its size is in the image's metadata, which
 * is opened here and closed again. */
static enum q2_status make_overlay(struct mc_image *image, const struct mc_disk_spec *spec,
                                   struct q2_fault *fault)
{
    uint64_t size;
    enum q2_status status = open_disk(image, spec, HOW_METADATA, fault);

    if (status != Q2_OK)
        return status;
    size = q2_disk_size(image->disk);
    q2_disk_close(image->disk);
    image->disk = NULL;
    return mc_overlay_make(image->workspace, size, spec->overlay_size, fault, &image->overlay);
}

/* The place, and the image's own file in it. */
static enum q2_status open_file(struct mc_image *image, EFI_HANDLE volume, const char *path,
                                struct q2_fault *fault)
{
    struct q2_place *place = NULL;
    enum q2_status status = mc_place_open(volume, fault, &place);

    if (status != Q2_OK)
        return status;
    image->volume = volume;
    mc_opener_init(&image->opener, place);
    if (image->mode == MC_MODE_READ_WRITE && !q2_place_can(place, Q2_PLACE_WRITES))
        return q2_fail(
            fault, Q2_ERR_UNSUPPORTED,
            "only images on FAT volumes can be written; use mode overlay, or copy the image "
            "to a FAT volume",
            path);
    return mc_opener_open(&image->opener, path, image->mode == MC_MODE_READ_WRITE, fault,
                          &image->file);
}

static enum q2_status open_image(struct mc_image *image, EFI_HANDLE volume,
                                 const struct mc_disk_spec *spec, enum how how,
                                 struct q2_fault *fault)
{
    enum q2_status status = open_file(image, volume, spec->image, fault);

    if (status != Q2_OK)
        return status;
    image->needs_repair = how == HOW_SPECIFIED && image->mode == MC_MODE_READ_WRITE &&
                          spec->format == Q2_FORMAT_QCOW2 && q2_file_is_dirty(image->file->source);
    if (image->mode == MC_MODE_OVERLAY)
        status = make_overlay(image, spec, fault);
    if (status == Q2_OK)
        status = open_disk(image, spec, image->needs_repair ? HOW_READING : how, fault);
    if (status == Q2_OK && how == HOW_SPECIFIED)
        status = mc_image_verify(image, spec, fault);
    return status;
}

static enum q2_status make_image(EFI_HANDLE volume, const struct mc_disk_spec *spec,
                                 enum mc_mode mode, enum how how, struct q2_fault *fault,
                                 struct mc_image **ret_image)
{
    struct mc_image *image = NULL;
    enum q2_status status = get_memory(&image, fault);

    if (status != Q2_OK)
        return status;
    image->mode = mode;
    image->room = spec->room;
    image->growth = UINT64_MAX;
    image->sector_size = spec->sector_size;
    status = open_image(image, volume, spec, how, fault);
    if (status != Q2_OK) {
        mc_image_close(image);
        return status;
    }
    *ret_image = image;
    return Q2_OK;
}

enum q2_status mc_image_open(EFI_HANDLE volume, const struct mc_disk_spec *spec, bool metadata_only,
                             struct q2_fault *fault, struct mc_image **ret_image)
{
    if (metadata_only)
        return make_image(volume, spec, MC_MODE_READ_ONLY, HOW_METADATA, fault, ret_image);
    return make_image(volume, spec, spec->mode, HOW_SPECIFIED, fault, ret_image);
}

enum q2_status mc_image_open_damaged(EFI_HANDLE volume, const struct mc_disk_spec *spec,
                                     struct q2_fault *fault, struct mc_image **ret_image)
{
    return make_image(volume, spec, MC_MODE_READ_WRITE, HOW_DAMAGED, fault, ret_image);
}

static enum q2_status repair(struct mc_image *image, const struct mc_disk_spec *spec,
                             struct q2_fault *fault)
{
    struct q2_layer_info info;
    uint32_t cluster_bits;
    enum q2_status status = mc_image_prepare_cache(image, fault);

    if (status != Q2_OK)
        return status;
    q2_disk_layer_info(image->disk, 0, &info);
    cluster_bits = info.header->cluster_bits;
    q2_disk_close(image->disk);
    image->disk = NULL;
    image->needs_repair = false;
    status = open_disk(image, spec, HOW_REPAIRED, fault);
    if (status != Q2_ERR_NO_SPACE)
        return status;
    status = mc_image_make_repair_room(image, cluster_bits, fault);
    return status == Q2_OK ? open_disk(image, spec, HOW_REPAIRED, fault) : status;
}

enum q2_status mc_image_repair(struct mc_image *image, const struct mc_disk_spec *spec,
                               struct q2_fault *fault)
{
    enum q2_status status = repair(image, spec, fault);

    q2_unlocker_passphrase_forget(&image->unlock.unlocker);
    return status;
}

size_t mc_image_written_files(const struct mc_image *image, struct q2_place_file *ret_files[2])
{
    struct q2_layer_info info;
    size_t nb = 0;

    if (image->mode != MC_MODE_READ_WRITE)
        return 0;
    q2_disk_layer_info(image->disk, 0, &info);
    ret_files[nb++] = image->file;
    if (info.data_source != info.source)
        ret_files[nb++] = mc_opener_find(&image->opener, info.data_source);
    return nb;
}

/* Is the header of a GUID partition table here?  (UEFI 2.10, 5.3.2 "GPT Header") */
static bool has_gpt_at(const struct mc_image *image, uint64_t offset)
{
    char signature[8];

    return offset + sizeof(signature) <= q2_disk_size(image->disk) &&
           q2_disk_read(image->disk, offset, signature, sizeof(signature)) == Q2_OK &&
           __builtin_memcmp(signature, "EFI PART", sizeof(signature)) == 0;
}

uint32_t mc_image_sector_size(const struct mc_image *image)
{
    if (image->sector_size != 0)
        return image->sector_size;
    return !has_gpt_at(image, 512) && has_gpt_at(image, 4096) ? 4096 : 512;
}

/* Whoever reads the files through the file system afterwards must get their current bytes. */
static void forget_old_bytes(struct mc_image *image)
{
    struct q2_place *place = image->opener.place;
    struct q2_fault fault;

    if (image->mode == MC_MODE_READ_WRITE && q2_place_can(place, Q2_PLACE_REMEMBERS))
        (void)place->ops->forget(place, true, &fault);
}

void mc_image_close(struct mc_image *image)
{
    if (image->file)
        forget_old_bytes(image);
    if (image->disk)
        q2_disk_close(image->disk);
    mc_unlock_close(&image->unlock);
    if (image->file)
        mc_opener_close(&image->opener, image->file);
    mc_place_close(image->opener.place);
    mc_overlay_free(&image->overlay);
    mc_free_pages(image->workspace, Q2_WORKSPACE_SIZE);
    mc_free_pages(image, sizeof(*image));
}

/* Is an extent inside its file? */
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

/* Bytes of new clusters that writes to an extent can take: none where they go in place. */
static uint64_t growth_of(const struct q2_extent *extent, uint32_t cluster_bits)
{
    if (extent->kind == Q2_EXTENT_DATA && extent->layer == 0 && extent->copied)
        return 0;
    return (q2_shift_up(extent->length, cluster_bits) + 1) << cluster_bits;
}

enum q2_status mc_image_check_files(struct mc_image *image, struct q2_fault *fault)
{
    uint64_t size = q2_disk_size(image->disk);
    uint64_t at = 0, growth = 0;
    struct q2_layer_info top;

    q2_disk_layer_info(image->disk, 0, &top);
    for (uint32_t i = 0; at < size && i < MAX_EXTENTS_CHECKED; i++) {
        const struct q2_source *source;
        struct q2_extent extent;
        if (q2_disk_map(image->disk, at, size - at, &extent) != Q2_OK)
            return Q2_OK;
        if (!extent_is_there(image->disk, &extent, &source)) {
            (void)q2_fail(fault, Q2_ERR_TRUNCATED, NULL, source->path);
            fault->field = "host offset";
            fault->has_value = true;
            fault->value = extent.host_offset + extent.length - 1;
            fault->has_limit = true;
            fault->limit = source->size;
            return Q2_ERR_TRUNCATED;
        }
        if (top.header)
            growth += growth_of(&extent, top.header->cluster_bits);
        at += extent.length;
    }
    if (at >= size)
        image->growth = growth;
    return Q2_OK;
}
