/* The overlay in memory.
 *
 * Below attach.c; calls q2_create(). Invariant: overlay->memory is NULL or has capacity bytes.
 */
#include "overlay.h"

#include "efi/base/fail.h"
#include "efi/base/firmware.h"
#include "q2_create.h"

/* Small clusters waste little memory on small writes, but each L1 entry maps fewer of them: the L1
 * table gets no more than this part of the overlay. */
#define SMALLEST_CLUSTER_BITS 12u
#define MAX_L1_PART           64u

/* An L2 table is a cluster of entries of 8 bytes. */
static uint32_t choose_cluster_bits(uint64_t virtual_size, uint64_t capacity)
{
    uint32_t bits = SMALLEST_CLUSTER_BITS;

    while (bits < Q2_MAX_CLUSTER_BITS &&
           (virtual_size >> (2 * bits - 3)) * 8 > capacity / MAX_L1_PART)
        bits++;
    return bits;
}

enum q2_status mc_overlay_make(void *workspace, uint64_t virtual_size, uint64_t capacity,
                               struct q2_fault *fault, struct mc_overlay *overlay)
{
    const struct q2_create_options options = {
        .virtual_size = virtual_size & ~511ull,
        .cluster_bits = choose_cluster_bits(virtual_size, capacity),
    };
    enum q2_status status;

    overlay->memory = mc_alloc_pages((size_t)capacity);
    if (!overlay->memory)
        return mc_fail(fault, Q2_ERR_LIMIT, "not so much memory; choose a smaller overlay-size",
                       "overlay");
    q2_source_memory_init(&overlay->source, overlay->memory, 0, capacity, true, "overlay");
    status = q2_create(workspace, &overlay->source.source, &options, fault);
    if (status == Q2_OK)
        return Q2_OK;
    mc_overlay_free(overlay);
    if (status == Q2_ERR_NO_SPACE)
        (void)mc_fail(fault, status, "too small for this disk; choose a larger overlay-size",
                      "overlay");
    return status;
}

void mc_overlay_free(struct mc_overlay *overlay)
{
    mc_free_pages(overlay->memory, (size_t)overlay->source.capacity);
    overlay->memory = NULL;
}
