/* The overlay in memory.
 *
 * May call drivers/memory/overlay.h. Invariant: overlay->memory is NULL or has capacity bytes.
 */
#include "overlay.h"

#include "drivers/memory/overlay.h"
#include "q2_fail.h"
#include "efi/base/firmware.h"

enum q2_status mc_overlay_make(void *workspace, uint64_t virtual_size, uint64_t capacity,
                               struct q2_fault *fault, struct mc_overlay *overlay)
{
    enum q2_status status;

    overlay->memory = mc_alloc_pages((size_t)capacity);
    if (!overlay->memory)
        return q2_fail(fault, Q2_ERR_LIMIT,
                       "the machine has not so much memory; choose a smaller overlay-size",
                       "overlay");
    status = q2_overlay_make(&overlay->source, overlay->memory, capacity, workspace, virtual_size,
                             fault);
    if (status == Q2_OK)
        return Q2_OK;
    mc_overlay_free(overlay);
    if (status == Q2_ERR_NO_SPACE)
        (void)q2_fail(fault, status, "too small for this disk; choose a larger overlay-size",
                      "overlay");
    return status;
}

void mc_overlay_free(struct mc_overlay *overlay)
{
    mc_free_pages(overlay->memory, (size_t)overlay->source.capacity);
    overlay->memory = NULL;
}
