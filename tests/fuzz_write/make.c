/* Making an image with random geometry, and the model of it. */
#include "run.h"

#include <string.h>

#include "q2_amend.h"
#include "q2_create.h"

/* Mostly small clusters: tables end soon, and a run is quick. */
static uint32_t random_bits(struct run *r)
{
    static const uint8_t bits[] = {9, 9, 9, 9, 9, 9, 9, 10, 10, 10, 11, 12, 12, 13, 14, 15, 16};

    return bits[run_random(r, sizeof(bits))];
}

static void choose_geometry(struct run *r)
{
    struct geometry *g = &r->geometry;

    *g = (struct geometry){.cluster_bits = random_bits(r), .refcount_bits = 16};
    if (run_random(r, 6) == 0) {
        g->version_2 = true;
        g->base = run_random(r, 3) == 0;
        return;
    }
    if (run_random(r, 3) == 0)
        g->refcount_bits = 1u << run_random(r, 7);
    if (run_random(r, 4) == 0) {
        g->extended = true;
        g->cluster_bits = 14 + (uint32_t)run_random(r, 3);
    }
    g->data_file = run_random(r, 4) == 0;
    g->raw = g->data_file && run_random(r, 2) == 0;
    g->base = !g->raw && run_random(r, 3) == 0;
}

static uint64_t random_size(struct run *r)
{
    uint64_t most = 200ull << r->geometry.cluster_bits, size;

    if (most > GUEST_MAX)
        most = GUEST_MAX;
    size = (1 + run_random(r, most / SECTOR)) * SECTOR;
    return run_random(r, 3) == 0 ? size >> r->geometry.cluster_bits << r->geometry.cluster_bits
                                 : size;
}

static void make_base(struct run *r)
{
    struct crash_source *base = &r->world.base;
    uint64_t size = run_random(r, 2) == 0 ? r->content.size : run_random(r, GUEST_MAX) + 1;
    uint64_t *words = (uint64_t *)(void *)base->bytes;

    if (run_random(r, 4) == 0 && size > 100)
        size -= run_random(r, 100);
    for (uint64_t i = 0; i < size / 8; i++)
        words[i] = r->seed + i * 0x9e3779b97f4a7c15ull;
    base->source.size = size;
    memcpy(r->content.now, base->bytes, size < r->content.size ? size : r->content.size);
}

static enum q2_status create(struct run *r)
{
    const struct geometry *g = &r->geometry;
    struct q2_create_options options = {
        .virtual_size = r->content.size,
        .version = g->version_2 ? 2 : 3,
        .cluster_bits = g->cluster_bits,
        .refcount_bits = g->refcount_bits,
        .extended_l2 = g->extended,
        .compression_type = !g->version_2 && run_random(r, 4) == 0 ? Q2_COMPRESSION_ZSTD : 0,
        .lazy_refcounts = !g->version_2 && run_random(r, 4) == 0,
        .external_data = g->data_file,
        .raw_external_data = g->raw,
        .data_file = g->data_file ? "data" : NULL,
        .backing_file = g->base ? "base" : NULL,
        .backing_format = g->base ? "raw" : NULL,
    };

    return q2_create(r->world.workspace, &r->world.files[0].source, &options, &r->world.fault);
}

/* (qcow2: "raw external data": it is mapped from the start, as QEMU does) */
static bool map_raw(struct run *r)
{
    enum q2_status status = Q2_OK;

    if (r->geometry.raw && r->content.size > 0)
        status = q2_disk_preallocate(r->world.disk, 0, r->content.size, false);
    if (status == Q2_OK)
        status = q2_disk_flush(r->world.disk);
    return status == Q2_OK || run_failed(r, "mapping of a new raw data file", status);
}

static void forget(struct run *r)
{
    for (uint32_t i = 0; i < MAX_SNAPS; i++)
        r->snaps[i].presence = SNAP_NONE;
    r->nb_snaps_made = 0;
    r->damaged = r->may_leak = r->flags_may_lag = r->limited = r->compressed = false;
    memset(r->content.now, 0, GUEST_MAX);
    memset(r->content.unreadable, 0, sizeof(r->content.unreadable));
}

bool run_make(struct run *r)
{
    struct world *w = &r->world;
    enum q2_status status;

    world_reset(w);
    forget(r);
    w->small_cache = run_random(r, 4) == 0;
    choose_geometry(r);
    r->content.size = random_size(r);
    content_settle(&r->content);
    if (r->geometry.base)
        make_base(r);
    run_says(r,
             "create size=%llu bits=%u v=%u ext=%u data=%u raw=%u base=%llu refcount=%u small=%u",
             (unsigned long long)r->content.size, r->geometry.cluster_bits,
             r->geometry.version_2 ? 2u : 3u, r->geometry.extended, r->geometry.data_file,
             r->geometry.raw, (unsigned long long)w->base.source.size, r->geometry.refcount_bits,
             w->small_cache);
    w->files[1].source.size = r->geometry.data_file ? r->content.size : 0;
    status = create(r);
    if (status == Q2_OK)
        status = world_open(w, WORLD_WRITE, NULL);
    if (status != Q2_OK)
        return run_failed(r, "create and open", status);
    r->first_size = r->content.size;
    if (!map_raw(r))
        return false;
    world_settle_all(w);
    return judge_all(r) && judge_check(r, true);
}
