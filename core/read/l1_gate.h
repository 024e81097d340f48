/* The one gate from an L1 index to an L2 table.  (qcow2: "Cluster mapping")
 *
 * Everything that follows an L1 entry comes by here: reading, writing, the check and the repair.
 */
#ifndef Q2_CORE_L1_GATE_H
#define Q2_CORE_L1_GATE_H

#include "image.h"

/* Judge an L1 entry and turn it into the offset of its L2 table.
 *
 * image       its L1 table and refcount table are what an L2 table must not overlap
 * entry       as stored, untrusted
 * ret_table   set on Q2_OK: 0, there is no table; else a multiple of the cluster size, inside the
 *             file, and on neither the L1 table nor the refcount table
 * ret_breach  set on an error: the rule that the entry breaks, static text
 *
 * Q2_ERR_BAD_L1     a reserved bit, an offset that is not aligned, or a table on other metadata
 * Q2_ERR_TRUNCATED  the table starts past the end of the file
 */
enum q2_status q2_l1_gate(const struct q2_image *image, uint64_t entry, uint64_t *ret_table,
                          const char **ret_breach);

/* The breach of an entry whose L2 table is on other metadata. */
extern const char q2_l1_on_table[];

/* Where the L1 entry of a guest offset is stored, bytes into the image file. */
uint64_t q2_l1_entry_offset(const struct q2_image *image, uint64_t guest_offset);

#endif
