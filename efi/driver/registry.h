/* All attached disks, and the volumes that carry them.
 *
 * Part of the resident driver. The driver model and the control protocol give the same disks. A
 * volume that carries disks is open BY_DRIVER, so that the firmware calls Stop() before it takes
 * the volume away.
 */
#ifndef METALCOW_EFI_REGISTRY_H
#define METALCOW_EFI_REGISTRY_H

#include "efi/handoff/handoff.h"
#include "efi/base/control.h"
#include "publish.h"
#include "upkeep.h"

/* Disks in images on disks of ours: an image inside an attached image may be attached, no deeper
 * (HAZARDS.md, U11). */
#define MC_MAX_DEPTH 2u

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

/* Which entry of the volume's configuration a disk comes from. */
struct mc_origin {
    const char *id;
    unsigned int instance; /* of its image in the device path, if no other disk has it: so the path
                              does not depend on the order in which entries are attached */
};

/* Set the handle that is the agent in all opens. Once, before everything else. */
void mc_registry_init(EFI_HANDLE agent);

/* Attach an image and publish it.
 *
 * origin      NULL: somebody asked for it
 * fault       filled on any error; then nothing is left over
 * ret_disk    valid until it is detached
 */
enum q2_status mc_registry_attach(EFI_HANDLE volume, const struct mc_disk_spec *spec,
                                  const struct mc_origin *origin, struct q2_fault *fault,
                                  struct mc_disk **ret_disk);

/* Detach a disk; its volume is given back with the last one, unless it is kept. On an error the
 * disk is as it was.
 *
 * EFI_DEVICE_ERROR  a request is inside the disk; or the firmware does not let go of it */
EFI_STATUS mc_registry_detach(struct mc_disk *disk);

/* Take every disk from the firmware, the newest first, or none. While they are away nothing is
 * attached or started. mc_registry_resume() or mc_registry_close() must follow.
 *
 * A disk on a volume inside another disk of ours cannot wait: it is detached, and comes back with
 * that volume if an entry asks for it.
 *
 * fault              which disk, if not EFI_SUCCESS
 * EFI_ACCESS_DENIED  a disk is in use, or on its way in or out; all are as they were */
EFI_STATUS mc_registry_suspend(struct q2_fault *fault);

/* Bring the disks back that are away. */
void mc_registry_resume(void);

/* Flush and free the disks that are away, and give every volume back. */
void mc_registry_close(void);

/* Is there a disk of an entry, or one that a device path goes on to from its volume?  In any state:
 * one that is on its way is not attached again. */
bool mc_registry_has_entry(EFI_HANDLE volume, const char *id);
bool mc_registry_has_child(EFI_HANDLE volume, const EFI_DEVICE_PATH *remaining);

/* Keep a volume and all its disks from going and coming for a while: its files are looked at.
 * false: a disk on it is on its way in or out, or no disk of ours is there. */
bool mc_registry_hold_still(EFI_HANDLE volume);
void mc_registry_let_go(EFI_HANDLE volume);

/* Does any disk read or write the file with this identity (struct q2_source)? */
bool mc_registry_uses(const uint64_t identity[2]);

/* The disks that are present, in the order they were attached; NULL: none, no more. */
struct mc_disk *mc_registry_first(void);
struct mc_disk *mc_registry_next(const struct mc_disk *disk);

struct mc_disk *mc_registry_find_number(uint32_t number);
struct mc_disk *mc_registry_find_handle(EFI_HANDLE handle);

/* Is a volume one that the driver holds? */
bool mc_registry_holds(EFI_HANDLE volume);

/* A volume that the driver holds, one inside our disks before the one that carries them; false:
 * there is none. */
bool mc_registry_last_volume(EFI_HANDLE *ret_volume);

/* Hold a volume although it carries no disk (from Start to Stop). Start() may come again: what it
 * has said before is not said again.
 *
 * ret_was_kept         it was held by a Start() before
 * EFI_ALREADY_STARTED  it is just being started, or a disk on it is on its way in or out
 * EFI_ACCESS_DENIED    another driver has it, or the driver is being unloaded */
EFI_STATUS mc_registry_keep(EFI_HANDLE volume, bool *ret_was_kept);

/* Start() is done with a volume that it keeps. Until then the volume is not given back. */
void mc_registry_started(EFI_HANDLE volume);

/* Give a volume back; one that is not held is none of ours.
 *
 * EFI_DEVICE_ERROR  it carries disks, or one is on its way in or out */
EFI_STATUS mc_registry_release(EFI_HANDLE volume);

#endif
