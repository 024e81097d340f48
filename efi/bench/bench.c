/* The bench: turns and rounds.
 *
 * May call the ways. Invariant: only the reads of a way are timed.
 */
#include "bench.h"

#include "bench_clock.h"
#include "core/fs/fat_volume.h"
#include "drivers/efi/disk_io.h"
#include "q2_fail.h"
#include "efi/base/firmware.h"

uint64_t mc_bench_median(uint64_t *values, size_t nb)
{
    for (size_t i = 1; i < nb; i++) {
        uint64_t value = values[i];
        size_t at = i;
        for (; at > 0 && values[at - 1] > value; at--)
            values[at] = values[at - 1];
        values[at] = value;
    }
    return nb % 2 == 1 ? values[nb / 2] : (values[nb / 2 - 1] + values[nb / 2]) / 2;
}

/* Draw a turn and look up what it reads. */
static enum q2_status prepare_turn(struct mc_bench *bench, const struct mc_bench_row *row)
{
    enum q2_status status = Q2_OK;

    row->draw(bench);
    mc_plan_clear(&bench->plan);
    for (size_t i = 0; i < bench->nb_requests && bench->plan.complete && status == Q2_OK; i++)
        status = mc_plan_add(&bench->plan, bench->image, bench->offsets[i], bench->request);
    if (status != Q2_OK)
        bench->fault = *q2_disk_fault(bench->image->disk);
    return status;
}

/* Read the same bytes once before a way is timed. The host's caches and the sleep of its threads
 * are then the same for every way. */
static void warm_up(struct mc_bench *bench, size_t nb_requests)
{
    if (bench->plan.complete && bench->plan.nb_data > 0)
        (void)mc_bench_ways[MC_BENCH_BARE].run(bench, nb_requests);
}

/* Let one way read the turn. */
static enum q2_status take_turn(struct mc_bench *bench, const struct mc_bench_row *row, size_t turn,
                                size_t way)
{
    const struct mc_bench_way *reader = &mc_bench_ways[way];
    struct mc_bench_times *times = &bench->times[way];
    uint64_t start;
    EFI_STATUS status;

    if (!reader->applies(bench))
        times->left_out = true;
    if (times->left_out)
        return Q2_OK;
    times->nb_requests = bench->nb_requests / (row->is_random ? reader->one_of_random : 1);
    warm_up(bench, times->nb_requests);
    start = mc_clock_now();
    status = reader->run(bench, times->nb_requests);
    times->ticks[turn] = mc_clock_now() - start;
    if (EFI_ERROR(status))
        return q2_fail(&bench->fault, Q2_ERR_IO, "this way of the bench fails to read",
                       reader->name);
    return Q2_OK;
}

static enum q2_status run_round(struct mc_bench *bench, const struct mc_bench_row *row,
                                uint32_t round)
{
    for (size_t turn = 0; turn < row->nb_turns; turn++) {
        enum q2_status status = prepare_turn(bench, row);
        for (size_t i = 0; i < MC_BENCH_NB_WAYS && status == Q2_OK; i++)
            status = take_turn(bench, row, turn, (turn + round + i) % MC_BENCH_NB_WAYS);
        if (status != Q2_OK)
            return status;
    }
    return Q2_OK;
}

static void keep(struct mc_bench *bench, const struct mc_bench_row *row, uint32_t round,
                 struct mc_bench_result *result)
{
    for (size_t way = 0; way < MC_BENCH_NB_WAYS; way++) {
        struct mc_bench_times *times = &bench->times[way];
        uint64_t ticks = mc_bench_median(times->ticks, row->nb_turns);
        result->ways[way].nb_requests = times->left_out ? 0 : times->nb_requests;
        result->ways[way].ns[round] = mc_clock_ns(ticks, bench->frequency);
        /* mc_bench_median() has sorted the turns. */
        result->ways[way].least[round] = mc_clock_ns(times->ticks[0], bench->frequency);
    }
}

static void name_ways(struct mc_bench_result *result)
{
    for (size_t way = 0; way < MC_BENCH_NB_WAYS; way++)
        result->ways[way].way = mc_bench_ways[way].name;
}

enum q2_status mc_bench_run(struct mc_bench *bench, const struct mc_bench_row *row,
                            struct mc_bench_result *ret_result)
{
    enum q2_status status = Q2_OK;

    *ret_result = (struct mc_bench_result){.row = row->name, .request = row->request};
    name_ways(ret_result);
    for (size_t way = 0; way < MC_BENCH_NB_WAYS; way++)
        bench->times[way].left_out = false;
    bench->request = row->request;
    bench->nb_requests = row->nb_requests;
    bench->position = 0;
    if (!row->applies(bench))
        return Q2_OK;
    if (row->prepare && EFI_ERROR(row->prepare(bench)))
        return q2_fail(&bench->fault, Q2_ERR_IO, "the disk fails to read", row->name);
    /* A round that does not count: caches below us fill, and files are opened. */
    for (uint32_t round = 0; round <= bench->nb_rounds && status == Q2_OK; round++) {
        status = run_round(bench, row, round);
        keep(bench, row, round > 0 ? round - 1 : 0, ret_result);
    }
    ret_result->nb_rounds = bench->nb_rounds;
    return status;
}

/* Time opening an image, with the map of its file; closing it is not timed. */
static enum q2_status open_once(struct mc_bench *bench, uint64_t *ret_ticks)
{
    struct mc_image *image;
    uint64_t start = mc_clock_now();
    enum q2_status status =
        mc_image_open(bench->volume, bench->options, false, &bench->fault, &image);

    *ret_ticks = mc_clock_now() - start;
    if (status == Q2_OK)
        mc_image_close(image);
    return status;
}

/* Time reading one FAT in pieces of 1 MiB. On other volumes there is nothing to read. */
static enum q2_status read_fat_once(struct mc_bench *bench, uint64_t *ret_ticks)
{
    EFI_DISK_IO_PROTOCOL *disk_io = bench->volume_disk_io;
    static struct q2_source_efi_disk_io device; /* too large for the stack */
    static struct q2_fat_volume fat;
    uint64_t start, at = 0;
    EFI_STATUS status = EFI_SUCCESS;

    fat.fat_size = 0;
    if (q2_source_efi_disk_io_init(&device, disk_io, bench->volume_block_io, "volume") == Q2_OK)
        (void)q2_fat_volume_open(&device.source, &bench->fault, &fat);
    start = mc_clock_now();
    while (at < fat.fat_size && !EFI_ERROR(status)) {
        uint64_t left = fat.fat_size - at;
        size_t length = left < MC_BENCH_MAX_LENGTH ? (size_t)left : MC_BENCH_MAX_LENGTH;
        status = disk_io->ReadDisk(disk_io, bench->volume_block_io->Media->MediaId,
                                   fat.fat_offset + at, length, bench->buffer);
        at += length;
    }
    *ret_ticks = mc_clock_now() - start;
    return EFI_ERROR(status) ? q2_fail(&bench->fault, Q2_ERR_IO, "the FAT cannot be read", NULL)
                             : Q2_OK;
}

enum q2_status mc_bench_open(struct mc_bench *bench, struct mc_bench_result *ret_result)
{
    static enum q2_status (*const ways[])(struct mc_bench *, uint64_t *) = {open_once,
                                                                            read_fat_once};

    *ret_result = (struct mc_bench_result){.row = MC_BENCH_OPEN};
    ret_result->ways[0].way = "ours";
    ret_result->ways[1].way = "fat";
    if (!q2_place_can(bench->image->file->place, Q2_PLACE_LOCATES))
        return Q2_OK;
    for (uint32_t round = 0; round < bench->nb_rounds; round++) {
        for (size_t way = 0; way < 2; way++) {
            uint64_t ticks;
            enum q2_status status = ways[way](bench, &ticks);
            if (status != Q2_OK)
                return status;
            ret_result->ways[way].nb_requests = 1;
            ret_result->ways[way].ns[round] = mc_clock_ns(ticks, bench->frequency);
            ret_result->ways[way].least[round] = ret_result->ways[way].ns[round];
        }
    }
    ret_result->nb_rounds = bench->nb_rounds;
    return Q2_OK;
}
