/* bench: how fast our disk is, beside the other ways to the same bytes.
 *
 * The disk is attached by the driver, as for use; what the other ways need to know of the image
 * comes from a second engine of this program.
 */
#include "bench.h"
#include "bench_clock.h"
#include "efi/app/commands.h"
#include "efi/base/console.h"
#include "q2_fail.h"
#include "efi/base/text.h"
#include "efi/base/firmware.h"

#define DEFAULT_ROUNDS 5u

/* One run of the command, in pool memory. */
struct run {
    struct mc_bench bench;
    struct mc_bench_result results[MC_BENCH_NB_ROWS + 1];
    struct mc_disk_spec options; /* of the same image, to be read only */
    struct mc_location beside;   /* the image of --beside */
    char image[256];             /* path of a disk that was attached before */
    uint32_t numbers[2];         /* disks that were attached for this run */
    size_t nb_attached;
};

static enum q2_status attach(struct mc_session *session, struct run *run, EFI_HANDLE volume,
                             const struct mc_disk_spec *options, uint32_t *ret_number)
{
    struct mc_control *control = session->client.control;
    EFI_STATUS status =
        control->Attach(control, volume, options, (CHAR8 *)session->message, ret_number);

    if (EFI_ERROR(status)) {
        mc_say(session->message);
        return q2_fail(&session->fault, Q2_ERR_NOT_OPEN, "the image is not attached",
                       options->image);
    }
    run->numbers[run->nb_attached++] = *ret_number;
    return Q2_OK;
}

/* Block I/O of a disk of ours; session->record describes it. */
static enum q2_status find_block_io(struct mc_session *session, uint32_t number,
                                    EFI_BLOCK_IO_PROTOCOL **ret_block_io)
{
    if (!mc_session_find(session, number))
        return q2_fail(&session->fault, Q2_ERR_NOT_FOUND, "no disk has this number",
                       session->line.operand);
    *ret_block_io = mc_protocol(session->record.handle, &mc_block_io_guid);
    if (!*ret_block_io)
        return q2_fail(&session->fault, Q2_ERR_NO_MEDIA, NULL, session->line.operand);
    return Q2_OK;
}

static enum q2_status attach_beside(struct mc_session *session, struct run *run)
{
    struct mc_disk_spec options = {.image = NULL};
    uint32_t number;
    enum q2_status status;

    if (!session->line.beside)
        return Q2_OK;
    status = mc_locate(session->line.beside, &session->fault, &run->beside);
    options.image = run->beside.path;
    if (status == Q2_OK)
        status = attach(session, run, run->beside.volume, &options, &number);
    if (status == Q2_OK)
        status = find_block_io(session, number, &run->bench.beside);
    return status;
}

/* The disk to measure: an attached one by its number, or an image that is attached for now. */
static enum q2_status find_disk(struct mc_session *session, struct run *run)
{
    struct mc_bench *bench = &run->bench;
    uint32_t number;
    enum q2_status status = mc_image_arguments_get(session);

    /* The word "scratch" must be typed, so that nobody loses an image by mistake. */
    if (status == Q2_OK && session->line.write &&
        (!q2_text_equal(session->line.write, "scratch") ||
         mc_number_parse(session->line.operand, &number)))
        return q2_fail(&session->fault, Q2_ERR_ARGUMENT,
                       "only an image that may be lost is written: IMAGE --write scratch",
                       session->line.operand);
    if (session->line.write)
        session->image.spec.mode = MC_MODE_READ_WRITE;
    if (mc_number_parse(session->line.operand, &number)) {
        status = find_block_io(session, number, &bench->ours);
        (void)mc_text_copy(run->image, sizeof(run->image), (const char *)session->record.image);
        session->image.spec.image = run->image;
        bench->volume = session->record.volume;
    } else if (status == Q2_OK) {
        bench->volume = session->image.volume;
        status = attach(session, run, bench->volume, &session->image.spec, &number);
        if (status == Q2_OK)
            status = find_block_io(session, number, &bench->ours);
    }
    if (status == Q2_OK)
        bench->ours2 = mc_protocol(session->record.handle, &mc_block_io2_guid);
    run->options = session->image.spec;
    run->options.mode = MC_MODE_READ_ONLY;
    bench->options = &run->options;
    return status;
}

/* Get all that measuring needs beside the disk. */
static enum q2_status prepare(struct mc_session *session, struct run *run)
{
    struct mc_bench *bench = &run->bench;
    uint32_t nb_rounds = DEFAULT_ROUNDS;

    if (session->line.rounds && (!mc_number_parse(session->line.rounds, &nb_rounds) ||
                                 nb_rounds == 0 || nb_rounds > MC_BENCH_MAX_ROUNDS))
        return q2_fail(&session->fault, Q2_ERR_ARGUMENT, "not a number of rounds, 1 to 32",
                       session->line.rounds);
    bench->nb_rounds = nb_rounds;
    bench->volume_block_io = mc_protocol(bench->volume, &mc_block_io_guid);
    bench->volume_disk_io = mc_protocol(bench->volume, &mc_disk_io_guid);
    if (!bench->volume_block_io || !bench->volume_disk_io)
        return q2_fail(&session->fault, Q2_ERR_UNSUPPORTED, "the image's volume is not on a disk",
                       NULL);
    bench->frequency = mc_clock_frequency();
    bench->buffer = mc_alloc_pages(MC_BENCH_BUFFER_SIZE);
    if (!mc_plan_init(&bench->plan) || !bench->buffer)
        return q2_fail_memory(&session->fault);
    if (session->line.write && mc_bench_write_prepare(bench) != Q2_OK) {
        session->fault = bench->fault;
        return session->fault.status;
    }
    return mc_image_open(bench->volume, bench->options, false, &session->fault, &bench->image);
}

/* One row, or opening. */
static enum q2_status measure_row(struct mc_session *session, struct run *run, size_t row)
{
    const char *name = row < MC_BENCH_NB_ROWS ? mc_bench_rows[row].name : MC_BENCH_OPEN;
    enum q2_status status;

    if (session->line.row && !q2_text_equal(session->line.row, name))
        return Q2_OK;
    if (row == MC_BENCH_NB_ROWS)
        status = mc_bench_open(&run->bench, &run->results[row]);
    else
        status = mc_bench_run(&run->bench, &mc_bench_rows[row], &run->results[row]);
    if (status == Q2_OK)
        mc_bench_print(&run->results[row]);
    return status;
}

static enum q2_status measure(struct mc_session *session, struct run *run)
{
    enum q2_status status = Q2_OK;

    mc_bench_print_head(&run->bench);
    for (size_t row = 0; row <= MC_BENCH_NB_ROWS && status == Q2_OK; row++)
        status = measure_row(session, run, row);
    if (status == Q2_OK)
        mc_bench_print_json(&run->bench, run->results, MC_BENCH_NB_ROWS + 1);
    else
        session->fault = run->bench.fault;
    return status;
}

static enum q2_status measure_writing(struct mc_session *session, struct run *run)
{
    enum q2_status status = Q2_OK;

    mc_bench_print_head(&run->bench);
    for (size_t i = 0; i < MC_BENCH_NB_WRITE_ROWS && status == Q2_OK; i++) {
        status = mc_bench_write(&run->bench, i, &run->results[i]);
        if (status == Q2_OK)
            mc_bench_print(&run->results[i]);
    }
    if (status == Q2_OK)
        mc_bench_print_json(&run->bench, run->results, MC_BENCH_NB_WRITE_ROWS);
    else
        session->fault = run->bench.fault;
    return status;
}

static void clean_up(struct mc_session *session, struct run *run)
{
    struct mc_control *control = session->client.control;

    mc_bench_close_files(&run->bench);
    mc_bench_close_events(&run->bench);
    if (run->bench.image)
        mc_image_close(run->bench.image);
    mc_free_pages(run->bench.buffer, MC_BENCH_BUFFER_SIZE);
    mc_plan_free(&run->bench.plan);
    while (run->nb_attached > 0)
        (void)control->Detach(control, run->numbers[--run->nb_attached], (CHAR8 *)session->message);
    mc_free(run->beside.path);
    mc_free(run);
}

EFI_STATUS mc_command_bench(struct mc_session *session)
{
    struct run *run = mc_alloc(sizeof(*run));
    enum q2_status status;

    if (!run) {
        (void)q2_fail_memory(&session->fault);
        return mc_session_fail(session);
    }
    status = mc_client_open(&session->client, true, &session->fault);
    if (status == Q2_OK)
        status = find_disk(session, run);
    if (status == Q2_OK)
        status = attach_beside(session, run);
    if (status == Q2_OK)
        status = prepare(session, run);
    if (status == Q2_OK)
        status = session->line.write ? measure_writing(session, run) : measure(session, run);
    clean_up(session, run);
    mc_image_arguments_free(session);
    return status == Q2_OK ? EFI_SUCCESS : mc_session_fail(session);
}
