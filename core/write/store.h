/* Writing bytes beside the slice cache: guest data, and whole new tables.
 *
 * May call the sources. Every write goes through here or q2_slice_write(), so that slices, windows
 * and decoded clusters never show what is no longer there.
 */
#ifndef Q2_CORE_STORE_H
#define Q2_CORE_STORE_H

#include "core/format/header_write.h"
#include "core/read/disk.h"

/* Write guest data inside a source: what maps the disk stays as it is.
 *
 * Q2_ERR_IO, Q2_ERR_NO_SPACE ...  the range holds any mix of old and new sectors; fault is filled
 */
enum q2_status q2_store_data(struct q2_disk *disk, struct q2_source *source, uint64_t offset,
                             const void *bytes, size_t length);

/* Write anything else. Errors as q2_store_data(). */
enum q2_status q2_store_write(struct q2_disk *disk, struct q2_source *source, uint64_t offset,
                              const void *bytes, size_t length);

/* Write zeros, through the bounce buffer. Errors as q2_store_data(). */
enum q2_status q2_store_zero(struct q2_disk *disk, struct q2_source *source, uint64_t offset,
                             uint64_t length);

/* Write fields of the header, as they are in `header`; not flushed. Fields outside of
 * [offset, offset + length) stay as they are in the file, so what this program does not know is
 * kept.
 *
 * offset, length  Q2_HEADER_FIELDS(); inside one sector, so that a power cut leaves all of them old
 *                 or all of them new
 */
enum q2_status q2_store_header(struct q2_disk *disk, const struct q2_header *header, size_t offset,
                               size_t length);

/* Copy bytes within the top image's file: a table to a new place.
 *
 * from, to, length  the ranges do not overlap
 * entry_size        COPIED is cleared in each entry of so many bytes, because both tables then
 *                   share what they name; 0: the bytes stay as they are
 *
 * Q2_ERR_IO ...  fault is filled
 */
enum q2_status q2_store_copy(struct q2_disk *disk, uint64_t from, uint64_t to, uint64_t length,
                             uint32_t entry_size);

/* Make a source at least size bytes long.
 *
 * Q2_ERR_NO_SPACE  it cannot grow (so far); nothing changed
 * Q2_ERR_IO ...    fault is filled
 */
enum q2_status q2_store_grow(struct q2_disk *disk, struct q2_source *source, uint64_t size);

/* Flush one source; a failure latches the disk (O10). */
enum q2_status q2_store_flush(struct q2_disk *disk, struct q2_source *source);

/* O10: a metadata write failed. The disk is read-only from now on; returns status. */
enum q2_status q2_store_latch(struct q2_disk *disk, enum q2_status status, const char *what);

#endif
