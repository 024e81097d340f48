/* What the bench reads.
 *
 * Pure but for the reads of warm(). Invariant: the offsets are the same in every run.
 */
#include "bench.h"

/* Guest bytes that one slice of the top image's L2 tables maps. */
static uint64_t slice_reach(const struct mc_bench *bench)
{
    struct q2_layer_info info;

    bool is_extended;

    q2_disk_layer_info(bench->image->disk, 0, &info);
    if (!info.header)
        return q2_disk_size(bench->image->disk);
    is_extended = (info.header->incompatible_features & Q2_INCOMPAT_EXTENDED_L2) != 0;
    return (uint64_t)(Q2_SLICE_SIZE / (is_extended ? 16 : 8)) << info.header->cluster_bits;
}

static uint64_t nb_slices(const struct mc_bench *bench)
{
    return q2_disk_size(bench->image->disk) / slice_reach(bench);
}

#define NB_CACHED (Q2_SLICE_SETS * Q2_SLICE_WAYS)

static bool has_one_request(const struct mc_bench *bench)
{
    return q2_disk_size(bench->image->disk) >= bench->request;
}

/* In sequence over the disk, and again from its start. */
static void draw_sequence(struct mc_bench *bench)
{
    uint64_t size = q2_disk_size(bench->image->disk);

    for (size_t i = 0; i < bench->nb_requests; i++) {
        if (bench->position + bench->request > size)
            bench->position = 0;
        bench->offsets[i] = bench->position;
        bench->position += bench->request;
    }
}

/* The whole of the L2 tables stays in the cache, with room for L1 slices. */
static bool fits_cache(const struct mc_bench *bench)
{
    return has_one_request(bench) && nb_slices(bench) <= NB_CACHED * 3 / 4;
}

/* Touch every slice once. */
static EFI_STATUS warm(struct mc_bench *bench)
{
    EFI_BLOCK_IO_PROTOCOL *disk = bench->ours;
    uint64_t size = q2_disk_size(bench->image->disk), reach = slice_reach(bench);
    EFI_STATUS status = EFI_SUCCESS;

    bench->position = 4; /* any but 0 */
    for (uint64_t at = 0; at + bench->request <= size && !EFI_ERROR(status); at += reach)
        status = disk->ReadBlocks(disk, disk->Media->MediaId, at / disk->Media->BlockSize,
                                  bench->request, bench->buffer);
    return status;
}

static uint64_t next_number(struct mc_bench *bench)
{
    bench->position ^= bench->position << 13;
    bench->position ^= bench->position >> 7;
    bench->position ^= bench->position << 17;
    return bench->position;
}

static void draw_random(struct mc_bench *bench)
{
    uint64_t nb = q2_disk_size(bench->image->disk) / bench->request;

    for (size_t i = 0; i < bench->nb_requests; i++)
        bench->offsets[i] = next_number(bench) % nb * bench->request;
}

/* Are there so many slices that one has left the cache before it is read again? */
static bool exceeds_cache(const struct mc_bench *bench)
{
    return nb_slices(bench) >= 2 * NB_CACHED;
}

static EFI_STATUS start_misses(struct mc_bench *bench)
{
    bench->position = 0;
    return EFI_SUCCESS;
}

static uint64_t greatest_common_divisor(uint64_t a, uint64_t b)
{
    while (b != 0) {
        uint64_t rest = a % b;
        a = b;
        b = rest;
    }
    return a;
}

/* Read every slice once before any is read again, and no neighbours in sequence: the step is about
 * the golden section of their number. */
static void draw_misses(struct mc_bench *bench)
{
    uint64_t nb = nb_slices(bench), reach = slice_reach(bench), step = nb * 618 / 1000;

    while (greatest_common_divisor(nb, step) != 1)
        step++;
    for (size_t i = 0; i < bench->nb_requests; i++) {
        uint64_t index = bench->position++;
        bench->offsets[i] =
            index * step % nb * reach + index * 7919 % (reach / bench->request) * bench->request;
    }
}

const struct mc_bench_row mc_bench_rows[MC_BENCH_NB_ROWS] = {
    {"sequential-1M", 1024 * 1024, 8, 16, false, has_one_request, NULL, draw_sequence},
    {"stream-1M", 1024 * 1024, 256, 1, false, has_one_request, NULL, draw_sequence},
    {"sequential-64K", 64 * 1024, 64, 16, false, has_one_request, NULL, draw_sequence},
    {"sequential-4K", 4096, 1024, 8, false, has_one_request, NULL, draw_sequence},
    {"random-4K", 4096, 32, 32, true, fits_cache, warm, draw_random},
    {"random-4K-miss", 4096, 32, 32, true, exceeds_cache, start_misses, draw_misses},
};
