/* The bench's write rows: on an image that was given as scratch.
 *
 * The disk's first part is allocated once and then written in place, by our disk and by Disk I/O at
 * the same place of the volume; after it new clusters are allocated. Both ways flush at the end of
 * a turn.
 */
#include "bench.h"

#include "bench_clock.h"
#include "q2_fail.h"

#define AREA_SIZE (32ull << 20) /* what is written in place */
#define TURN_SIZE AREA_SIZE
#define NB_RANDOM 512u

static const struct row {
    const char *name;
    size_t request, nb_requests;
    bool is_random, is_new;
} write_rows[MC_BENCH_NB_WRITE_ROWS] = {
    {"write-1M", 1u << 20, TURN_SIZE >> 20, false, false},
    {"write-4K-random", 4096, NB_RANDOM, true, false},
    {"write-1M-new", 1u << 20, TURN_SIZE >> 20, false, true},
};

static EFI_STATUS write_ours(struct mc_bench *bench, uint64_t offset)
{
    EFI_BLOCK_IO_PROTOCOL *disk = bench->ours;

    return disk->WriteBlocks(disk, disk->Media->MediaId, offset / disk->Media->BlockSize,
                             bench->request, bench->buffer);
}

/* Guest offsets of a turn: ours[] may be new clusters, offsets[] are in the area. */
static void draw(struct mc_bench *bench, const struct row *row, uint64_t *ours)
{
    for (size_t i = 0; i < row->nb_requests; i++) {
        bench->position = bench->position * 6364136223846793005ull + 1442695040888963407ull;
        bench->offsets[i] =
            row->is_random ? (bench->position >> 33) % (AREA_SIZE / row->request) * row->request
                           : i * row->request;
        ours[i] = bench->offsets[i];
        if (row->is_new) {
            ours[i] = bench->next_new;
            bench->next_new += row->request;
        }
    }
}

static EFI_STATUS by_our_disk(struct mc_bench *bench, const uint64_t *offsets)
{
    EFI_STATUS status = EFI_SUCCESS;

    for (size_t i = 0; i < bench->nb_requests && !EFI_ERROR(status); i++)
        status = write_ours(bench, offsets[i]);
    return EFI_ERROR(status) ? status : bench->ours->FlushBlocks(bench->ours);
}

static EFI_STATUS by_disk_io(struct mc_bench *bench, const uint64_t *offsets)
{
    EFI_DISK_IO_PROTOCOL *disk_io = bench->volume_disk_io;
    EFI_BLOCK_IO_PROTOCOL *block_io = bench->volume_block_io;
    size_t within = 0;
    EFI_STATUS status = EFI_SUCCESS;

    (void)offsets;
    for (size_t i = 0; i < bench->plan.nb && !EFI_ERROR(status); i++) {
        const struct mc_piece *piece = &bench->plan.pieces[i];
        status = disk_io->WriteDisk(disk_io, block_io->Media->MediaId, piece->volume_offset,
                                    piece->length, bench->buffer + within);
        within = (within + piece->length) % bench->request;
    }
    return EFI_ERROR(status) ? status : block_io->FlushBlocks(block_io);
}

static const struct {
    const char *name;
    EFI_STATUS (*run)(struct mc_bench *bench, const uint64_t *offsets);
} ways[] = {{"ours", by_our_disk}, {"disk-io", by_disk_io}};
#define NB_WAYS (sizeof(ways) / sizeof(ways[0]))

/* One round: every way takes one turn, and each round starts with a different way. */
static enum q2_status run_round(struct mc_bench *bench, const struct row *row, uint32_t round,
                                uint64_t *ret_ticks)
{
    static uint64_t ours[NB_RANDOM];
    enum q2_status status = Q2_OK;

    draw(bench, row, ours);
    mc_plan_clear(&bench->plan);
    for (size_t i = 0; i < bench->nb_requests && status == Q2_OK; i++)
        status = mc_plan_add(&bench->plan, bench->image, bench->offsets[i], bench->request);
    if (status != Q2_OK || !bench->plan.complete || bench->plan.nb_data != bench->plan.nb)
        return q2_fail(&bench->fault, Q2_ERR_UNSUPPORTED, "the scratch image is not plain data",
                       bench->image->file->source->path);
    for (size_t i = 0; i < NB_WAYS; i++) {
        size_t way = (i + round) % NB_WAYS;
        uint64_t start = mc_clock_now();
        EFI_STATUS efi_status = ways[way].run(bench, ours);
        ret_ticks[way] = mc_clock_now() - start;
        if (EFI_ERROR(efi_status))
            return q2_fail(&bench->fault, Q2_ERR_IO, "this way of the bench fails to write",
                           ways[way].name);
    }
    return Q2_OK;
}

enum q2_status mc_bench_write(struct mc_bench *bench, size_t index,
                              struct mc_bench_result *ret_result)
{
    const struct row *row = &write_rows[index];
    uint64_t ticks[NB_WAYS];
    enum q2_status status = Q2_OK;

    *ret_result = (struct mc_bench_result){.row = row->name, .request = row->request};
    bench->request = row->request;
    bench->nb_requests = row->nb_requests;
    bench->position = 1;
    /* The first round does not count. */
    for (uint32_t round = 0; round <= bench->nb_rounds && status == Q2_OK; round++) {
        status = run_round(bench, row, round, ticks);
        for (size_t way = 0; way < NB_WAYS && status == Q2_OK; way++) {
            ret_result->ways[way].way = ways[way].name;
            ret_result->ways[way].nb_requests = row->nb_requests;
            ret_result->ways[way].ns[round > 0 ? round - 1 : 0] =
                ret_result->ways[way].least[round > 0 ? round - 1 : 0] =
                    mc_clock_ns(ticks[way], bench->frequency); /* a round is one turn */
        }
    }
    ret_result->nb_rounds = bench->nb_rounds;
    return status;
}

enum q2_status mc_bench_write_prepare(struct mc_bench *bench)
{
    uint64_t size = (bench->ours->Media->LastBlock + 1) * bench->ours->Media->BlockSize;
    EFI_STATUS status = EFI_SUCCESS;

    if (size < AREA_SIZE + (bench->nb_rounds + 1) * TURN_SIZE)
        return q2_fail(&bench->fault, Q2_ERR_LIMIT,
                       "the scratch image is too small for so many rounds", bench->options->image);
    bench->request = MC_BENCH_MAX_LENGTH;
    __builtin_memset(bench->buffer, 0x5a, MC_BENCH_MAX_LENGTH);
    for (uint64_t at = 0; at < AREA_SIZE && !EFI_ERROR(status); at += bench->request)
        status = write_ours(bench, at);
    if (!EFI_ERROR(status))
        status = bench->ours->FlushBlocks(bench->ours);
    bench->next_new = AREA_SIZE;
    return EFI_ERROR(status) ? q2_fail(&bench->fault, Q2_ERR_IO,
                                       "the scratch image cannot be written", bench->options->image)
                             : Q2_OK;
}
