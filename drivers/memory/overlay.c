/* An overlay in memory.
 *
 * May call source.h and q2_create(). Invariant: nothing past the capacity is written.
 */
#include "overlay.h"

#include "q2_create.h"

/* Small clusters waste little memory on small writes, but need a longer L1 table. So the smallest
 * size is taken whose L1 table is at most this part of the overlay. */
#define SMALLEST_CLUSTER_BITS 12u
#define MAX_L1_PART           64u

/* An L2 table is a cluster of entries of 8 bytes, so an L1 entry maps 2^(2 * bits - 3) bytes. */
static uint32_t choose_cluster_bits(uint64_t virtual_size, uint64_t capacity)
{
    uint32_t bits = SMALLEST_CLUSTER_BITS;

    while (bits < Q2_MAX_CLUSTER_BITS &&
           (virtual_size >> (2 * bits - 3)) * 8 > capacity / MAX_L1_PART)
        bits++;
    return bits;
}

enum q2_status q2_overlay_make(struct q2_source_memory *overlay, void *buffer, uint64_t capacity,
                               void *workspace, uint64_t virtual_size, struct q2_fault *fault)
{
    const struct q2_create_options options = {
        .virtual_size = virtual_size & ~511ull,
        .cluster_bits = choose_cluster_bits(virtual_size, capacity),
    };

    q2_source_memory_init(overlay, buffer, 0, capacity, true, "overlay");
    return q2_create(workspace, &overlay->source, &options, fault);
}
