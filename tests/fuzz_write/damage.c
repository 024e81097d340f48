/* Damaged metadata: whatever is done with it must be refused or right.
 *
 * What can be read before a repair reads the same after it; a second check finds nothing new; what
 * opens for writing afterwards is written under the same rules as any other image.
 */
#include "run.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAX_SEEN 3u

/* What could be read of one state: the active one, or a snapshot. */
struct view {
    bool opened;
    uint64_t size; /* bytes; more than GUEST_MAX is not read */
    char id[64], name[64];
    uint8_t *bytes;
    bool unreadable[NB_SECTORS];
};

struct damage {
    uint8_t *image; /* as before the damage */
    uint64_t size, data_size;
    struct view before[1 + MAX_SEEN], after[1 + MAX_SEEN];
};

static struct damage *damage_memory(void)
{
    static struct damage *d;

    if (d)
        return d;
    d = crash_memory(NULL, sizeof(*d));
    d->image = crash_memory(NULL, IMAGE_MAX);
    for (uint32_t i = 0; i < 1 + MAX_SEEN; i++) {
        d->before[i].bytes = crash_memory(NULL, GUEST_MAX);
        d->after[i].bytes = crash_memory(NULL, GUEST_MAX);
    }
    return d;
}

/* --- doing damage ---------------------------------------------------------------------------- */

static uint64_t get(const struct run *r, uint64_t offset, uint32_t width)
{
    const struct crash_source *image = &r->world.files[0];
    uint64_t value = 0;

    for (uint32_t i = 0; i < width; i++)
        value = value << 8 | (offset < IMAGE_MAX - 8 ? image->bytes[offset + i] : 0);
    return value;
}

static void put64(struct run *r, uint64_t offset, uint64_t value)
{
    for (uint32_t i = 0; i < 8; i++)
        r->world.files[0].bytes[offset + i] = (uint8_t)(value >> (56 - 8 * i));
}

/* Where an L2 table or a refcount block is: one that is named by the table at hand. */
static uint64_t random_named(struct run *r, uint64_t table, uint64_t nb)
{
    uint64_t at = nb > 0 ? run_random(r, nb) : 0;

    for (uint64_t i = 0; i < nb && i < 4096; i++) {
        uint64_t entry = get(r, table + (at + i) % nb * 8, 8) & 0x00fffffffffffe00ull;
        if (entry != 0)
            return entry;
    }
    return 0;
}

/* A place to damage, and the bytes from there on that are of the same kind. */
static uint64_t random_place(struct run *r, uint64_t *ret_length)
{
    uint64_t cluster = 1ull << r->geometry.cluster_bits;
    uint64_t l1 = get(r, 40, 8), nb_l1 = get(r, 36, 4), counts = get(r, 48, 8), offset = 0;

    nb_l1 = nb_l1 < 4096 ? nb_l1 : 4096;
    *ret_length = cluster;
    switch (run_random(r, 9)) {
    case 0:
        *ret_length = 104;
        break;
    case 1:
        *ret_length = cluster < 1024 ? cluster : 1024;
        break;
    case 2:
        offset = l1;
        *ret_length = nb_l1 * 8;
        break;
    case 3:
    case 4:
        offset = random_named(r, l1, nb_l1);
        break;
    case 5:
        offset = counts;
        *ret_length = 64;
        break;
    case 6:
        offset = random_named(r, counts, cluster / 8);
        break;
    case 7:
        offset = get(r, 64, 8);
        *ret_length = 160;
        if (run_random(r, 2) == 0 && offset != 0) { /* the L1 table of the first snapshot */
            *ret_length = get(r, offset + 8, 4) * 8;
            offset = get(r, offset, 8);
        }
        break;
    default:
        *ret_length = r->world.files[0].source.size;
        break;
    }
    return offset;
}

/* Change the bytes at one place. */
static void change(struct run *r, uint64_t at, uint64_t other)
{
    uint8_t *bytes = r->world.files[0].bytes;
    uint64_t entry = at & ~7ull, cluster = 1ull << r->geometry.cluster_bits;

    switch (run_random(r, 9)) {
    case 0:
        bytes[at] ^= (uint8_t)(1u << run_random(r, 8));
        break;
    case 1:
        bytes[at] = (uint8_t)run_random(r, 256);
        break;
    case 2:
        put64(r, entry, 0);
        break;
    case 3:
        put64(r, entry, UINT64_MAX);
        break;
    case 4: /* the same cluster twice */
        put64(r, entry, get(r, other & ~7ull, 8));
        break;
    case 5:
        put64(r, entry, get(r, entry, 8) + cluster);
        break;
    case 6:
        put64(r, entry, get(r, entry, 8) ^ 1ull << 63);
        break;
    case 7:
        put64(r, entry, get(r, entry, 8) ^ (1ull << 62 | run_random(r, 2)));
        break;
    default: /* any cluster of the file */
        put64(r, entry,
              (get(r, entry, 8) & 1ull << 63) |
                  run_random(r, r->world.files[0].source.size / cluster + 2) * cluster);
        break;
    }
}

static void damage_file(struct run *r)
{
    struct crash_source *image = &r->world.files[0];
    uint64_t nb = 1 + (run_random(r, 3) == 0 ? run_random(r, 6) : 0);

    for (uint64_t i = 0; i < nb; i++) {
        uint64_t length, offset = random_place(r, &length), size = image->source.size, before;

        if (offset >= size || length == 0 || size < 16)
            continue;
        if (length > size - offset)
            length = size - offset;
        offset += run_random(r, length);
        if (offset > size - 8)
            continue;
        before = get(r, offset & ~7ull, 8);
        change(r, offset, offset / 512 * 512 + run_random(r, 512));
        run_says(r, "  damage at 0x%llx: %016llx, was %016llx", (unsigned long long)offset & ~7ull,
                 (unsigned long long)get(r, offset & ~7ull, 8), (unsigned long long)before);
    }
    if (run_random(r, 12) == 0) {
        uint64_t size = run_random(r, image->source.size) + 1;

        run_says(r, "  the file is cut to 0x%llx", (unsigned long long)size);
        memset(image->bytes + size, 0, image->source.size - size);
        image->source.size = size;
    }
}

/* Keep the damaged image of a run that tells what it does. */
static void keep(const struct run *r)
{
    const struct crash_source *image = &r->world.files[0];
    FILE *file = r->keep ? fopen(r->keep, "wb") : NULL;

    if (!file)
        return;
    (void)fwrite(image->bytes, 1, image->source.size, file);
    (void)fclose(file);
}

/* --- what can be read ------------------------------------------------------------------------ */

static bool overlaps(uint64_t a, uint64_t length_a, uint64_t b, uint64_t length_b)
{
    return a < b + length_b && b < a + length_a;
}

/* Length of the snapshot table that the header names, whatever its entries say. */
static uint64_t snapshots_length(const struct run *r, const struct q2_header *h)
{
    uint64_t length = 0;

    for (uint32_t i = 0; i < h->nb_snapshots && length < IMAGE_MAX; i++) {
        uint64_t at = h->snapshots_offset + length;

        length += (40 + get(r, at + 36, 4) + get(r, at + 12, 2) + get(r, at + 14, 2) + 7) & ~7ull;
    }
    return length;
}

/* Does a range of the file have metadata that is changed in place: header, L1 table, refcounts,
 * snapshot table? Guest data there changes with it. L2 tables are copied before. */
static bool on_metadata(const struct run *r, const struct q2_header *h, uint64_t offset,
                        uint64_t length)
{
    uint64_t cluster = 1ull << h->cluster_bits;
    uint64_t nb = (uint64_t)h->refcount_table_clusters * cluster / 8;

    if (overlaps(offset, length, 0, cluster) ||
        overlaps(offset, length, h->l1_table_offset, h->l1_size * 8ull + cluster) ||
        overlaps(offset, length, h->refcount_table_offset, nb * 8) ||
        overlaps(offset, length, h->snapshots_offset, snapshots_length(r, h)))
        return true;
    for (uint64_t i = 0; i < nb && i < 65536; i++) {
        uint64_t block = get(r, h->refcount_table_offset + i * 8, 8);

        if (block != 0 && overlaps(offset, length, block, cluster))
            return true;
    }
    return false;
}

/* Sectors that are metadata as well may become anything. */
static void leave_out_aliases(struct run *r, struct view *v, uint64_t size)
{
    struct q2_layer_info info;
    struct q2_extent e;

    q2_disk_layer_info(r->world.disk, 0, &info);
    for (uint64_t at = 0; at < size; at += e.length) {
        if (q2_disk_map(r->world.disk, at, size - at, &e) != Q2_OK)
            e = (struct q2_extent){.length = SECTOR - at % SECTOR};
        if (!e.has_host_offset || e.layer != 0 || info.data_source != info.source)
            continue;
        if (on_metadata(r, info.header, e.host_offset,
                        e.kind == Q2_EXTENT_COMPRESSED ? e.stream_length : e.length))
            memset(v->unreadable + at / SECTOR, true,
                   (size_t)((at + e.length + SECTOR - 1) / SECTOR - at / SECTOR));
    }
}

static void view_disk(struct run *r, struct view *v)
{
    uint64_t size = q2_disk_size(r->world.disk);

    v->opened = true;
    v->size = size;
    size = size < GUEST_MAX ? size : GUEST_MAX;
    judge_observe(r, size, v->bytes, v->unreadable);
    leave_out_aliases(r, v, size);
}

/* List the snapshots; of the first few see the content, too. */
static void view_all(struct run *r, struct view *views)
{
    struct q2_snapshot snapshot;

    for (uint32_t i = 0; i < 1 + MAX_SEEN; i++) {
        views[i].opened = false;
        views[i].id[0] = views[i].name[0] = '\0';
    }
    if (world_open(&r->world, WORLD_READ, NULL) != Q2_OK)
        return;
    view_disk(r, &views[0]);
    for (uint32_t i = 0; i < MAX_SEEN; i++) {
        struct view *v = &views[1 + i];

        if (q2_disk_snapshot(r->world.disk, i, &snapshot) != Q2_OK)
            break;
        (void)snprintf(v->id, sizeof(v->id), "%.63s", snapshot.id);
        (void)snprintf(v->name, sizeof(v->name), "%.63s", snapshot.name);
    }
    for (uint32_t i = 1; i < 1 + MAX_SEEN; i++) {
        if (views[i].id[0] != '\0' && world_open(&r->world, WORLD_READ, views[i].id) == Q2_OK)
            view_disk(r, &views[i]);
    }
    world_close(&r->world);
}

/* Everything that could be read reads the same. */
static bool same_views(struct run *r, const struct view *before, const struct view *after)
{
    for (uint32_t k = 0; k < 1 + MAX_SEEN; k++) {
        const struct view *b = &before[k], *a = &after[k];

        if (!b->opened)
            continue;
        if (!a->opened)
            return run_failed(r, k == 0 ? "what opened before" : "a snapshot that opened before",
                              r->world.fault.status);
        if (a->size != b->size || strcmp(a->id, b->id) != 0 || strcmp(a->name, b->name) != 0)
            return run_wrong(r, "the repair changed the size or name of number", k);
        for (uint32_t i = 0; i < NB_SECTORS; i++) {
            if (b->unreadable[i])
                continue;
            if (a->unreadable[i])
                return run_wrong(r, "could be read before the repair, sector", i);
            if (memcmp(a->bytes + i * SECTOR, b->bytes + i * SECTOR, SECTOR) != 0)
                return run_wrong(r, "the repair changed the content of sector", i);
        }
    }
    return true;
}

/* --- repair ---------------------------------------------------------------------------------- */

static bool same_result(const struct q2_check_result *a, const struct q2_check_result *b)
{
    return a->corruptions == b->corruptions && a->leaks == b->leaks &&
           a->check_errors == b->check_errors && a->copied_missing == b->copied_missing &&
           a->snapshots_incomplete == b->snapshots_incomplete;
}

/* A second check finds the same, and a second repair mends nothing. */
static bool judge_second(struct run *r, enum world_mode mode, enum q2_repair what,
                         const struct q2_check_result *left)
{
    struct q2_check_result check;
    struct q2_repair_result again;
    enum q2_status status = world_open(&r->world, mode, NULL);

    if (status == Q2_OK)
        status = q2_disk_check(r->world.disk, NULL, &check);
    if (status != Q2_OK)
        return run_failed(r, "check after the repair", status);
    if (!same_result(&check, left))
        return run_wrong(r, "a second check finds something else; corruptions", check.corruptions);
    status = q2_disk_repair(r->world.disk, what, NULL, &again);
    if (status != Q2_OK)
        return run_failed(r, "second repair", status);
    if (again.leaks_fixed + again.corruptions_fixed > 0 || !same_result(&again.left, left))
        return run_wrong(r, "a second repair mends something", again.corruptions_fixed);
    return true;
}

static void arm(struct run *r)
{
    static const unsigned calls[] = {CRASH_CHANGES, CRASH_ALL};
    struct crash_log *log = &r->world.log;

    log->failed = 0;
    log->nb_calls = 0;
    if (run_random(r, 4) != 0)
        return;
    log->fail_calls = calls[run_random(r, 2)];
    log->fail_at = 1 + run_random(r, 30);
    log->fail_on = run_random(r, 2) == 0;
    log->fail_status = Q2_ERR_IO;
    log->torn = (enum crash_torn)run_random(r, 3);
}

/* Repair, perhaps with a failing call or a power cut. *ret_whole: it was done without. */
static bool repair(struct run *r, bool *ret_whole)
{
    struct world *w = &r->world;
    enum world_mode mode = run_random(r, 2) == 0 ? WORLD_REPAIR : WORLD_REPAIR_METADATA;
    enum q2_repair what = run_random(r, 4) == 0 ? Q2_REPAIR_LEAKS : Q2_REPAIR_ALL;
    struct q2_repair_result result;
    enum q2_status status = world_open(w, mode, NULL);
    size_t nb;

    *ret_whole = false;
    if (status != Q2_OK)
        return true;
    arm(r);
    status = q2_disk_repair(w->disk, what, NULL, &result);
    w->log.fail_calls = 0;
    w->log.fail_at = 0;
    run_says(r, "  repair %d: %s, failed %u", what, q2_status_name(status), w->log.failed);
    nb = run_random(r, w->log.nb_events + 1);
    if (run_random(r, 3) == 0) {
        run_says(r, "  power cut");
        world_close(w);
        world_cut(w, nb, &r->seed);
        return true;
    }
    world_settle_all(w);
    if (status != Q2_OK || w->log.failed != 0)
        return true;
    *ret_whole = true;
    return judge_second(r, mode, what, &result.left);
}

/* --- going on -------------------------------------------------------------------------------- */

static void restore(struct run *r, const struct damage *d)
{
    world_close(&r->world);
    crash_source_reset(&r->world.files[0], d->image, d->size);
    world_settle_all(&r->world);
}

/* A snapshot that is taken later could have this name as its id, which is looked for first. */
static bool may_be_an_id(const char *name)
{
    return name[strspn(name, "0123456789")] == '\0';
}

static bool name_is_unique(const struct view *views, uint32_t at)
{
    for (uint32_t i = 1; i < 1 + MAX_SEEN; i++) {
        if ((i != at && strcmp(views[i].name, views[at].name) == 0) ||
            strcmp(views[i].id, views[at].name) == 0)
            return false;
    }
    return true;
}

/* The model takes what is there. Snapshots whose name says not which one is meant are left out. */
static void adopt(struct run *r, const struct view *views)
{
    struct q2_layer_info info;
    struct geometry *g = &r->geometry;

    q2_disk_layer_info(r->world.disk, 0, &info);
    g->cluster_bits = info.header->cluster_bits;
    g->version_2 = info.header->version == 2;
    g->refcount_bits = 1u << info.header->refcount_order;
    g->extended = (info.header->incompatible_features & Q2_INCOMPAT_EXTENDED_L2) != 0;
    g->data_file = (info.header->incompatible_features & Q2_INCOMPAT_DATA_FILE) != 0;
    g->raw = (info.header->autoclear_features & Q2_AUTOCLEAR_RAW_EXTERNAL) != 0;
    g->base = info.backing_file[0] != '\0';
    r->damaged = r->may_leak = r->flags_may_lag = true;
    r->content.size = views[0].size;
    content_settle(&r->content);
    memcpy(r->content.now, views[0].bytes, GUEST_MAX);
    memcpy(r->content.unreadable, views[0].unreadable, sizeof(views[0].unreadable));
    for (uint32_t i = 0; i < MAX_SNAPS; i++) {
        const struct view *v = &views[1 + i];
        struct snap *snap = &r->snaps[i];

        snap->presence = SNAP_NONE;
        if (!v->opened || v->size > GUEST_MAX || v->name[0] == '\0' || may_be_an_id(v->name) ||
            !name_is_unique(views, 1 + i))
            continue;
        snap->presence = SNAP_PRESENT;
        snap->size = v->size;
        (void)snprintf(snap->name, sizeof(snap->name), "%s", v->name);
        memcpy(snap->bytes, v->bytes, GUEST_MAX);
        memcpy(snap->unreadable, v->unreadable, sizeof(v->unreadable));
    }
}

/* More snapshots than the model follows would be named like new ones. */
static bool can_adopt(struct run *r, const struct view *view)
{
    struct q2_layer_info info;

    q2_disk_layer_info(r->world.disk, 0, &info);
    return view->opened && view->size <= GUEST_MAX && view->size % SECTOR == 0 &&
           info.header->nb_snapshots <= MAX_SEEN && info.header->cluster_bits <= 16;
}

/* Open for writing what is left of it and go on, or take the image as it was before. */
static bool go_on(struct run *r, struct damage *d)
{
    enum q2_status status;

    view_all(r, d->after);
    status = world_open(&r->world, WORLD_WRITE, NULL);
    world_settle_all(&r->world); /* a dirty image has been repaired */
    if (status != Q2_OK || !can_adopt(r, &d->after[0])) {
        run_says(r, "  restored (%s)", q2_status_name(status));
        restore(r, d);
        return judge_open(r);
    }
    run_says(r, "  adopted");
    adopt(r, d->after);
    return judge_all(r);
}

bool damage_run(struct run *r)
{
    struct damage *d = damage_memory();
    struct world *w = &r->world;
    bool whole;

    if (!step_close(r))
        return false;
    d->size = w->files[0].source.size;
    memcpy(d->image, w->files[0].bytes, d->size);
    damage_file(r);
    keep(r);
    world_settle_all(w);
    view_all(r, d->before);
    if (run_random(r, 3) == 0)
        return go_on(r, d);
    if (!repair(r, &whole))
        return false;
    view_all(r, d->after);
    if (!same_views(r, d->before, d->after))
        return false;
    return go_on(r, d);
}
