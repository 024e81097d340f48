/* The disk: the record's files as sources, the engine on top.
 *
 * Calls drivers/ and include/q2_disk.h. Invariant: no file is used before its samples were
 * compared.
 */
#include <string.h>
#include <sys/mman.h>

#include "drivers/memory/overlay.h"
#include "handoff.h"

static struct q2_image_key keys[Q2_HANDOFF_MAX_KEYS];

/* Make the source of a file. Files that begin at the same place are the same file. */
static enum q2_status make_source(struct record_opener *opener, uint32_t index, bool writable)
{
    const struct q2_handoff_file *file = &opener->handoff->files[index];

    return q2_source_extents_init(
        &opener->files[index].source,
        &(struct q2_extents_file){
            .volume = opener->volume,
            .extents = file->extents,
            .nb_extents = file->nb_extents,
            .size = file->size,
            .file_id = file->nb_extents > 0 ? file->extents[0].volume_offset : UINT64_MAX - index,
            .path = file->path,
            .writable = writable,
        });
}

static enum q2_status record_open(struct q2_opener *base, const char *path, bool writable,
                                  struct q2_source **ret_source)
{
    struct record_opener *opener = (struct record_opener *)base;

    for (uint32_t i = 0; i < opener->handoff->nb_files; i++) {
        enum q2_status status;

        if (opener->files[i].used || strcmp(opener->handoff->files[i].path, path) != 0)
            continue;
        status = make_source(opener, i, writable);
        if (status != Q2_OK)
            return status;
        opener->files[i].used = true;
        *ret_source = &opener->files[i].source.source;
        return Q2_OK;
    }
    return Q2_ERR_NOT_FOUND;
}

static void record_close(struct q2_opener *base, struct q2_source *source)
{
    struct record_opener *opener = (struct record_opener *)base;

    for (uint32_t i = 0; i < opener->handoff->nb_files; i++) {
        if (&opener->files[i].source.source == source)
            opener->files[i].used = false;
    }
}

/* Say that a file is another one. The text of the status is for firmware, where an image can be
 * attached again, so it is not used. */
static void say_different(const struct q2_fault *fault)
{
    if (fault->status != Q2_ERR_MEDIA_CHANGED)
        log_fault("the image cannot be compared with what the firmware saw", fault);
    else
        log_say(LOG_ERROR,
                "refused: %s, at offset %llu: the bytes are not the ones that the firmware saw; "
                "take away disks that hold a copy of this one, and start the machine again",
                fault->file, (unsigned long long)fault->offset);
}

bool files_verify(struct handoff *handoff)
{
    static const struct q2_opener_ops ops = {.open = record_open, .close = record_close};
    struct record_opener *opener = &handoff->opener;
    struct q2_fault fault = {.status = Q2_OK};

    opener->opener.ops = &ops;
    opener->handoff = &handoff->record;
    opener->volume = &handoff->host.source.source;
    for (uint32_t i = 0; i < handoff->record.nb_files; i++) {
        enum q2_status status = make_source(opener, i, false);

        if (status == Q2_OK)
            status = q2_handoff_verify(&opener->files[i].source.source, &handoff->record.files[i],
                                       handoff->buffer, &fault);
        if (status != Q2_OK) {
            fault.status = status;
            say_different(&fault);
            return false;
        }
    }
    return true;
}

static struct q2_disk_options options_of(struct handoff *handoff)
{
    static struct q2_given_file given[Q2_HANDOFF_MAX_BACKING_FILES];
    const struct q2_handoff *record = &handoff->record;

    for (uint32_t i = 0; i < record->nb_keys; i++)
        keys[i] = (struct q2_image_key){
            .path = record->files[record->keys[i].file].path,
            .crypt_method = record->keys[i].crypt_method,
            .length = record->keys[i].length,
            .bytes = record->keys[i].bytes,
        };
    for (uint32_t i = 0; i < record->nb_backing_files; i++)
        given[i].path = record->backing_files[i];
    return (struct q2_disk_options){
        .data_file = record->data_file,
        .backing_files = given,
        .nb_backing_files = record->nb_backing_files,
        .snapshot = record->snapshot,
        .names = record->names,
        .format = record->format,
        .backing_format = record->backing_format,
        .look_beside = true, /* the firmware does */
        .writable = record->mode == Q2_HANDOFF_RW,
        .repair_if_dirty = record->mode == Q2_HANDOFF_RW,
        .unlocker = q2_unlocker_key_init(&handoff->unlocker, keys, record->nb_keys),
        .zlib = q2_codec_zlib_init(&handoff->zlib),
        .zstd = q2_codec_zstd_init(&handoff->zstd),
    };
}

static enum q2_status open_with(struct handoff *handoff, const struct q2_disk_options *options,
                                struct q2_fault *fault)
{
    struct record_opener *opener = &handoff->opener;
    enum q2_status status = make_source(opener, 0, options->writable && !options->overlay);

    opener->files[0].used = true;
    if (status == Q2_OK)
        status = q2_disk_open(handoff->workspace, &opener->files[0].source.source, &opener->opener,
                              options, fault, &handoff->disk);
    return status;
}

/* An overlay needs the disk's size, so the disk is opened once without it. */
static enum q2_status open_overlay(struct handoff *handoff, struct q2_disk_options *options,
                                   struct q2_fault *fault)
{
    uint64_t capacity = handoff->record.overlay_size, size;
    enum q2_status status = open_with(handoff, options, fault);
    void *memory;

    if (status != Q2_OK)
        return status;
    size = q2_disk_size(handoff->disk);
    q2_disk_close(handoff->disk);
    memory = mmap(NULL, (size_t)capacity, PROT_READ | PROT_WRITE,
                  MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (memory == MAP_FAILED)
        return Q2_ERR_LIMIT;
    status = q2_overlay_make(&handoff->overlay, memory, capacity, handoff->workspace, size, fault);
    options->overlay = &handoff->overlay.source;
    options->writable = true;
    return status == Q2_OK ? open_with(handoff, options, fault) : status;
}

bool disk_open(struct handoff *handoff)
{
    struct q2_disk_options options = options_of(handoff);
    struct q2_fault fault = {.status = Q2_OK};
    bool overlay = handoff->record.mode == Q2_HANDOFF_OVERLAY;
    enum q2_status status =
        overlay ? open_overlay(handoff, &options, &fault) : open_with(handoff, &options, &fault);

    if (status == Q2_OK) {
        handoff->size = q2_disk_size(handoff->disk) & ~(handoff->record.guest_sector_size - 1ull);
        return true;
    }
    fault.status = status;
    log_fault("the image cannot be opened", &fault);
    return false;
}
