/* The list of all attached disks: looking disks up.
 *
 * May call efi/base. Invariant: a disk in the list has an open image, its state says whether it is
 * published, and the driver holds its volume.
 */
#include "registry.h"

#include "efi/base/device_path.h"
#include "efi/base/firmware.h"
#include "efi/base/text.h"

static struct {
    struct mc_disk *disks; /* in the order they were attached */
    uint32_t next_number;
} registry;

bool mc_registry_uses(const uint64_t identity[2])
{
    const struct mc_disk *disk = registry.disks;

    for (; disk; disk = disk->next) {
        const struct q2_place_file *file = disk->image->opener.files;
        for (; file; file = file->next) {
            if (q2_same_identity(file->source->identity, identity))
                return true;
        }
    }
    return false;
}

static struct mc_disk *present(struct mc_disk *disk)
{
    while (disk && disk->state != MC_DISK_PRESENT)
        disk = disk->next;
    return disk;
}

struct mc_disk *mc_registry_first(void)
{
    return present(registry.disks);
}

struct mc_disk *mc_registry_next(const struct mc_disk *disk)
{
    return present(disk->next);
}

struct mc_disk *mc_registry_find_number(uint32_t number)
{
    struct mc_disk *disk = mc_registry_first();

    while (disk && disk->number != number)
        disk = mc_registry_next(disk);
    return disk;
}

/* In any state: who names the handle of a disk that is leaving must be refused, not be told that
 * there is none. */
struct mc_disk *mc_registry_find_handle(EFI_HANDLE handle)
{
    struct mc_disk *disk = handle ? registry.disks : NULL;

    while (disk && disk->published.handle != handle)
        disk = disk->next;
    return disk;
}

bool mc_registry_has_entry(EFI_HANDLE volume, const char *id)
{
    struct mc_disk *disk = registry.disks;

    while (disk &&
           !(disk->image->volume == volume && disk->entry && q2_text_equal(disk->entry, id)))
        disk = disk->next;
    return disk != NULL;
}

bool mc_registry_has_child(EFI_HANDLE volume, const EFI_DEVICE_PATH *remaining)
{
    const EFI_DEVICE_PATH *path = mc_protocol(volume, &mc_device_path_guid);

    for (const struct mc_disk *disk = path ? registry.disks : NULL; disk; disk = disk->next) {
        const EFI_DEVICE_PATH *own = disk->published.device_path;
        if (own && disk->image->volume == volume && mc_device_path_is_child(path, own, remaining))
            return true;
    }
    return false;
}

bool mc_registry_has_path(const EFI_DEVICE_PATH *path)
{
    struct mc_disk *disk = registry.disks;

    while (disk && !(disk->published.device_path &&
                     mc_device_path_below(disk->published.device_path, path)))
        disk = disk->next;
    return disk != NULL;
}

struct mc_disk *mc_registry_all(void)
{
    return registry.disks;
}

uint32_t mc_registry_take_number(void)
{
    return registry.next_number++;
}

void mc_registry_return_number(uint32_t number)
{
    if (registry.next_number == number + 1)
        registry.next_number--;
}

void mc_registry_append(struct mc_disk *disk)
{
    struct mc_disk **link = &registry.disks;

    while (*link)
        link = &(*link)->next;
    *link = disk;
}

void mc_registry_remove(struct mc_disk *disk)
{
    struct mc_disk **link = &registry.disks;

    while (*link && *link != disk)
        link = &(*link)->next;
    if (*link)
        *link = disk->next;
}
