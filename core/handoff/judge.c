/* What values a hand-off record may have.
 *
 * May call core/base only. Invariant: no check adds or multiplies numbers of the record before they
 * are known to be small enough.
 */
#include "judge.h"

#include "core/base/range.h"
#include "core/base/text.h"

/* Say what is wrong, unless it is right. */
static enum q2_status require(bool right, enum q2_status status, const char *what,
                              const char **ret_what)
{
    if (right)
        return Q2_OK;
    *ret_what = what;
    return status;
}

static bool is_sector_size(uint32_t size)
{
    return size >= 512 && size <= 65536 && q2_is_power_of_two(size);
}

static bool is_zero(const uint8_t *bytes, size_t length)
{
    for (size_t i = 0; i < length; i++) {
        if (bytes[i] != 0)
            return false;
    }
    return true;
}

/* Is there exactly the identity that the scheme has?  Cameras and old tools write an MBR without a
 * signature; then the volume's number must tell the disk. */
static bool identity_fits(const struct q2_handoff_disk *disk)
{
    bool has_guid = !is_zero(disk->partition_guid, sizeof(disk->partition_guid));
    bool has_signature = disk->mbr_signature != 0;

    switch (disk->scheme) {
    case Q2_HANDOFF_GPT:
        return has_guid && !has_signature;
    case Q2_HANDOFF_MBR:
        return (has_signature || disk->volume_id_offset != 0) && !has_guid;
    case Q2_HANDOFF_WHOLE_DISK:
        return !has_guid && !has_signature && disk->start == 0 && disk->volume_id_offset != 0;
    case Q2_NB_HANDOFF_SCHEMES:
    default:
        return false;
    }
}

static bool disk_fits(const struct q2_handoff_disk *disk)
{
    return is_sector_size(disk->sector_size) && disk->start % disk->sector_size == 0 &&
           disk->size % disk->sector_size == 0 && disk->size >= disk->sector_size &&
           disk->start <= INT64_MAX && disk->size <= INT64_MAX - disk->start &&
           q2_range_fits(disk->volume_id_offset, 4, disk->sector_size) &&
           (disk->volume_id_offset != 0 || disk->volume_id == 0);
}

enum q2_status q2_handoff_judge_head(const struct q2_handoff *handoff, enum q2_status status,
                                     const char **ret_what)
{
    bool overlay = handoff->mode == Q2_HANDOFF_OVERLAY;
    const struct {
        bool right;
        const char *what;
    } rules[] = {
        {identity_fits(&handoff->disk), "the host disk has no identity of its kind"},
        {disk_fits(&handoff->disk), "the host partition's place or sector size is impossible"},
        {handoff->mode < Q2_NB_HANDOFF_MODES, "unknown mode"},
        {handoff->lane < Q2_NB_HANDOFF_LANES, "unknown lane"},
        {handoff->format <= Q2_FORMAT_RAW, "unknown format of the top image"},
        {handoff->names <= Q2_NAMES_ANY, "unknown policy for names"},
        {handoff->backing_format <= Q2_UNSAID_RAW, "unknown format of backing files"},
        {handoff->guest_sector_size == 512 || handoff->guest_sector_size == 4096,
         "the guest's disk has impossible sectors"},
        {overlay == (handoff->overlay_size != 0), "an overlay needs a size, and only an overlay"},
        {handoff->mode != Q2_HANDOFF_RW || !handoff->snapshot, "a snapshot cannot be written"},
    };

    for (size_t i = 0; i < sizeof(rules) / sizeof(rules[0]); i++) {
        if (!rules[i].right)
            return require(false, status, rules[i].what, ret_what);
    }
    if (handoff->nb_files > Q2_HANDOFF_MAX_FILES || handoff->nb_keys > Q2_HANDOFF_MAX_KEYS)
        return require(false, Q2_ERR_LIMIT, "too many files or keys", ret_what);
    if (handoff->nb_backing_files > Q2_HANDOFF_MAX_BACKING_FILES)
        return require(false, Q2_ERR_LIMIT, "too many backing files", ret_what);
    return require(handoff->nb_files > 0, status, "no file", ret_what);
}

/* Is the map of a file valid, and does every extent begin at a sector inside the partition? */
static bool extents_fit(const struct q2_handoff_disk *disk, const struct q2_handoff_file *file)
{
    uint64_t at = 0;

    for (uint32_t i = 0; i < file->nb_extents; i++) {
        const struct q2_file_extent *extent = &file->extents[i];

        if (extent->file_offset != at || extent->length == 0 || extent->length > file->size - at ||
            extent->volume_offset % 512 != 0 ||
            !q2_range_fits(extent->volume_offset, extent->length, disk->size))
            return false;
        at += extent->length;
    }
    return at == file->size;
}

static bool samples_fit(const struct q2_handoff_file *file)
{
    for (uint32_t i = 0; i < file->nb_samples; i++) {
        if (file->samples[i].offset >= file->size ||
            (i > 0 && file->samples[i].offset <= file->samples[i - 1].offset))
            return false;
    }
    return true;
}

/* Is there a file before this one with the same path, or the same role in the same layer? */
static bool is_double(const struct q2_handoff *handoff, uint32_t index)
{
    const struct q2_handoff_file *file = &handoff->files[index];

    for (uint32_t i = 0; i < index; i++) {
        const struct q2_handoff_file *other = &handoff->files[i];

        if (q2_text_equal(file->path, other->path) ||
            (file->role == other->role && file->layer == other->layer))
            return true;
    }
    return false;
}

enum q2_status q2_handoff_judge_file(const struct q2_handoff *handoff, uint32_t index,
                                     enum q2_status status, const char **ret_what)
{
    const struct q2_handoff_file *file = &handoff->files[index];
    bool is_top = file->role == Q2_HANDOFF_IMAGE && file->layer == 0;
    size_t path_length = q2_text_length(file->path);
    uint64_t extents = 0;

    for (uint32_t i = 0; i <= index; i++)
        extents += handoff->files[i].nb_extents;
    if (extents > Q2_HANDOFF_MAX_EXTENTS)
        return require(false, Q2_ERR_LIMIT, "the files are in too many pieces", ret_what);
    if (file->nb_samples > Q2_HANDOFF_MAX_SAMPLES || path_length > Q2_MAX_PATH_LENGTH)
        return require(false, Q2_ERR_LIMIT, "too many samples, or a path too long", ret_what);
    if (file->role >= Q2_NB_HANDOFF_ROLES || file->layer >= Q2_MAX_LAYERS || path_length == 0)
        return require(false, status, "a file without a role", ret_what);
    if (is_top != (index == 0))
        return require(false, status, "the first file must be the top image", ret_what);
    if (is_double(handoff, index))
        return require(false, status, "a file is there twice", ret_what);
    if (!extents_fit(&handoff->disk, file))
        return require(false, status, "a file's extents are no map of it", ret_what);
    return require(samples_fit(file), status, "a file's samples are out of order", ret_what);
}

enum q2_status q2_handoff_judge_key(const struct q2_handoff *handoff, uint32_t index,
                                    enum q2_status status, const char **ret_what)
{
    const struct q2_handoff_key *key = &handoff->keys[index];
    bool right = key->file < handoff->nb_files &&
                 handoff->files[key->file].role == Q2_HANDOFF_IMAGE && key->length >= 16 &&
                 key->length <= Q2_HANDOFF_MAX_KEY_LENGTH &&
                 (key->crypt_method == Q2_CRYPT_LUKS ||
                  (key->crypt_method == Q2_CRYPT_AES && key->length == 16));

    return require(right, status, "a key that fits no file", ret_what);
}
