/* Where the metadata of an image is stored in its file. */
#ifndef METALCOW_TABLES_H
#define METALCOW_TABLES_H

#include <stdint.h>

#include "q2_disk.h"

/* Called for each piece of metadata; offset and length are bytes and may leave the file. */
typedef void table_visitor(void *context, uint64_t offset, uint64_t length);

/* Visit the header, the L1 table and L2 tables of the active state, the refcount table and the
 * refcount blocks. Tables of snapshots and bitmaps are left out, and so is what cannot be read.
 * (qcow2: "Header", "Cluster mapping", "Host cluster management")
 *
 * source  the image file; header is its header
 */
void tables_visit(const struct q2_source *source, const struct q2_header *header,
                  table_visitor *visit, void *context);

#endif
