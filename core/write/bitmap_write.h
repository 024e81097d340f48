/* Persistent dirty bitmaps while the image is written.  (qcow2: "Bitmap directory")
 *
 * Before the first write, bitmaps that it would make wrong are marked as in use: that is the
 * format's word for "inconsistent", their clusters stay counted, and QEMU shows them and lets them
 * be removed. A disk that keeps bitmaps records each write in them (bitmap_record.c) and takes the
 * mark away at the end; else the mark stays.
 */
#ifndef Q2_CORE_WRITE_BITMAP_WRITE_H
#define Q2_CORE_WRITE_BITMAP_WRITE_H

#include "core/read/disk.h"

enum q2_bitmaps_changed {
    Q2_BITMAPS_RECORDING, /* guest bytes change: those that record writes (flag auto) are wrong */
    Q2_BITMAPS_ALL,       /* the disk's size changes, and with it the tables that each one needs; or
                             all of its content */
};

/* Mark bitmaps as in use, durably, before the image changes (O7). Nothing is done where the
 * header's bit says that the bitmaps are void already. If the disk keeps bitmaps, those that were
 * marked are among its recorded ones then, as far as there is room.
 *
 * ret_kept  the bitmaps can be kept; false: there are none, or their directory is broken or shared
 *           with something else, so that the header's bit must go
 *
 * Q2_ERR_IO ...  the disk is read-only from now on (O10)
 */
enum q2_status q2_bitmaps_distrust(struct q2_disk *disk, enum q2_bitmaps_changed changed,
                                   bool *ret_kept);

/* Mark the bitmap whose entry is at host offset entry_at, and which is in disk->bitmap, as in use,
 * durably, and get ready to record in it.
 *
 * Q2_ERR_BUSY   it is in use already
 * Q2_ERR_LIMIT  there is no room for one more
 * Q2_ERR_IO ... as above
 */
enum q2_status q2_bitmap_take(struct q2_disk *disk, uint64_t entry_at);

/* The bitmap with this table, if it is recorded; else NULL. */
struct q2_recorded_bitmap *q2_bitmap_recorded(struct q2_disk *disk, uint64_t table_offset);

/* Record no more in a bitmap, or in any: the mark stays in the file for good. */
void q2_bitmap_lose(struct q2_disk *disk, struct q2_recorded_bitmap *bitmap);
void q2_bitmaps_lose(struct q2_disk *disk);

/* Set the bits of guest bytes, as far as the bitmap covers them.
 *
 * Q2_ERR_BAD_BITMAP, Q2_ERR_NO_SPACE, Q2_ERR_IO ...  some may be set
 */
enum q2_status q2_bitmap_set(struct q2_disk *disk, struct q2_recorded_bitmap *bitmap,
                             uint64_t offset, uint64_t length);

/* Record a write of guest bytes, before it is done, in every bitmap that records. A bitmap in which
 * that cannot be done stays in use for good: the write matters more.
 *
 * Q2_ERR_READ_ONLY ...  the disk is read-only from now on (O10)
 */
enum q2_status q2_bitmaps_record(struct q2_disk *disk, uint64_t offset, uint64_t length);

/* Give up what a table's entries [first, end) name; the entries become 0 if clear. */
enum q2_status q2_bitmap_release(struct q2_disk *disk, uint64_t table_offset, uint64_t first,
                                 uint64_t end, bool clear);

/* Clear the bits from bit nb_bits on in the cluster that holds it; the table has nb_entries. An
 * entry that stands for a cluster of ones gets a cluster. */
enum q2_status q2_bitmap_clear_behind(struct q2_disk *disk, uint64_t table_offset,
                                      uint32_t nb_entries, uint64_t nb_bits);

/* Is every host cluster of a range referred to once? Only then is it the bitmap's own. */
bool q2_bitmap_owns(struct q2_disk *disk, uint64_t offset, uint64_t length);

/* Does a bitmap forbid that the disk's size changes? Nothing is written.
 *
 * Q2_ERR_BUSY        a bitmap is inconsistent: in use by somebody else
 * Q2_ERR_BAD_BITMAP  a bitmap breaks the specification, or shares a cluster that would change
 * Q2_ERR_LIMIT       a bitmap would be too large
 */
enum q2_status q2_bitmaps_check_resize(struct q2_disk *disk, uint64_t new_size);

/* Before the disk's size changes: mark all bitmaps as in use. If the disk keeps bitmaps, this comes
 * after q2_bitmaps_check_resize(), and makes their tables long enough for a larger disk.
 *
 * Q2_ERR_BAD_BITMAP  not all can be marked, because the directory cannot be read; nothing changed
 * Q2_ERR_NO_SPACE, Q2_ERR_IO ...  some tables may be longer
 */
enum q2_status q2_bitmaps_grow(struct q2_disk *disk, uint64_t new_size);

/* The disk has its new size: recorded bitmaps cover it, and tables that are longer than it needs
 * are cut. Errors as above; the disk has its size all the same. */
enum q2_status q2_bitmaps_fit(struct q2_disk *disk);

#endif
