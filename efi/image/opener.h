/* The opener of the firmware: files of the place that the image is stored in.
 *
 * Implements include/q2_opener.h over include/q2_place.h, and keeps the list of what it has opened,
 * so that a source leads back to its file. Holds no policy. May call the place: at attach and at
 * detach only.
 */
#ifndef METALCOW_EFI_OPENER_H
#define METALCOW_EFI_OPENER_H

#include "q2_opener.h"
#include "q2_place.h"

struct mc_opener {
    struct q2_opener opener; /* first */
    struct q2_place *place;
    struct q2_place_file *files; /* open, the newest first */
    struct q2_fault fault;       /* of the last open that failed: more than its status says */
};

void mc_opener_init(struct mc_opener *opener, struct q2_place *place);

/* Open a file and keep it in the list; struct q2_place_ops.open_file has the errors. */
enum q2_status mc_opener_open(struct mc_opener *opener, const char *path, bool writable,
                              struct q2_fault *fault, struct q2_place_file **ret_file);

/* The file that has a source; NULL: it is none of the list. */
struct q2_place_file *mc_opener_find(const struct mc_opener *opener,
                                     const struct q2_source *source);

/* Close a file of the list. */
void mc_opener_close(struct mc_opener *opener, struct q2_place_file *file);

#endif
