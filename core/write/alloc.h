/* Allocating host clusters of the top image.  (qcow2: "Refcount management") */
#ifndef Q2_CORE_ALLOC_H
#define Q2_CORE_ALLOC_H

#include "core/read/disk.h"

/* Allocate host clusters in a row and give each refcount 1 (waiting as Q2_DIRTY_REFCOUNT).
 *
 * nb_wanted   1..Q2_ALLOC_MAX
 * ret_offset  host offset of the first; its old content is undefined
 * ret_nb      1..nb_wanted: as many as are free in a row
 *
 * Q2_ERR_NO_SPACE  the file is full and cannot grow; nothing changed
 * Q2_ERR_LIMIT     the refcount table is at its largest
 * Q2_ERR_IO ...    fault is filled; clusters may be leaked, nothing names them
 */
enum q2_status q2_clusters_alloc(struct q2_disk *disk, uint64_t nb_wanted, uint64_t *ret_offset,
                                 uint64_t *ret_nb);

/* Allocate exactly nb host clusters in a row, as tables need them; refcounts wait as above.
 *
 * nb  >= 1
 *
 * Q2_ERR_NO_SPACE  the file cannot grow so far; nothing changed, or a refcount block more is there
 * Errors as above.
 */
enum q2_status q2_clusters_alloc_row(struct q2_disk *disk, uint64_t nb, uint64_t *ret_offset);

/* Bound on one allocation: its refcounts and L2 entries fall into few slices. */
#define Q2_ALLOC_MAX 256u

#endif
