/* One entry of the snapshot table.  (qcow2: "Snapshots")
 *
 * On-disk layout only.
 */
#ifndef Q2_CORE_FORMAT_SNAPSHOT_ENTRY_H
#define Q2_CORE_FORMAT_SNAPSHOT_ENTRY_H

#include <stddef.h>

#include "core/base/bytes.h"

/* The fixed part; then extra_data_size bytes, the id, the name, padding to a multiple of 8. */
struct q2_snapshot_disk {
    be64 l1_table_offset;
    be32 l1_size;
    be16 id_size;
    be16 name_size;
    be32 date_sec;
    be32 date_nsec;
    be64 vm_clock_nsec;
    be32 vm_state_size;
    be32 extra_data_size;
};
_Static_assert(sizeof(struct q2_snapshot_disk) == 40, "qcow2, Snapshots");
_Static_assert(offsetof(struct q2_snapshot_disk, extra_data_size) == 36, "qcow2, Snapshots");

/* The extra data that we know; entries may have less or more. */
struct q2_snapshot_extra_disk {
    be64 vm_state_size_large;
    be64 virtual_size;
    be64 icount;
};
_Static_assert(sizeof(struct q2_snapshot_extra_disk) == 24, "qcow2, Snapshots");

/* Bytes of it that version 3 demands. */
#define Q2_SNAPSHOT_EXTRA_V3 16u
_Static_assert(offsetof(struct q2_snapshot_extra_disk, icount) == Q2_SNAPSHOT_EXTRA_V3,
               "qcow2, Snapshots");

#endif
