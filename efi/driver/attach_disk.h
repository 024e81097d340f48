/* Attaching disks.
 *
 * Part of the resident driver. The driver model's Start() and the control protocol attach disks
 * with the same call.
 */
#ifndef METALCOW_EFI_ATTACH_DISK_H
#define METALCOW_EFI_ATTACH_DISK_H

#include "registry.h"

/* How deep disks may be nested: an image inside an attached image may be attached, and no deeper
 * (HAZARDS.md, U11). */
#define MC_MAX_DEPTH 2u

/* Which entry of the volume's configuration a disk comes from. */
struct mc_origin {
    const char *id;
    unsigned int instance; /* for the device path, unless another disk of this image has it. So the
                              path does not depend on the order in which entries are attached */
};

/* Attach an image and publish it.
 *
 * handle      the volume that the image is on
 * origin      NULL: somebody asked for it
 * fault       filled on any error; then nothing is left over
 * ret_disk    valid until it is detached
 *
 * Q2_ERR_LIMIT   images are nested too deeply, or there is no memory or event
 * Q2_ERR_BUSY    another driver has the volume; another disk of it is being attached or detached;
 *                an attached disk and this one share a file that one of them writes; the driver is
 *                being unloaded; the firmware does not take the disk
 * other errors   of mc_image_open(), mc_image_repair() and mc_image_check_files()
 */
enum q2_status mc_disk_attach(EFI_HANDLE handle, const struct mc_disk_spec *spec,
                              const struct mc_origin *origin, struct q2_fault *fault,
                              struct mc_disk **ret_disk);

#endif
