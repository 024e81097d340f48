/* Replacing zero clusters, which version 2 does not have.  (qcow2: "Standard Cluster Descriptor",
 * bit 0) */
#ifndef Q2_CORE_ZERO_EXPAND_H
#define Q2_CORE_ZERO_EXPAND_H

#include "core/read/disk.h"

/* Is there a zero cluster, in the active state or in a snapshot? Nothing is written.
 *
 * Q2_ERR_BAD_L1, Q2_ERR_BAD_SNAPSHOT, Q2_ERR_TRUNCATED, Q2_ERR_IO ...
 */
enum q2_status q2_zero_clusters_exist(struct q2_disk *disk, bool *ret_exist);

/* Replace every zero cluster of every state, durably: where the image has no backing file by
 * nothing, which reads the same, else by a cluster of zeros. The image is plain, its entries are
 * not extended, and its clusters are in the image file. No guest byte changes.
 *
 * Q2_ERR_NO_SPACE  some are replaced, the others not: all states read as before
 * Errors as above.
 */
enum q2_status q2_zero_clusters_replace(struct q2_disk *disk);

#endif
