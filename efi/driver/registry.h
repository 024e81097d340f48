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
    char title[256];
    char no_handoff[MC_MESSAGE_SIZE]; /* as in struct mc_disk_record */
    CHAR16 *name;                     /* the title, for Component Name 2 */
};

/* Set the handle that is the agent in all opens. Once, before everything else. */
void mc_registry_init(EFI_HANDLE agent);

/* Attach an image and publish it.
 *
 * fault       filled on any error; then nothing is left behind
 * ret_disk    valid until it is detached
 */
enum q2_status mc_registry_attach(EFI_HANDLE volume, const struct mc_disk_spec *spec,
                                  struct q2_fault *fault, struct mc_disk **ret_disk);

/* Detach a disk; its volume is given back with the last one, unless it is kept. On an error the
 * disk is as it was.
 *
 * EFI_DEVICE_ERROR  a request is inside the disk; or the firmware does not let go of it */
EFI_STATUS mc_registry_detach(struct mc_disk *disk);

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

/* Hold a volume although it carries no disk (from Start to Stop).
 *
 * EFI_ALREADY_STARTED  it is held already; EFI_ACCESS_DENIED: another driver has it */
EFI_STATUS mc_registry_keep(EFI_HANDLE volume);

/* Start() is done with a volume that it keeps. Until then the volume is not given back. */
void mc_registry_started(EFI_HANDLE volume);

/* Give a volume back; one that is not held is none of ours.
 *
 * EFI_DEVICE_ERROR  it carries disks, or one is on its way in or out */
EFI_STATUS mc_registry_release(EFI_HANDLE volume);

#endif
