/* Bitmap directory and bitmap tables.  (qcow2: "Bitmaps")
 *
 * On-disk layout only.
 */
#ifndef Q2_CORE_FORMAT_BITMAP_ENTRY_H
#define Q2_CORE_FORMAT_BITMAP_ENTRY_H

#include <stddef.h>

#include "core/base/bytes.h"

/* The fixed part; then extra_data_size bytes, the name, padding to a multiple of 8. */
struct q2_bitmap_disk {
    be64 table_offset;
    be32 table_size; /* entries */
    be32 flags;
    uint8_t type;
    uint8_t granularity_bits;
    be16 name_size;
    be32 extra_data_size;
};
_Static_assert(sizeof(struct q2_bitmap_disk) == 24, "qcow2, Bitmap directory");

#define Q2_BITMAP_TYPE_DIRTY 1u

#define Q2_BITMAP_TABLE_ONES     1ull /* without an offset: every bit is set */
#define Q2_BITMAP_TABLE_OFFSET   0x00fffffffffffe00ull
#define Q2_BITMAP_TABLE_RESERVED 0xff000000000001feull

#endif
