/* Is a file that is written still the file that was mapped?
 *
 * Two answers. Before the first write of a burst, the source compares the file's directory entry on
 * the volume with what it was: this goes below the file system, so it is allowed inside a request,
 * and it comes before anything is written. Between requests mc_fat_check() asks the file system,
 * which may know of a change that it has not written down yet.
 *
 * Calls drivers/ from inside requests, the file system outside. Invariant: after a comparison that
 * failed nothing is written to the file any more.
 */
#include "fat_place.h"

#include "q2_fail.h"

static enum q2_status read_entry(struct mc_fat_file *file, uint8_t entry[MC_FAT_ENTRY_SIZE])
{
    struct q2_source *device = &mc_fat_place_of(&file->file)->device.source;

    return device->ops->read_at(device, file->entry_offset, entry, MC_FAT_ENTRY_SIZE);
}

/* The date of the last access may differ. */
static bool is_same_entry(const uint8_t *a, const uint8_t *b)
{
    bool is_same = true;

    for (unsigned int i = 0; i < MC_FAT_ENTRY_SIZE; i++)
        is_same =
            is_same && (a[i] == b[i] || i == MC_FAT_ACCESS_DATE || i == MC_FAT_ACCESS_DATE + 1);
    return is_same;
}

/* struct q2_source_ops.write_at */
static enum q2_status guarded_write(struct q2_source *source, uint64_t offset, const void *buffer,
                                    size_t length)
{
    struct mc_fat_file *file =
        (struct mc_fat_file *)(void *)((char *)source - offsetof(struct mc_fat_file, as));
    uint8_t entry[MC_FAT_ENTRY_SIZE];
    enum q2_status status;

    if (!file->is_checked) {
        status = read_entry(file, entry);
        if (status != Q2_OK)
            return status;
        file->is_lost = file->is_lost || !is_same_entry(entry, file->entry);
        if (file->is_lost)
            return Q2_ERR_MEDIA_CHANGED;
        file->is_checked = true;
    }
    return file->below->write_at(source, offset, buffer, length);
}

enum q2_status mc_fat_guard(struct mc_fat_file *file, const struct q2_fat_file *found)
{
    enum q2_status status;

    file->entry_offset = found->entry_offset;
    status = read_entry(file, file->entry);
    if (status != Q2_OK)
        return status;
    file->is_checked = false;
    if (file->as.source.ops != &file->guarded) {
        file->below = file->as.source.ops;
        file->guarded = *file->below;
        file->guarded.write_at = guarded_write;
        file->as.source.ops = &file->guarded;
    }
    return Q2_OK;
}

/* A file that was deleted has no position any more, one that was written anew has another size. */
enum q2_status mc_fat_check(struct q2_place_file *place_file, struct q2_fault *fault)
{
    struct mc_fat_file *file = (struct mc_fat_file *)place_file;
    const struct mc_fat_place *place = mc_fat_place_of(place_file);
    EFI_FILE_PROTOCOL *File = file->File;
    UINT64 size;

    if (place->device.gone != Q2_OK || !place->device.BlockIo->Media->MediaPresent)
        return q2_fail(fault, Q2_ERR_NO_MEDIA, NULL, file->path);
    if (!file->is_lost && !EFI_ERROR(File->SetPosition(File, UINT64_MAX)) &&
        !EFI_ERROR(File->GetPosition(File, &size)) && size == file->file_size)
        return Q2_OK;
    return q2_fail(
        fault, Q2_ERR_BUSY,
        "somebody else changed the file of an attached disk; take the disk away with 'metalcow "
        "detach' and attach it again",
        file->path);
}

void mc_fat_settle(struct q2_place *place)
{
    struct mc_fat_file *file = ((struct mc_fat_place *)place)->written;

    for (; file; file = file->next_written)
        file->is_checked = false;
}
