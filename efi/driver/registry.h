/* All attached disks.
 *
 * Part of the resident driver. The driver model and the control protocol give the same disks.
 */
#ifndef METALCOW_EFI_REGISTRY_H
#define METALCOW_EFI_REGISTRY_H

#include "efi/handoff/handoff.h"
#include "efi/base/control.h"
#include "publish.h"
#include "upkeep.h"

/* Every call of a boot service may give a TPL lock back, and the firmware may then call the driver
 * again: a stick is pulled, a volume appears. The state says what such a call may do with a disk.
 * DESIGN.md, 8.8, lists the points. */
enum mc_disk_state {
    MC_DISK_ARRIVING, /* its image is open; it is published next. It cannot be named yet */
    MC_DISK_PRESENT,
    MC_DISK_LEAVING, /* it is being taken from the firmware; a second detach is refused */
    MC_DISK_AWAY,    /* it was taken from the firmware and keeps its files: the driver is unloaded,
                        or goes on with it if that is refused */
    MC_DISK_STUCK,   /* the firmware lists it and does not let go: it answers EFI_NO_MEDIA, and
                        nothing of it is ever freed */
};

/* One attached disk. */
struct mc_disk {
    struct mc_disk *next;
    enum mc_disk_state state;
    struct mc_image *image;
    struct mc_published published;
    struct mc_upkeep upkeep;
    struct mc_handoff *handoff; /* NULL: the disk ends with boot services */
    uint32_t number;
    char *entry; /* the id of the entry that it comes from; NULL: somebody asked for it */
    char title[256];
    char no_handoff[MC_MESSAGE_SIZE]; /* as in struct mc_disk_record */
    CHAR16 *name;                     /* the title, for Component Name 2 */
};

/* --- looking up ------------------------------------------------------------------------------- */

/* Is there a disk of an entry, or one that a device path goes on to from its volume?  In any state:
 * one that is on its way is not attached again. */
bool mc_registry_has_entry(EFI_HANDLE volume, const char *id);
bool mc_registry_has_child(EFI_HANDLE volume, const EFI_DEVICE_PATH *remaining);

/* Does any disk read or write the file with this identity (struct q2_source)? */
bool mc_registry_uses(const uint64_t identity[2]);

/* The disks that are present, in the order they were attached; NULL: none, no more. */
struct mc_disk *mc_registry_first(void);
struct mc_disk *mc_registry_next(const struct mc_disk *disk);

struct mc_disk *mc_registry_find_number(uint32_t number);
struct mc_disk *mc_registry_find_handle(EFI_HANDLE handle);

/* Does a path begin with the device path of a disk, in any state? */
bool mc_registry_has_path(const EFI_DEVICE_PATH *path);

/* --- for those who attach and detach ---------------------------------------------------------- */

/* The first disk in any state; the others follow by `next`. */
struct mc_disk *mc_registry_all(void);

/* A number that no disk has had; the last one that was taken may be returned. */
uint32_t mc_registry_take_number(void);
void mc_registry_return_number(uint32_t number);

/* Put a disk at the end of the list; take it out, if it is there. */
void mc_registry_append(struct mc_disk *disk);
void mc_registry_remove(struct mc_disk *disk);

#endif
