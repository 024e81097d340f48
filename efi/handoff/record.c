/* The hand-off record of an attached image.
 *
 * Invariants: what the record names is what the disk was opened from, layer by layer; memory of an
 * overlay is not among it, because it ends with boot services. Raw keys are in struct mc_record and
 * in what is encoded with them, nowhere else.
 */
#include "record.h"

#include "drivers/crypto/wipe.h"
#include "q2_fail.h"
#include "efi/base/text.h"
#include "efi/base/firmware.h"

/* The kernel log says how much room is left from here on. */
#define ROOM_MARK (64u * 1024 * 1024)

/* Bytes that each part of a record takes; include/q2_handoff.h has the format. */
#define STRING_SIZE(text) (3 + q2_text_length(text))
#define FILE_SIZE         24u
#define EXTENT_SIZE       16u
#define SAMPLE_SIZE       24u
#define KEY_SIZE          12u

/* The first layer that is made of files. */
static uint32_t first_layer(const struct mc_image *image)
{
    return image->mode == MC_MODE_OVERLAY ? 1 : 0;
}

static bool copy(const char *text, const char **ret_copy)
{
    *ret_copy = text ? mc_copy_text(text) : NULL;
    return !text || *ret_copy;
}

static bool copy_strings(struct q2_handoff *handoff, const struct mc_disk_spec *spec)
{
    bool done =
        copy(spec->snapshot, &handoff->snapshot) && copy(spec->data_file, &handoff->data_file);

    for (; done && handoff->nb_backing_files < MC_MAX_BACKING_FILES; handoff->nb_backing_files++) {
        const char *path = spec->backing_files[handoff->nb_backing_files];

        if (!path)
            break;
        done = copy(path, &handoff->backing_files[handoff->nb_backing_files]);
    }
    return done;
}

static void free_string(const char **string)
{
    mc_free((void *)(uintptr_t)*string);
    *string = NULL;
}

static enum q2_handoff_mode mode_of(enum mc_mode mode)
{
    switch (mode) {
    case MC_MODE_READ_WRITE:
        return Q2_HANDOFF_RW;
    case MC_MODE_OVERLAY:
        return Q2_HANDOFF_OVERLAY;
    case MC_MODE_READ_ONLY:
    default:
        return Q2_HANDOFF_RO;
    }
}

/* The unlocker's raw keys become the record's; nothing else has them any more. */
static void take_keys(struct mc_record *record, struct q2_unlocker_passphrase *unlocker)
{
    struct q2_handoff *handoff = &record->handoff;

    for (size_t i = 0; i < Q2_MAX_LAYERS; i++) {
        struct q2_kept_key *key = &record->keys[handoff->nb_keys];

        if (unlocker->kept[i].length == 0)
            continue;
        *key = unlocker->kept[i];
        handoff->keys[handoff->nb_keys++] = (struct q2_handoff_key){
            .crypt_method = key->crypt_method, .length = key->length, .bytes = key->bytes};
    }
    q2_wipe(unlocker->kept, sizeof(unlocker->kept));
}
_Static_assert(Q2_HANDOFF_MAX_KEYS == Q2_MAX_LAYERS &&
                   Q2_AES_MAX_KEY_LENGTH <= Q2_HANDOFF_MAX_KEY_LENGTH,
               "every key has room");

enum q2_status mc_record_init(struct mc_record *record, struct mc_image *image,
                              const struct mc_disk_spec *spec, struct q2_fault *fault)
{
    struct q2_handoff *handoff = &record->handoff;

    take_keys(record, &image->unlock.unlocker);
    if (!copy_strings(handoff, spec))
        return q2_fail_memory(fault);
    record->max_files = 2 * (q2_disk_nb_layers(image->disk) - first_layer(image));
    record->samples = mc_alloc(record->max_files * sizeof(record->samples[0]));
    if (!record->samples)
        return q2_fail_memory(fault);
    handoff->mode = mode_of(image->mode);
    handoff->lane =
        spec->handoff == MC_HANDOFF_SERVER ? Q2_HANDOFF_LANE_SERVER : Q2_HANDOFF_LANE_AUTO;
    handoff->format = spec->format;
    handoff->names = spec->names;
    handoff->backing_format = spec->backing_format;
    handoff->guest_sector_size = mc_image_sector_size(image);
    handoff->overlay_size = image->mode == MC_MODE_OVERLAY ? spec->overlay_size : 0;
    handoff->room_mark = image->mode == MC_MODE_READ_WRITE ? ROOM_MARK : 0;
    return Q2_OK;
}

void mc_record_wipe(struct mc_record *record)
{
    q2_wipe(record->keys, sizeof(record->keys));
}

void mc_record_free(struct mc_record *record)
{
    struct q2_handoff *handoff = &record->handoff;

    mc_record_wipe(record);

    free_string(&handoff->snapshot);
    free_string(&handoff->data_file);
    for (uint32_t i = 0; i < Q2_HANDOFF_MAX_BACKING_FILES; i++)
        free_string(&handoff->backing_files[i]);
    mc_free(record->samples);
    record->samples = NULL;
}

static enum q2_status set_disk(struct q2_handoff_disk *disk, const struct q2_partition *partition,
                               const char *path, struct q2_fault *fault)
{
    *disk = (struct q2_handoff_disk){
        .start = partition->start,
        .size = partition->size,
        .sector_size = partition->block_size,
        .volume_id = partition->volume_id,
        .volume_id_offset = partition->volume_id_offset,
    };
    switch (partition->kind) {
    case Q2_PARTITION_GPT:
        disk->scheme = Q2_HANDOFF_GPT;
        __builtin_memcpy(disk->partition_guid, partition->signature, 16);
        return Q2_OK;
    case Q2_PARTITION_MBR:
        disk->scheme = Q2_HANDOFF_MBR;
        for (size_t i = 4; i > 0; i--)
            disk->mbr_signature = disk->mbr_signature << 8 | partition->signature[i - 1];
        if (disk->mbr_signature != 0 || partition->volume_id != 0)
            return Q2_OK;
        return q2_fail(fault, Q2_ERR_UNSUPPORTED,
                       "neither its disk nor its volume has a number, so the running system could "
                       "not find it again; give the disk one: 'sfdisk --disk-id' on Linux",
                       path);
    case Q2_PARTITION_UNKNOWN:
        return q2_fail(fault, Q2_ERR_UNSUPPORTED,
                       "its volume is a part of a disk that is in no partition table, so the "
                       "running system could not find it again; copy the image to a partition",
                       path);
    case Q2_PARTITION_NONE:
    default:
        disk->scheme = Q2_HANDOFF_WHOLE_DISK;
        if (partition->volume_id != 0)
            return Q2_OK;
        return q2_fail(fault, Q2_ERR_UNSUPPORTED,
                       "its disk has no partition and no volume number, so the running system "
                       "could not find it again; make a partition on it",
                       path);
    }
}

/* Extents whose first bytes can be sampled. Room after the file's end is none of its content yet:
 * the firmware reads nothing there, and the running system would read a whole sample. */
static size_t nb_sampled(const struct q2_stored_file *stored, uint64_t size)
{
    size_t nb = 0;

    while (nb < stored->nb_extents && size >= Q2_HANDOFF_SAMPLE_SIZE &&
           stored->extents[nb].file_offset <= size - Q2_HANDOFF_SAMPLE_SIZE)
        nb++;
    return nb;
}

/* The extents that the running system needs: of a file that is only read, those up to its size. */
static enum q2_status add_file(struct mc_record *record, const struct mc_image *image,
                               struct q2_source *source, enum q2_handoff_role role, uint32_t layer,
                               struct q2_fault *fault)
{
    struct q2_handoff *handoff = &record->handoff;
    struct q2_handoff_file *file = &handoff->files[handoff->nb_files];
    const struct q2_place_file *place_file = mc_opener_find(&image->opener, source);
    struct q2_stored_file stored;
    enum q2_status status = Q2_ERR_UNSUPPORTED;

    if (place_file && q2_place_can(place_file->place, Q2_PLACE_LOCATES))
        status = place_file->place->ops->locate(place_file, &stored);
    if (status != Q2_OK)
        return q2_fail(fault, Q2_ERR_UNSUPPORTED,
                       "where its bytes are stored is not known, so the running system could not "
                       "reach them; copy it to a FAT volume",
                       source->path);
    *file = (struct q2_handoff_file){
        .role = role,
        .layer = layer,
        .path = source->path,
        .size = stored.size,
        .nb_extents = (uint32_t)stored.nb_extents,
        .extents = stored.extents,
        .samples = record->samples[handoff->nb_files],
    };
    if (stored.nb_extents > Q2_HANDOFF_MAX_EXTENTS)
        return q2_fail(fault, Q2_ERR_LIMIT,
                       "it is stored in too many pieces to be handed over; copy the file, so that "
                       "it has fewer",
                       source->path);
    status =
        q2_handoff_sample(source, stored.extents, nb_sampled(&stored, source->size), record->buffer,
                          record->samples[handoff->nb_files], &file->nb_samples);
    if (status != Q2_OK)
        return q2_fail(fault, status, NULL, source->path);
    if (handoff->nb_files++ == 0)
        return set_disk(&handoff->disk, &stored.partition, source->path, fault);
    return Q2_OK;
}

/* The key of the image that was added last. */
static enum q2_status add_key(struct mc_record *record, const struct q2_layer_info *layer,
                              struct q2_fault *fault)
{
    struct q2_handoff *handoff = &record->handoff;

    if (!layer->header || layer->header->crypt_method == Q2_CRYPT_NONE)
        return Q2_OK;
    for (uint32_t i = 0; i < handoff->nb_keys; i++) {
        if (record->keys[i].image != layer->source)
            continue;
        handoff->keys[i].file = handoff->nb_files - 1;
        return Q2_OK;
    }
    return q2_fail(fault, Q2_ERR_UNSUPPORTED,
                   "it is encrypted, and its key was wiped when a system was started; attach it "
                   "again",
                   layer->source->path);
}

static enum q2_status add_layers(struct mc_record *record, const struct mc_image *image,
                                 struct q2_fault *fault)
{
    uint32_t first = first_layer(image);
    struct q2_layer_info info;
    enum q2_status status = Q2_OK;

    for (uint32_t i = first; status == Q2_OK && i < q2_disk_nb_layers(image->disk); i++) {
        q2_disk_layer_info(image->disk, i, &info);
        status = add_file(record, image, (struct q2_source *)(uintptr_t)info.source,
                          Q2_HANDOFF_IMAGE, i - first, fault);
        if (status == Q2_OK)
            status = add_key(record, &info, fault);
        if (status == Q2_OK && info.data_source != info.source)
            status = add_file(record, image, (struct q2_source *)(uintptr_t)info.data_source,
                              Q2_HANDOFF_DATA, i - first, fault);
    }
    return status;
}

static size_t optional_size(const char *text)
{
    return text ? STRING_SIZE(text) : 2;
}

enum q2_status mc_record_look(struct mc_record *record, const struct mc_image *image,
                              struct q2_fault *fault, size_t *ret_size)
{
    struct q2_handoff *handoff = &record->handoff;
    size_t size = Q2_HANDOFF_HEADER_SIZE + optional_size(handoff->snapshot) +
                  optional_size(handoff->data_file);
    enum q2_status status;

    for (uint32_t i = 0; i < handoff->nb_backing_files; i++)
        size += optional_size(handoff->backing_files[i]);
    handoff->nb_files = 0;
    status = add_layers(record, image, fault);
    if (status != Q2_OK)
        return status;
    for (uint32_t i = 0; i < handoff->nb_files; i++)
        size += FILE_SIZE + STRING_SIZE(handoff->files[i].path) +
                EXTENT_SIZE * handoff->files[i].nb_extents +
                SAMPLE_SIZE * handoff->files[i].nb_samples;
    for (uint32_t i = 0; i < handoff->nb_keys; i++)
        size += KEY_SIZE + handoff->keys[i].length;
    *ret_size = size;
    return Q2_OK;
}

enum q2_status mc_record_encode(struct mc_record *record, bool with_keys, void *bytes, size_t size,
                                struct q2_fault *fault, size_t *ret_length)
{
    struct q2_handoff *handoff = &record->handoff;
    uint32_t nb_keys = handoff->nb_keys;
    const char *what;
    enum q2_status status;

    if (!with_keys)
        handoff->nb_keys = 0;
    status = q2_handoff_encode(handoff, bytes, size, ret_length, &what);
    handoff->nb_keys = nb_keys;
    return status == Q2_OK ? Q2_OK : q2_fail(fault, status, what, handoff->files[0].path);
}
