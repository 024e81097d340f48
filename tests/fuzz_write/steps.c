/* One random operation on the disk, with failing calls and power cuts.
 *
 * plan() says what the operation makes of the content, do_step() does it, settle_*() judge what
 * came of it.
 */
#include "run.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "q2_amend.h"
#include "q2_snapshot.h"

enum step_kind {
    STEP_WRITE,
    STEP_ZERO,
    STEP_DISCARD,
    STEP_COMPRESS,
    STEP_FLUSH,
    STEP_READ,
    STEP_CHECK,
    STEP_REOPEN,
    STEP_KILL, /* close without a flush, and open */
    STEP_SNAP_CREATE,
    STEP_SNAP_APPLY,
    STEP_SNAP_DELETE,
    STEP_RESIZE,
    STEP_PREALLOCATE,
    STEP_EMPTY,
    STEP_REPAIR,
    STEP_LIMIT, /* the file can grow little from now on, or much again */
    STEP_DAMAGE,
    NB_STEPS
};

static const struct {
    const char *name;
    uint8_t weight;
    bool durable; /* everything is durable when it has succeeded */
} kinds[NB_STEPS] = {
    [STEP_WRITE] = {"write", 60, false},
    [STEP_ZERO] = {"zero", 24, false},
    [STEP_DISCARD] = {"discard", 18, false},
    [STEP_COMPRESS] = {"compress", 20, false},
    [STEP_FLUSH] = {"flush", 16, true},
    [STEP_READ] = {"read", 12, false},
    [STEP_CHECK] = {"check", 6, false},
    [STEP_REOPEN] = {"reopen", 4, true},
    [STEP_KILL] = {"kill", 3, false},
    [STEP_SNAP_CREATE] = {"snapshot create", 5, true},
    [STEP_SNAP_APPLY] = {"snapshot apply", 4, true},
    [STEP_SNAP_DELETE] = {"snapshot delete", 4, true},
    [STEP_RESIZE] = {"resize", 7, true},
    [STEP_PREALLOCATE] = {"preallocate", 3, true},
    [STEP_EMPTY] = {"empty", 1, true},
    [STEP_REPAIR] = {"repair", 2, true},
    [STEP_LIMIT] = {"limit", 3, false},
    [STEP_DAMAGE] = {"damage", 6, false},
};

struct step {
    enum step_kind kind;
    uint64_t offset, length; /* bytes */
    uint64_t new_size;
    uint32_t first, end; /* sectors that may change; run->next has what they become */
    struct snap *snap;
    uint64_t seed;
    bool metadata_zeros; /* PREALLOCATE: write zeros */
};

/* --- what it shall do ------------------------------------------------------------------------ */

static enum step_kind random_kind(struct run *r)
{
    uint32_t sum = 0, at;
    uint32_t kind = 0;

    for (uint32_t i = 0; i < NB_STEPS; i++)
        sum += kinds[i].weight;
    at = (uint32_t)run_random(r, sum);
    while (at >= kinds[kind].weight)
        at -= kinds[kind++].weight;
    return (enum step_kind)kind;
}

static void random_range(struct run *r, struct step *s)
{
    uint64_t size = r->content.size, cluster = 1ull << r->geometry.cluster_bits, most;

    if (size == 0)
        return;
    s->offset = run_random(r, size);
    most = run_random(r, 8) == 0 ? size : 6 * cluster;
    if (most > 256 * 1024 && run_random(r, 4) != 0)
        most = 16384;
    s->length = 1 + run_random(r, most);
    if (run_random(r, 3) == 0) {
        s->offset = s->offset / cluster * cluster;
        s->length = (s->length + cluster - 1) / cluster * cluster;
    } else if (run_random(r, 2) == 0) {
        s->offset = s->offset / SECTOR * SECTOR;
        s->length = (s->length + SECTOR - 1) / SECTOR * SECTOR;
    }
    if (s->length > size - s->offset)
        s->length = size - s->offset;
}

/* A discard takes whole clusters only, and nothing where it could not read as zeros. */
static void discarded(const struct run *r, const struct step *s, uint64_t *ret_start,
                      uint64_t *ret_end)
{
    uint64_t cluster = 1ull << r->geometry.cluster_bits, end = s->offset + s->length;

    *ret_start = (s->offset + cluster - 1) / cluster * cluster;
    *ret_end = end == r->content.size ? end : end / cluster * cluster;
    if (*ret_start >= *ret_end || (r->geometry.version_2 && r->geometry.base))
        *ret_start = *ret_end = s->offset;
}

static void set_sectors(struct step *s, uint64_t offset, uint64_t end)
{
    s->first = (uint32_t)(offset / SECTOR);
    s->end = (uint32_t)((end + SECTOR - 1) / SECTOR);
    if (offset >= end)
        s->end = s->first;
}

static void fill(uint64_t seed, uint8_t *bytes, uint64_t length)
{
    for (uint64_t i = 0; i < length; i += 8) {
        uint64_t word = (seed + i) * 0x9e3779b97f4a7c15ull;
        word ^= word >> 29;
        memcpy(bytes + i, &word, length - i < 8 ? length - i : 8);
    }
}

/* A few runs of one byte, which the codec of the tests makes small. */
static void fill_runs(uint64_t seed, uint8_t *bytes, uint64_t length)
{
    for (uint64_t i = 0; i < length;) {
        uint64_t n = i < length / 2 ? crash_random(&seed) % (length / 4) + 1 : length - i;

        n = n < length - i ? n : length - i;
        memset(bytes + i, (int)(crash_random(&seed) & 0xff), n);
        i += n;
    }
}

static void plan_bytes(struct run *r, struct step *s)
{
    uint64_t cluster = 1ull << r->geometry.cluster_bits, start = s->offset, end = start + s->length;

    if (s->kind == STEP_COMPRESS) {
        start = s->offset / cluster * cluster;
        end = start + cluster;
        if (end > r->content.size)
            end = r->content.size;
        s->offset = start;
        s->length = end - start;
    }
    if (s->kind == STEP_DISCARD)
        discarded(r, s, &start, &end);
    set_sectors(s, start, end);
    if (start >= end)
        return;
    memcpy(r->next + s->first * SECTOR, r->content.now + s->first * SECTOR,
           (size_t)(s->end - s->first) * SECTOR);
    if (s->kind == STEP_WRITE)
        fill(s->seed, r->next + start, end - start);
    else if (s->kind == STEP_COMPRESS)
        fill_runs(s->seed, r->next + start, end - start);
    else
        memset(r->next + start, 0, end - start);
}

/* Bytes of a raw data file after the end of the disk; a cut may bring older ones back. */
static void plan_raw_growth(struct run *r, struct step *s)
{
    struct content *c = &r->content;
    const struct crash_source *data = &r->world.files[1];

    for (uint32_t i = s->first; i < s->end; i++) {
        uint64_t at = (uint64_t)i * SECTOR;
        if (at >= c->size)
            memcpy(r->next + at, data->bytes + at, SECTOR);
    }
}

static void plan_resize(struct run *r, struct step *s)
{
    struct content *c = &r->content;
    uint64_t way = run_random(r, 4), most = 2 * r->first_size;

    if (most > GUEST_MAX)
        most = GUEST_MAX;
    s->new_size = (most > 0 ? run_random(r, most / SECTOR + 1) : 0) * SECTOR;
    if (way == 0)
        s->new_size = s->new_size >> r->geometry.cluster_bits << r->geometry.cluster_bits;
    if (way == 1)
        s->new_size = r->first_size;
    if (s->new_size > GUEST_MAX || s->new_size % SECTOR != 0)
        s->new_size = c->size;
    memset(r->next, 0, GUEST_MAX);
    if (s->new_size > c->size) {
        set_sectors(s, c->size, s->new_size);
        memcpy(r->next + s->first * SECTOR, c->now + s->first * SECTOR, SECTOR);
        if (r->geometry.raw)
            plan_raw_growth(r, s);
    } else {
        set_sectors(s, s->new_size, c->size);
    }
}

static struct snap *random_snap(struct run *r, bool free)
{
    uint32_t at = (uint32_t)run_random(r, MAX_SNAPS);

    for (uint32_t i = 0; i < MAX_SNAPS; i++) {
        struct snap *snap = &r->snaps[(at + i) % MAX_SNAPS];
        if ((snap->presence == SNAP_NONE) == free)
            return snap;
    }
    return NULL;
}

/* Damage can give a snapshot the name that a new one would get. */
static bool has_namesake(const struct run *r, const struct snap *snap)
{
    for (uint32_t i = 0; i < MAX_SNAPS; i++) {
        if (&r->snaps[i] != snap && strcmp(r->snaps[i].name, snap->name) == 0)
            return true;
    }
    return false;
}

static void plan_snap(struct run *r, struct step *s)
{
    struct content *c = &r->content;

    s->snap = random_snap(r, s->kind == STEP_SNAP_CREATE);
    if (!s->snap) {
        s->kind = STEP_READ;
        return;
    }
    if (s->kind == STEP_SNAP_CREATE) {
        do
            (void)snprintf(s->snap->name, sizeof(s->snap->name), "name%u", ++r->nb_snaps_made);
        while (has_namesake(r, s->snap));
        s->snap->size = c->size;
        memcpy(s->snap->bytes, c->now, GUEST_MAX);
        memcpy(s->snap->unreadable, c->unreadable, sizeof(c->unreadable));
    } else if (s->kind == STEP_SNAP_APPLY) {
        s->new_size = s->snap->size;
        set_sectors(s, 0, s->new_size > c->size ? s->new_size : c->size);
        memcpy(r->next, s->snap->bytes, GUEST_MAX);
    }
}

static void plan_empty(struct run *r, struct step *s)
{
    uint64_t base = r->geometry.base ? r->world.base.source.size : 0;

    set_sectors(s, 0, r->content.size);
    memset(r->next, 0, GUEST_MAX);
    memcpy(r->next, r->world.base.bytes, base < r->content.size ? base : r->content.size);
}

static void plan(struct run *r, struct step *s)
{
    *s = (struct step){.kind = random_kind(r), .seed = r->seed};
    s->new_size = r->content.size;
    random_range(r, s);
    if (r->content.size == 0 && s->kind <= STEP_COMPRESS)
        s->kind = STEP_RESIZE;
    s->metadata_zeros = run_random(r, 2) == 0;
    if (s->kind <= STEP_COMPRESS)
        plan_bytes(r, s);
    else if (s->kind == STEP_RESIZE)
        plan_resize(r, s);
    else if (s->kind >= STEP_SNAP_CREATE && s->kind <= STEP_SNAP_DELETE)
        plan_snap(r, s);
    else if (s->kind == STEP_EMPTY)
        plan_empty(r, s);
}

/* --- doing it -------------------------------------------------------------------------------- */

static enum q2_status do_compress(struct run *r, const struct step *s)
{
    uint64_t cluster = 1ull << r->geometry.cluster_bits;
    size_t length;

    memset(r->read, 0, cluster);
    memcpy(r->read, r->next + s->offset, s->length);
    length = fake_codec_encode(r->read, cluster, r->stream);
    if (length >= cluster)
        return q2_disk_write(r->world.disk, s->offset, r->next + s->offset, s->length);
    return q2_disk_write_compressed(r->world.disk, s->offset, r->stream, length);
}

static enum q2_status do_step(struct run *r, const struct step *s)
{
    struct q2_disk *disk = r->world.disk;
    struct q2_repair_result result;

    switch (s->kind) {
    case STEP_WRITE:
        return q2_disk_write(disk, s->offset, r->next + s->offset, s->length);
    case STEP_ZERO:
        return q2_disk_write_zeroes(disk, s->offset, s->length);
    case STEP_DISCARD:
        return q2_disk_discard(disk, s->offset, s->length);
    case STEP_COMPRESS:
        return do_compress(r, s);
    case STEP_READ:
        return q2_disk_read(disk, s->offset, r->read, s->length);
    case STEP_SNAP_CREATE:
        return q2_disk_snapshot_create(disk, s->snap->name, 1, 2);
    case STEP_SNAP_APPLY:
        return q2_disk_snapshot_apply(disk, s->snap->name);
    case STEP_SNAP_DELETE:
        return q2_disk_snapshot_delete(disk, s->snap->name);
    case STEP_RESIZE:
        return q2_disk_resize(disk, s->new_size, true);
    case STEP_PREALLOCATE:
        return q2_disk_preallocate(disk, s->offset, s->length, s->metadata_zeros);
    case STEP_EMPTY:
        return q2_disk_make_empty(disk);
    case STEP_REPAIR:
        return q2_disk_repair(disk, s->metadata_zeros ? Q2_REPAIR_ALL : Q2_REPAIR_LEAKS, NULL,
                              &result);
    case STEP_FLUSH:
    case STEP_REOPEN:
    case STEP_CHECK:
    case STEP_KILL:
    case STEP_LIMIT:
    case STEP_DAMAGE:
    case NB_STEPS:
    default:
        return q2_disk_flush(disk);
    }
}

/* --- failing calls --------------------------------------------------------------------------- */

static void arm(struct run *r)
{
    static const unsigned calls[] = {CRASH_ALL,  CRASH_CHANGES, CRASH_WRITE,
                                     CRASH_READ, CRASH_FLUSH,   CRASH_GROW};
    struct crash_log *log = &r->world.log;

    log->failed = 0;
    log->nb_calls = 0;
    log->fail_calls = 0;
    log->fail_at = 0;
    if (run_random(r, 10) != 0)
        return;
    log->fail_calls = calls[run_random(r, 6)];
    log->fail_at = 1 + run_random(r, run_random(r, 2) == 0 ? 6 : 60);
    log->fail_on = run_random(r, 2) == 0;
    log->fail_status = Q2_ERR_IO;
    if (!(log->fail_calls & (CRASH_READ | CRASH_FLUSH)) && run_random(r, 3) == 0)
        log->fail_status = Q2_ERR_NO_SPACE;
    log->torn = (enum crash_torn)run_random(r, 3);
}

static void disarm(struct run *r)
{
    r->world.log.fail_calls = 0;
    r->world.log.fail_at = 0;
}

/* --- judging --------------------------------------------------------------------------------- */

/* May it be refused, although no call failed? */
static bool may_refuse(const struct run *r, const struct step *s, enum q2_status status)
{
    const struct geometry *g = &r->geometry;

    if (r->damaged || (status == Q2_ERR_NO_SPACE && r->limited))
        return true;
    if (s->snap && s->snap->presence == SNAP_MAYBE && status == Q2_ERR_NO_SNAPSHOT)
        return true;
    if (status == Q2_ERR_UNSUPPORTED) {
        switch ((unsigned)s->kind) {
        case STEP_COMPRESS:
            return g->data_file;
        case STEP_SNAP_CREATE:
        case STEP_SNAP_APPLY:
        case STEP_SNAP_DELETE:
            return g->data_file || g->refcount_bits <= (r->compressed ? 8u : 2u);
        case STEP_RESIZE:
            return g->version_2;
        case STEP_PREALLOCATE:
            return g->base;
        case STEP_EMPTY:
            return g->raw;
        default:
            return false;
        }
    }
    return false;
}

/* The operation has succeeded: its content is the newest. */
static bool succeed(struct run *r, const struct step *s)
{
    struct content *c = &r->content;

    for (uint32_t i = s->first; i < s->end; i++) {
        uint64_t at = (uint64_t)i * SECTOR;
        bool whole =
            at >= s->offset && (at + SECTOR <= s->offset + s->length || at + SECTOR > c->size);

        content_remember(c, i, c->now + at);
        memcpy(c->now + at, r->next + at, SECTOR);
        if (c->unreadable[i])
            c->was_unreadable[i] = true;
        if (s->kind == STEP_SNAP_APPLY)
            c->unreadable[i] = s->snap->unreadable[i];
        else if (s->kind > STEP_COMPRESS || whole)
            c->unreadable[i] = false;
    }
    if (s->kind == STEP_RESIZE || s->kind == STEP_SNAP_APPLY) {
        c->size = s->new_size;
        memset(c->now + c->size, 0, GUEST_MAX - c->size);
        if (q2_disk_size(r->world.disk) != c->size)
            return run_wrong(r, "the disk has the size", q2_disk_size(r->world.disk));
    }
    if (s->kind == STEP_COMPRESS)
        r->compressed = true;
    if (s->kind == STEP_SNAP_CREATE || s->kind == STEP_SNAP_APPLY)
        s->snap->presence = SNAP_PRESENT;
    if (s->kind == STEP_SNAP_DELETE)
        s->snap->presence = SNAP_NONE;
    if (kinds[s->kind].durable)
        content_settle(c);
    return true;
}

/* The operation may have happened in any part: both contents may be found. */
static void remember(struct run *r, const struct step *s)
{
    struct content *c = &r->content;

    r->may_leak = true;
    r->flags_may_lag = true;
    for (uint32_t i = s->first; i < s->end; i++) {
        uint64_t at = (uint64_t)i * SECTOR;

        content_remember(c, i, c->now + at);
        content_remember(c, i, r->next + at);
        if (s->kind == STEP_SNAP_APPLY && s->snap->unreadable[i])
            c->was_unreadable[i] = true;
        /* A shrinking disk may show its backing file where it gave clusters back. */
        if (s->kind == STEP_RESIZE && s->new_size < c->size && r->geometry.base)
            content_remember(c, i, r->world.base.bytes + at);
        /* The data file's own content, and what of it was durable. */
        if (r->geometry.raw) {
            content_remember(c, i, r->world.files[1].bytes + at);
            content_remember(c, i, r->world.durable[1].bytes + at);
        }
    }
    if (s->kind == STEP_RESIZE || s->kind == STEP_SNAP_APPLY)
        content_remember_size(c, s->new_size);
    if (s->kind == STEP_SNAP_CREATE || s->kind == STEP_SNAP_DELETE)
        s->snap->presence = SNAP_MAYBE;
}

static bool refused_unchanged(struct run *r, const struct step *s, enum q2_status status)
{
    if (!may_refuse(r, s, status))
        return run_failed(r, "the operation", status);
    return true;
}

/* The disk goes on after a failure: each sector of the range is as before or as planned, and all
 * others are as before. */
static bool judge_part(struct run *r, const struct step *s)
{
    struct content *c = &r->content;

    for (uint32_t i = s->first; i < s->end; i++) {
        uint64_t at = (uint64_t)i * SECTOR, left = c->size - at;

        if (c->unreadable[i] || at >= c->size)
            continue;
        if (q2_disk_read(r->world.disk, at, r->read + at, left < SECTOR ? left : SECTOR) != Q2_OK)
            return run_failed(r, "read after a failure", q2_disk_fault(r->world.disk)->status);
        if (memcmp(r->read + at, r->next + at, left < SECTOR ? left : SECTOR) == 0)
            memcpy(c->now + at, r->next + at, SECTOR);
    }
    judge_leave_out_unnamed(r);
    return judge_range(r, 0, NB_SECTORS);
}

/* The operation failed, and there was no cut. */
static bool fail(struct run *r, const struct step *s, enum q2_status status)
{
    struct q2_disk *disk = r->world.disk;
    bool latched = !q2_disk_is_writable(disk);

    if (r->world.log.failed == 0 && !refused_unchanged(r, s, status))
        return false;
    if (q2_disk_fault(disk)->status == Q2_OK)
        return run_wrong(r, "an error has no fault", status);
    remember(r, s);
    if (latched || s->kind == STEP_RESIZE || s->kind == STEP_SNAP_APPLY || run_random(r, 8) == 0)
        return judge_open(r);
    return judge_part(r, s);
}

static bool cut(struct run *r, const struct step *s, size_t before, enum q2_status status)
{
    struct world *w = &r->world;
    size_t nb = before + run_random(r, w->log.nb_events - before + 1);

    if (nb == w->log.nb_events && status == Q2_OK) {
        if (!succeed(r, s))
            return false;
    } else {
        remember(r, s);
    }
    r->may_leak = true;
    r->flags_may_lag = true;
    world_close(w);
    world_cut(w, nb, &r->seed);
    if (!judge_open(r))
        return false;
    content_settle(&r->content);
    return run_random(r, 4) != 0 || (judge_snaps(r) && judge_open(r));
}

/* What each operation shows, beside its own range: another one. */
static bool look(struct run *r, const struct step *s)
{
    uint32_t at = (uint32_t)run_random(r, NB_SECTORS);

    if (s->first == s->end && s->kind > STEP_READ)
        return judge_range(r, 0, NB_SECTORS);
    return judge_range(r, s->first, s->end) && judge_range(r, at, at + 8);
}

static bool change(struct run *r, struct step *s)
{
    struct world *w = &r->world;
    size_t before = w->log.nb_events;
    enum q2_status status;
    bool cuts;

    arm(r);
    status = do_step(r, s);
    disarm(r);
    cuts = run_random(r, 24) == 0;
    if (w->log.failed != 0)
        run_says(r, "  a call failed (kinds %u of %u): %s", w->log.failed, w->log.fail_calls,
                 q2_status_name(status));
    if (cuts)
        run_says(r, "  power cut");
    if (cuts)
        return cut(r, s, before, status);
    if (w->log.failed != 0)
        r->may_leak = r->flags_may_lag = true;
    if (status != Q2_OK && !fail(r, s, status))
        return false;
    if (status == Q2_OK && !(succeed(r, s) && look(r, s)))
        return false;
    world_settle(w);
    return true;
}

/* --- the operations that are judged in their own way ----------------------------------------- */

bool step_close(struct run *r)
{
    enum q2_status status = q2_disk_flush(r->world.disk);

    if (status != Q2_OK)
        return run_failed(r, "flush", status);
    content_settle(&r->content);
    if (!judge_check(r, true))
        return false;
    world_close(&r->world);
    world_settle_all(&r->world);
    return true;
}

static bool reopen(struct run *r)
{
    return step_close(r) && judge_snaps(r) && judge_open(r);
}

static bool kill_and_open(struct run *r)
{
    r->may_leak = r->flags_may_lag = true;
    return judge_open(r);
}

static void set_limit(struct run *r)
{
    struct crash_source *image = &r->world.files[0];

    r->limited = run_random(r, 2) == 0;
    image->limit = image->capacity;
    if (r->limited)
        image->limit = image->source.size + (run_random(r, 20) << r->geometry.cluster_bits);
}

/* No older content than memory has room for. */
static bool bound_memory(struct run *r)
{
    const struct content *c = &r->content;

    if (c->nb_older < 4 * NB_SECTORS && c->nb_other_sizes < 8 &&
        r->world.log.arena_used < 16u << 20)
        return true;
    return step_close(r) && judge_open(r);
}

static const char *details(const struct step *s)
{
    static char text[96];

    text[0] = '\0';
    if (s->kind <= STEP_COMPRESS || s->kind == STEP_READ || s->kind == STEP_PREALLOCATE)
        (void)snprintf(text, sizeof(text), " 0x%llx 0x%llx", (unsigned long long)s->offset,
                       (unsigned long long)s->length);
    if (s->kind == STEP_RESIZE)
        (void)snprintf(text, sizeof(text), " 0x%llx", (unsigned long long)s->new_size);
    if (s->snap)
        (void)snprintf(text, sizeof(text), " %.60s", s->snap->name);
    return text;
}

bool step_run(struct run *r)
{
    struct step s;

    if (!bound_memory(r))
        return false;
    plan(r, &s);
    run_says(r, "%s%s", kinds[s.kind].name, details(&s));
    switch ((unsigned)s.kind) {
    case STEP_CHECK:
        return judge_check(r, false);
    case STEP_REOPEN:
        return reopen(r);
    case STEP_KILL:
        return kill_and_open(r);
    case STEP_LIMIT:
        set_limit(r);
        return true;
    case STEP_DAMAGE:
        return damage_run(r);
    default:
        return change(r, &s);
    }
}
