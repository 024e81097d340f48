/* The places that the firmware programs know, and how a handle of the firmware becomes one.
 *
 * A kind of place is one row of the table in places.c. The handle of a volume is asked for each
 * kind in turn. May call boot services; never used from inside a request.
 */
#ifndef METALCOW_EFI_PLACE_H
#define METALCOW_EFI_PLACE_H

#include <efi.h>

#include "q2_place.h"

struct mc_place_kind {
    /* The protocol of the handle that the driver keeps open BY_DRIVER as long as a disk comes from
     * this place, so that the firmware asks before it takes the place away. */
    EFI_GUID *held;

    /* Open the place on a handle.
     *
     * fault      filled on any error
     * ret_place  pool memory, until ops->close(); it must not be moved
     *
     * Q2_ERR_UNSUPPORTED  the handle is no place of this kind: the next kind is asked
     * Q2_ERR_LIMIT        no memory
     */
    enum q2_status (*open)(EFI_HANDLE handle, struct q2_fault *fault, struct q2_place **ret_place);
};

/* FAT volumes, read below the file system.  (fat_place.c) */
extern const struct mc_place_kind mc_place_fat;

/* Volumes of any other file system that the firmware reads.  (file_place.c) */
extern const struct mc_place_kind mc_place_file_system;

/* Open the place on a handle, of whatever kind.
 *
 * Q2_ERR_UNSUPPORTED  it is no place of any kind
 * Q2_ERR_LIMIT        no memory
 */
enum q2_status mc_place_open(EFI_HANDLE handle, struct q2_fault *fault,
                             struct q2_place **ret_place);

/* Nothing if place is NULL. */
void mc_place_close(struct q2_place *place);

/* The protocol to hold on a handle (struct mc_place_kind.held); NULL: it is no place. Cheap: opens
 * nothing. */
EFI_GUID *mc_place_held(EFI_HANDLE handle);

/* Fill in where the handle's partition is, from its device path and its Block I/O. */
void mc_partition_get(EFI_HANDLE handle, struct q2_partition *ret_partition);

#endif
