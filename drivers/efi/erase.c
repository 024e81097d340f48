/* Erasing guest bytes.
 *
 * May call the engine's public functions only. Invariant: nothing outside the range changes.
 */
#include "erase.h"

static bool reads_as_zeros(const struct q2_extent *extent)
{
    return extent->kind == Q2_EXTENT_ZERO || extent->kind == Q2_EXTENT_UNALLOCATED;
}

enum q2_status q2_disk_erase(struct q2_disk *disk, uint64_t offset, uint64_t length)
{
    uint64_t end = offset + length;
    enum q2_status status = q2_disk_discard(disk, offset, length);

    while (status == Q2_OK && offset < end) {
        struct q2_extent extent;
        status = q2_disk_map(disk, offset, end - offset, &extent);
        if (status != Q2_OK)
            return status;
        if (!reads_as_zeros(&extent))
            status = q2_disk_write_zeroes(disk, offset, extent.length);
        offset += extent.length;
    }
    return status;
}

uint64_t q2_disk_erase_granule(const struct q2_disk *disk)
{
    struct q2_layer_info info;

    q2_disk_layer_info(disk, 0, &info);
    return info.header ? q2_header_unit(info.header) : 1;
}
