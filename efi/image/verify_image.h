/* Verifying an image that was opened, as its entry wants it. */
#ifndef METALCOW_EFI_VERIFY_IMAGE_H
#define METALCOW_EFI_VERIFY_IMAGE_H

#include "attach.h"

/* Compare all files of the disk with the sums that were said; nothing if none was.
 *
 * Q2_ERR_DENIED  a file differs, a sum is missing, or the mode is rw; the fault says which file
 * other errors   as mc_verification_run()
 */
enum q2_status mc_image_verify(const struct mc_image *image, const struct mc_disk_spec *spec,
                               struct q2_fault *fault);

#endif
