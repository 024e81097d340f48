/* Persistent dirty bitmaps while the image is written.  (qcow2: "Bitmap directory")
 *
 * The engine does not keep bitmaps up to date. A bitmap that a write would make wrong is marked
 * as in use before: that is the format's word for "inconsistent", its clusters stay counted, and
 * QEMU shows it and lets it be removed.
 */
#ifndef Q2_CORE_WRITE_BITMAP_WRITE_H
#define Q2_CORE_WRITE_BITMAP_WRITE_H

#include "core/read/disk.h"

enum q2_bitmaps_changed {
    Q2_BITMAPS_RECORDING, /* guest bytes change: those that record writes (flag auto) are wrong */
    Q2_BITMAPS_ALL,       /* the disk's size changes: so do the tables that each one needs */
};

/* Mark bitmaps as in use, durably, before the image changes (O7). Nothing is done where the
 * header's bit says that the bitmaps are void already.
 *
 * ret_kept  the bitmaps can be kept; false: there are none, or their directory is broken, so that
 *           the header's bit must go
 *
 * Q2_ERR_IO ...  the disk is read-only from now on (O10)
 */
enum q2_status q2_bitmaps_distrust(struct q2_disk *disk, enum q2_bitmaps_changed changed,
                                   bool *ret_kept);

#endif
