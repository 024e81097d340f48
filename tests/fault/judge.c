/* Opening a subject's files and judging what is found in them. */
#include "judge.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#include "core/read/disk.h"
#include "q2_check.h"
#include "tests/support/workspace.h"

static bool wrong(struct bench *b, const char *what, uint64_t value)
{
    (void)snprintf(b->why, sizeof(b->why), "%s 0x%" PRIx64, what, value);
    return false;
}

static bool failed(struct bench *b, const char *what, enum q2_status status,
                   const struct q2_fault *fault)
{
    char text[300];

    (void)q2_fault_format(fault, text, sizeof(text));
    (void)snprintf(b->why, sizeof(b->why), "%s: %s: %s", what, q2_status_name(status), text);
    return false;
}

/* --- the disk --------------------------------------------------------------------------------- */

static enum q2_status bench_opener(struct q2_opener *opener, const char *path, bool writable,
                                   struct q2_source **ret_source)
{
    struct bench *b = (struct bench *)((char *)opener - offsetof(struct bench, opener));

    (void)writable;
    if (b->subject->nb_files > 1 && strcmp(path, b->subject->data_name) == 0)
        *ret_source = &b->sources[1].source;
    else if (b->subject->base && strcmp(path, b->subject->base_name) == 0)
        *ret_source = &b->base.source;
    else
        return Q2_ERR_NOT_FOUND;
    return Q2_OK;
}

static void bench_closer(struct q2_opener *opener, struct q2_source *source)
{
    (void)opener;
    (void)source;
}

static const struct q2_opener_ops opener_ops = {.open = bench_opener, .close = bench_closer};

void bench_start(struct bench *b, const struct subject *s)
{
    const char *const names[] = {s->image_name, s->data_name};

    memset(b, 0, sizeof(*b));
    b->subject = s;
    b->opener.ops = &opener_ops;
    for (uint32_t i = 0; i < s->nb_files; i++) {
        crash_source_init(&b->sources[i], &b->log, i, names[i], s->files[i], s->sizes[i],
                          s->capacities[i]);
        crash_source_gives_back(&b->sources[i]);
    }
    if (s->base) {
        crash_source_init(&b->base, &b->base_log, CRASH_MAX_FILES, s->base_name, s->base,
                          s->base_size, s->base_size);
        b->base.source.writable = false;
    }
    (void)q2_codec_zlib_init(&b->zlib);
    b->workspace = workspace_take();
    b->buffer = crash_buffer_take(s->model_size);
    b->content = crash_buffer_take(s->model_size);
}

void bench_free(struct bench *b)
{
    bench_close(b);
    for (uint32_t i = 0; i < CRASH_MAX_FILES; i++)
        crash_source_free(&b->sources[i]);
    crash_source_free(&b->base);
    crash_log_free(&b->log);
    workspace_give(b->workspace);
    crash_buffer_give(b->buffer, b->subject->model_size);
    crash_buffer_give(b->content, b->subject->model_size);
}

enum q2_status bench_open(struct bench *b, bool writable, const char *snapshot)
{
    struct q2_disk_options options = {
        .writable = writable, .repair = b->repair, .snapshot = snapshot, .zlib = &b->zlib.codec};

    bench_close(b);
    return q2_disk_open(b->workspace, &b->sources[0].source, &b->opener, &options, &b->fault,
                        &b->disk);
}

void bench_close(struct bench *b)
{
    if (b->disk)
        q2_disk_close(b->disk);
    b->disk = NULL;
}

void bench_reset(struct bench *b)
{
    bench_close(b);
    for (uint32_t i = 0; i < b->subject->nb_files; i++)
        crash_source_reset(&b->sources[i], b->subject->files[i], b->subject->sizes[i]);
    b->log.nb_events = 0;
    b->log.arena_used = 0;
    b->log.recording = false;
    b->log.op = 0;
    b->log.fail_calls = 0;
    b->log.fail_at = 0;
    b->log.on_write = NULL;
    b->log.nb_calls = 0;
    b->log.failed = 0;
    b->flags_may_lag = false;
}

static void evict(struct crash_log *log)
{
    struct bench *b = (struct bench *)((char *)log - offsetof(struct bench, log));

    for (uint32_t way = 0; b->disk && way < Q2_SLICE_WAYS; way++) {
        for (uint32_t set = 0; set < Q2_SLICE_SETS; set++) {
            struct q2_slice *slice = &b->disk->slices.slices[set][way];
            if (!slice->dirty[Q2_DIRTY_REFCOUNT] && !slice->dirty[Q2_DIRTY_L2] &&
                !slice->dirty[Q2_DIRTY_L1])
                *slice = (struct q2_slice){.source = NULL};
        }
    }
}

void bench_evict(struct bench *b)
{
    b->log.on_write = evict;
}

/* --- the judge -------------------------------------------------------------------------------- */

struct finding_keeper {
    struct q2_check_reporter reporter;
    struct bench *bench;
};

static void keep(struct q2_check_reporter *reporter, const struct q2_check_finding *finding)
{
    struct bench *b = ((struct finding_keeper *)reporter)->bench;

    if (finding->kind == Q2_CHECK_LEAK || b->why[0] != '\0')
        return;
    (void)snprintf(b->why, sizeof(b->why),
                   "check: %s at 0x%" PRIx64 ", refcount %" PRIu64 ", references %" PRIu64,
                   finding->what, finding->offset, finding->refcount, finding->references);
}

bool bench_check(struct bench *b)
{
    struct finding_keeper keeper = {.reporter = {.report = keep}, .bench = b};
    struct q2_check_result result;
    enum q2_status status;

    b->why[0] = '\0';
    status = q2_disk_check(b->disk, &keeper.reporter, &result);
    if (status != Q2_OK)
        return failed(b, "check", status, q2_disk_fault(b->disk));
    b->leaks = result.leaks;
    if (b->flags_may_lag && result.corruptions == result.copied_missing)
        return result.check_errors == 0;
    return result.corruptions == 0 && result.check_errors == 0;
}

/* bytes: what it must hold; NULL: it must not exist. */
static bool judge_snapshot(struct bench *b, const char *name, bool may_lack, const uint8_t *bytes)
{
    enum q2_status status = bench_open(b, false, name);

    if (status == Q2_ERR_NO_SNAPSHOT && (may_lack || !bytes))
        return true;
    if (status == Q2_OK && !bytes)
        return wrong(b, "a deleted snapshot is there", 0);
    if (status != Q2_OK)
        return failed(b, "open of the snapshot", status, &b->fault);
    status = model_read(b->subject, b->disk, b->content);
    if (status != Q2_OK)
        return failed(b, "read of the snapshot", status, q2_disk_fault(b->disk));
    bench_close(b);
    if (memcmp(b->content, bytes, b->subject->model_size) != 0)
        return wrong(b, "a snapshot has changed", 0);
    return true;
}

static bool judge_snapshots(struct bench *b, const struct model *model)
{
    if (b->subject->snapshot_initial &&
        !judge_snapshot(b, "before", false, b->subject->snapshot_initial))
        return false;
    for (uint32_t i = 1; i < MODEL_MAX_SNAPSHOTS; i++) {
        const struct model_snapshot *snapshot = &model->snapshots[i];

        if (snapshot->presence == SNAPSHOT_UNKNOWN)
            continue;
        if (!judge_snapshot(
                b, snapshot_name(i), snapshot->presence == SNAPSHOT_MAYBE,
                snapshot->presence == SNAPSHOT_ABSENT ? NULL : model->versions[snapshot->version]))
            return false;
    }
    return true;
}

bool bench_judge(struct bench *b, const struct model *model, uint32_t from, uint32_t to)
{
    enum q2_status status;
    uint64_t difference;

    b->log.fail_at = 0;
    status = bench_open(b, false, NULL);
    if (status != Q2_OK)
        return failed(b, "open", status, &b->fault);
    if (!bench_check(b))
        return false;
    status = model_read(b->subject, b->disk, b->content);
    if (status != Q2_OK)
        return failed(b, "read", status, q2_disk_fault(b->disk));
    bench_close(b);
    difference = model_compare(model, from, to, b->content);
    if (difference != MODEL_SAME)
        return wrong(b, "no version of the sector at model offset", difference);
    return judge_snapshots(b, model);
}

/* Life after the cut: some operations more, against the content that was found. */
bool bench_go_on(struct bench *b, uint64_t seed)
{
    struct model model;
    enum q2_status status = bench_open(b, true, NULL);
    bool ok;

    if (status != Q2_OK)
        return failed(b, "open for writing", status, &b->fault);
    model_start(&model, b->subject);
    status = model_read(b->subject, b->disk, model.versions[0]);
    for (uint32_t i = 0; i < 6 && status == Q2_OK; i++) {
        struct guest_op op = script_random(b->subject, &seed);
        status = op_run(&op, b->disk, b->buffer);
        op_apply(&op, b->subject, model.versions[0]);
    }
    if (status == Q2_OK)
        status = q2_disk_flush(b->disk);
    if (status != Q2_OK)
        ok = failed(b, "going on", status, q2_disk_fault(b->disk));
    else
        ok = bench_judge(b, &model, 0, 0);
    model_free(&model);
    return ok;
}

/* --- qemu-img --------------------------------------------------------------------------------- */

bool bench_qemu_check(struct bench *b)
{
    const struct subject *s = b->subject;
    int status, code;

    subject_store(s, s->image_name, b->sources[0].bytes, b->sources[0].source.size);
    status = subject_try("cd '%s' && qemu-img check -q -f qcow2 %s >check.txt 2>&1", s->folder,
                         s->image_name);
    code = WIFEXITED(status) ? WEXITSTATUS(status) : 255;
    if (code == 2 && b->flags_may_lag &&
        subject_try("! grep '^ERROR' '%s/check.txt' | grep -qv 'OFLAG_COPIED.*refcount=1$'",
                    s->folder) == 0)
        return true;
    if (code != 0 && code != 3)
        return wrong(b, "qemu-img check says", (uint64_t)code);
    return true;
}

bool bench_qemu_compare(struct bench *b, const uint8_t *content)
{
    const struct subject *s = b->subject;
    const char *const names[] = {s->image_name, s->data_name};
    uint8_t *read;
    bool same;

    for (uint32_t i = 0; i < s->nb_files; i++)
        subject_store(s, names[i], b->sources[i].bytes, b->sources[i].source.size);
    read = subject_read(s, "");
    same = memcmp(read, content, s->model_size) == 0;
    free(read);
    return same || wrong(b, "qemu-img reads something else", 0);
}
