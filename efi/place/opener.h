/* The opener of the firmware: files of the image's own volume.
 *
 * Implements include/q2_opener.h for attach.c; called by core/read/chain.c. Holds no policy.
 */
#ifndef METALCOW_EFI_OPENER_H
#define METALCOW_EFI_OPENER_H

#include "q2_opener.h"
#include "volume.h"

struct mc_opener {
    struct q2_opener opener; /* first */
    struct mc_volume *volume;
    struct q2_fault fault; /* of the last open that failed: more than its status says */
};

void mc_opener_init(struct mc_opener *opener, struct mc_volume *volume);

#endif
