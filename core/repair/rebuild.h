/* A new refcount structure, counted from what refers to each cluster. */
#ifndef Q2_CORE_REBUILD_H
#define Q2_CORE_REBUILD_H

#include "core/check/references.h"

/* Build refcount table and blocks after the end of the file, and have the header name them. Until
 * then the old structure stays as it is; what it takes up is free afterwards.
 *
 * references  started, of an image whose entries all are inside the file; counted() is called for
 *             each of its clusters
 *
 * Q2_ERR_NO_SPACE  the file cannot grow so far; nothing changed
 * Q2_ERR_LIMIT     the table would be longer than Q2_MAX_REFCOUNT_TABLE_SIZE; nothing changed
 * Q2_ERR_IO ...    after a failed write the disk is read-only
 */
enum q2_status q2_refcounts_rebuild(struct q2_references *references);

#endif
