/* Comparing the disk with its model. */
#include "run.h"

#include <stdio.h>
#include <string.h>

static uint32_t nb_sectors(uint64_t size)
{
    return (uint32_t)((size + SECTOR - 1) / SECTOR);
}

static uint64_t end_of(const struct run *r, uint32_t end)
{
    uint64_t bytes = (uint64_t)end * SECTOR;

    return bytes < r->content.size ? bytes : r->content.size;
}

/* Read a range sector by sector, as far as it can be read. */
static void read_pieces(struct run *r, uint64_t offset, uint64_t end, uint8_t *bytes,
                        bool *unreadable)
{
    for (uint64_t at = offset; at < end; at += SECTOR) {
        size_t length = end - at < SECTOR ? (size_t)(end - at) : SECTOR;
        enum q2_status status = q2_disk_read(r->world.disk, at, bytes + at, length);

        unreadable[at / SECTOR] = status != Q2_OK;
        if (status != Q2_OK)
            memset(bytes + at, 0, length);
    }
}

void judge_observe(struct run *r, uint64_t size, uint8_t *bytes, bool *unreadable)
{
    uint64_t piece = 16 * SECTOR;

    memset(bytes, 0, GUEST_MAX);
    memset(unreadable, 0, NB_SECTORS * sizeof(*unreadable));
    if (size == 0 || q2_disk_read(r->world.disk, 0, bytes, size) == Q2_OK)
        return;
    for (uint64_t at = 0; at < size; at += piece) {
        uint64_t end = size - at < piece ? size : at + piece;

        if (q2_disk_read(r->world.disk, at, bytes + at, end - at) != Q2_OK)
            read_pieces(r, at, end, bytes, unreadable);
    }
}

/* Fill run->read from the disk; false if a sector cannot be read that could be. */
static bool fetch(struct run *r, uint32_t first, uint32_t end)
{
    static bool unreadable[NB_SECTORS];
    uint64_t offset = (uint64_t)first * SECTOR, last = end_of(r, end);
    enum q2_status status;

    if (offset >= last)
        return true;
    memset(r->read + offset, 0, (uint64_t)(end - first) * SECTOR);
    status = q2_disk_read(r->world.disk, offset, r->read + offset, last - offset);
    if (status == Q2_OK)
        return true;
    if (!r->damaged)
        return run_failed(r, "read", status);
    read_pieces(r, offset, last, r->read, unreadable);
    for (uint32_t i = first; i < nb_sectors(last); i++) {
        if (!unreadable[i] || r->content.unreadable[i])
            continue;
        if (!r->content.was_unreadable[i])
            return run_failed(r, "read of a sector that could be read", status);
        r->content.unreadable[i] = true;
    }
    return true;
}

bool judge_range(struct run *r, uint32_t first, uint32_t end)
{
    struct content *c = &r->content;

    if (end > nb_sectors(c->size))
        end = nb_sectors(c->size);
    if (first >= end)
        return true;
    if (!fetch(r, first, end))
        return false;
    for (uint32_t i = first; i < end; i++) {
        if (!c->unreadable[i] && memcmp(r->read + i * SECTOR, c->now + i * SECTOR, SECTOR) != 0)
            return run_wrong(r, "wrong content at guest offset", (uint64_t)i * SECTOR);
    }
    return true;
}

/* After a cut or a failure a raw data file may have bytes that no entry names yet: the disk reads
 * as before, and shows those bytes when the place is mapped again. */
void judge_leave_out_unnamed(struct run *r)
{
    struct content *c = &r->content;

    for (uint32_t i = 0; r->geometry.raw && i < nb_sectors(c->size); i++) {
        if (memcmp(c->now + i * SECTOR, r->world.files[1].bytes + i * SECTOR, SECTOR) != 0)
            c->unreadable[i] = true;
    }
}

bool judge_all(struct run *r)
{
    struct content *c = &r->content;
    uint64_t size = q2_disk_size(r->world.disk);

    if (!content_allows_size(c, size))
        return run_wrong(r, "the disk has the size", size);
    if (size > c->size)
        memset(c->now + c->size, 0, size - c->size);
    if (size != c->size) {
        uint64_t before = c->size;

        c->size = size;
        content_remember_size(c, before); /* a cut may bring it back */
    }
    if (!fetch(r, 0, nb_sectors(size)))
        return false;
    for (uint32_t i = 0; i < nb_sectors(size); i++) {
        uint8_t *now = c->now + i * SECTOR, *found = r->read + i * SECTOR;

        if (!content_allows(c, i, found))
            return run_wrong(r, "a content that the sector never had, at guest offset",
                             (uint64_t)i * SECTOR);
        if (memcmp(now, found, SECTOR) == 0)
            continue;
        content_remember(c, i, now);
        memcpy(now, found, SECTOR);
    }
    memset(c->now + size, 0, GUEST_MAX - size);
    judge_leave_out_unnamed(r);
    return true;
}

bool judge_open(struct run *r)
{
    enum q2_status status = world_open(&r->world, WORLD_WRITE, NULL);

    if (status != Q2_OK)
        return run_failed(r, "open for writing", status);
    return judge_all(r);
}

/* --- the check ------------------------------------------------------------------------------- */

struct finding_keeper {
    struct q2_check_reporter reporter;
    struct run *run;
};

static void keep(struct q2_check_reporter *reporter, const struct q2_check_finding *finding)
{
    struct run *r = ((struct finding_keeper *)reporter)->run;

    if (finding->kind == Q2_CHECK_LEAK && r->may_leak)
        return;
    (void)snprintf(r->why, sizeof(r->why), "check: %s at 0x%llx, refcount %llu, references %llu",
                   finding->what, (unsigned long long)finding->offset,
                   (unsigned long long)finding->refcount, (unsigned long long)finding->references);
}

bool judge_check(struct run *r, bool flushed)
{
    struct finding_keeper keeper = {.reporter = {.report = keep}, .run = r};
    struct q2_check_result result;
    enum q2_status status;

    r->why[0] = '\0';
    status = q2_disk_check(r->world.disk, &keeper.reporter, &result);
    if (status != Q2_OK)
        return run_failed(r, "check", status);
    if (r->flags_may_lag)
        result.corruptions -= result.copied_missing;
    if (r->damaged) /* damage, which nobody has asked to mend */
        result.corruptions -= result.snapshots_incomplete;
    if (result.corruptions + result.check_errors > 0)
        return false;
    if (flushed && !r->may_leak && result.leaks > 0)
        return false;
    r->why[0] = '\0';
    return true;
}

/* --- snapshots ------------------------------------------------------------------------------- */

static bool judge_snap_content(struct run *r, const struct snap *snap)
{
    static bool unreadable[NB_SECTORS];
    uint64_t size = q2_disk_size(r->world.disk);

    if (size != snap->size)
        return run_wrong(r, "a snapshot has the size", size);
    judge_observe(r, size, r->read, unreadable);
    for (uint32_t i = 0; i < nb_sectors(size); i++) {
        if (snap->unreadable[i])
            continue;
        if (unreadable[i])
            return run_wrong(r, "a snapshot cannot be read at", (uint64_t)i * SECTOR);
        if (memcmp(r->read + i * SECTOR, snap->bytes + i * SECTOR, SECTOR) != 0)
            return run_wrong(r, "a snapshot has changed at", (uint64_t)i * SECTOR);
    }
    return true;
}

bool judge_snaps(struct run *r)
{
    bool sure = r->world.log.nb_events == 0; /* no cut can bring back what was before */

    for (uint32_t i = 0; i < MAX_SNAPS; i++) {
        struct snap *snap = &r->snaps[i];
        enum q2_status status;

        if (snap->presence == SNAP_NONE)
            continue;
        status = world_open(&r->world, WORLD_READ, snap->name);
        if (status == Q2_ERR_NO_SNAPSHOT && snap->presence == SNAP_MAYBE) {
            snap->presence = sure ? SNAP_NONE : SNAP_MAYBE;
            continue;
        }
        if (status != Q2_OK)
            return run_failed(r, "open of a snapshot", status);
        if (!judge_snap_content(r, snap))
            return false;
        if (sure)
            snap->presence = SNAP_PRESENT;
    }
    world_close(&r->world);
    return true;
}
