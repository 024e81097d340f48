/* Everything that refers to a host cluster: header, L1 tables of all states and what they lead to,
 * snapshot table, bitmaps, encryption header, refcount structure.
 *
 * The check, the repair and the rebuild of refcounts count with it.
 */
#ifndef Q2_CORE_COUNT_H
#define Q2_CORE_COUNT_H

#include "references.h"

/* Count every reference to the clusters of the window that begins with cluster `first`. found() is
 * told what is wrong with the entries on the way.
 *
 * refcounts  the refcount structure counts as well
 *
 * Q2_ERR_TRUNCATED, Q2_ERR_LIMIT, Q2_ERR_BAD_BITMAP, Q2_ERR_IO ...   snapshot table or bitmap
 * directory cannot be walked
 */
enum q2_status q2_count_window(struct q2_references *r, uint64_t first, bool refcounts);

/* Walk once more what the L1 tables of all states lead to, so that found() may change entries when
 * q2_references_only_table() knows of every table. Counts are of no use afterwards. */
enum q2_status q2_count_revisit(struct q2_references *r);

/* Tell found() of refcount table and blocks in the window that was counted which something else
 * refers to as well: to write them would be to write into that. */
void q2_count_overlaps(struct q2_references *r);

#endif
