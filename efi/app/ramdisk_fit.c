/* The arithmetic of a RAM disk's memory, and the sentence about it.
 *
 * May call text.c. Invariant: no sum or difference wraps, whatever the memory map says.
 */
#include "ramdisk_fit.h"

#include "efi/base/text.h"

#define PAGE_SIZE 4096u

void mc_ramdisk_count(struct mc_ramdisk_memory *memory, uint64_t nb_pages)
{
    uint64_t size = nb_pages <= UINT64_MAX / PAGE_SIZE ? nb_pages * PAGE_SIZE : UINT64_MAX;

    memory->total = size <= UINT64_MAX - memory->total ? memory->total + size : UINT64_MAX;
    if (size > memory->largest)
        memory->largest = size;
}

bool mc_ramdisk_fits(const struct mc_ramdisk_memory *memory, uint64_t size)
{
    return size <= memory->largest && memory->total - size >= MC_RAMDISK_LEFT;
}

void mc_ramdisk_put(struct q2_line *text, const struct mc_ramdisk_memory *memory, uint64_t size)
{
    q2_line_put(text, "a RAM disk of ");
    mc_put_size(text, size);
    if (mc_ramdisk_fits(memory, size)) {
        q2_line_put(text, " fits into the ");
        mc_put_size(text, memory->total);
        q2_line_put(text, " of memory that are free");
        return;
    }
    q2_line_put(text, " does not fit into the ");
    mc_put_size(text, memory->total);
    q2_line_put(text, " of memory that are free (largest piece ");
    mc_put_size(text, memory->largest);
    q2_line_put(text, "), of which ");
    mc_put_size(text, MC_RAMDISK_LEFT);
    q2_line_put(text, " are kept for the system; use 'mode overlay' with 'handoff auto', or a "
                      "machine with more memory");
}
