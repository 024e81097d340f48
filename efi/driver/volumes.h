/* The volumes that the driver holds: those that carry its disks, and those between Start and Stop.
 *
 * Part of the resident driver. A volume is held by opening it BY_DRIVER, so that the firmware calls
 * Stop() before it takes the volume away. Who may do what while a call from inside is possible:
 * DESIGN.md, 8.8.
 */
#ifndef METALCOW_EFI_VOLUMES_H
#define METALCOW_EFI_VOLUMES_H

#include "efi/base/console.h"
#include "efi/base/firmware.h"

/* A volume that is open BY_DRIVER. */
struct mc_volume {
    struct mc_volume *next;
    EFI_HANDLE handle;
    EFI_GUID *held;        /* the protocol that is open */
    unsigned int nb_disks; /* with one that is on its way in or out: it needs the volume too */
    bool keep;             /* between Start and Stop */
    bool is_starting;      /* Start() is attaching its entries */
    bool is_opening;       /* OpenProtocol() has not returned yet */
    bool is_changing;      /* a disk on it is being attached or detached. No other disk is attached
                              meanwhile, because whether both share a file cannot be told */
    bool is_held_still;    /* its files are looked at: no disk of it may be detached either */
    struct mc_said said;   /* by Start() */
    struct mc_said *outer; /* what filtered messages before Start() */
};

/* Set the handle that is the agent in all opens. Once, before everything else. */
void mc_volumes_init(EFI_HANDLE agent);
EFI_HANDLE mc_volumes_agent(void);

/* Hold a volume although it carries no disk (from Start to Stop). Start() may come again: what it
 * has said before is not said again.
 *
 * ret_was_kept         it was held by a Start() before
 * EFI_ALREADY_STARTED  it is just being started, or a disk on it is on its way in or out
 * EFI_ACCESS_DENIED    another driver has it, or the driver is being unloaded */
EFI_STATUS mc_volume_keep(EFI_HANDLE handle, bool *ret_was_kept);

/* Start() is done with a volume that it keeps. Until then the volume is not given back. */
void mc_volume_started(EFI_HANDLE handle);

/* Give a volume back. EFI_SUCCESS if it is not held.
 *
 * EFI_DEVICE_ERROR  it carries disks, or one is on its way in or out */
EFI_STATUS mc_volume_release(EFI_HANDLE handle);

/* Keep a volume held, and its disks attached, until mc_volume_let_go(), because its files are
 * looked at. No other disk is attached on it meanwhile. false: a disk on it is being attached or
 * detached, or the volume is not held. */
bool mc_volume_hold_still(EFI_HANDLE handle);
void mc_volume_let_go(EFI_HANDLE handle);

/* Is a volume one that the driver holds? */
bool mc_volume_is_held(EFI_HANDLE handle);

/* --- for those who attach and detach disks ---------------------------------------------------- */

/* NULL: the driver does not hold it. */
struct mc_volume *mc_volume_find(EFI_HANDLE handle);

/* Open BY_DRIVER a volume that is not held, so that the firmware calls Stop() before it takes the
 * volume away.
 *
 * EFI_ALREADY_STARTED   a call from inside has held it
 * EFI_OUT_OF_RESOURCES  no memory
 * EFI_UNSUPPORTED       no disk can be on it
 * other                 of OpenProtocol(): another driver has it */
EFI_STATUS mc_volume_hold(EFI_HANDLE handle, struct mc_volume **ret_volume);

/* Give a volume back if nothing needs it: no disk, no Start(). */
void mc_volume_give_back_unused(struct mc_volume *volume);

/* While suspended, nothing is attached, started or detached: disks are away from the firmware, or
 * on their way. */
void mc_volumes_suspend(bool suspend);
bool mc_volumes_are_suspended(void);

/* Is any volume being opened or started, or a disk of one on its way? */
bool mc_volumes_are_changing(void);

/* Give every volume back, and end the suspension. */
void mc_volumes_close(void);

#endif
