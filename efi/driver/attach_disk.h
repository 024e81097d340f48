/* Attaching disks.
 *
 * Part of the resident driver. The driver model's Start() and the control protocol attach disks
 * with the same call.
 */
#ifndef METALCOW_EFI_ATTACH_DISK_H
#define METALCOW_EFI_ATTACH_DISK_H

#include "registry.h"

/* Disks in images on disks of ours: an image inside an attached image may be attached, no deeper
 * (HAZARDS.md, U11). */
#define MC_MAX_DEPTH 2u

/* Which entry of the volume's configuration a disk comes from. */
struct mc_origin {
    const char *id;
    unsigned int instance; /* of its image in the device path, if no other disk has it: so the path
                              does not depend on the order in which entries are attached */
};

/* Attach an image and publish it.
 *
 * handle      the volume that the image is on
 * origin      NULL: somebody asked for it
 * fault       filled on any error; then nothing is left over
 * ret_disk    valid until it is detached
 */
enum q2_status mc_disk_attach(EFI_HANDLE handle, const struct mc_disk_spec *spec,
                              const struct mc_origin *origin, struct q2_fault *fault,
                              struct mc_disk **ret_disk);

#endif
