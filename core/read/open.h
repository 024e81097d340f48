/* Opening the files of a disk: the part that reading and writing share.
 *
 * The public entries are q2_disk_open_for_reading(), in open.c, and q2_disk_open(), in core/open/.
 */
#ifndef Q2_CORE_OPEN_H
#define Q2_CORE_OPEN_H

#include "disk.h"

/* Open the image, its data file and its backing chain. Files that the options want to write are
 * opened for writing, but the disk is not writable yet. Arguments and errors as q2_disk_open(). */
enum q2_status q2_layers_open(void *workspace, struct q2_source *image, struct q2_opener *opener,
                              const struct q2_disk_options *options, struct q2_fault *fault,
                              struct q2_disk **ret_disk);

#endif
