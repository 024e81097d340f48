/* The files of a random image, in memory, and what a power cut makes of them. */
#include "world.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/read/disk.h"

static const char *const names[WORLD_FILES] = {"image", "data"};
static const uint64_t capacities[WORLD_FILES] = {IMAGE_MAX, DATA_MAX};

/* --- the disk -------------------------------------------------------------------------------- */

static enum q2_status open_named(struct q2_opener *opener, const char *path, bool writable,
                                 struct q2_source **ret_source)
{
    struct world *w = (struct world *)((char *)opener - offsetof(struct world, opener));

    (void)writable;
    if (strcmp(path, "data") == 0)
        *ret_source = &w->files[1].source;
    else if (strcmp(path, "base") == 0)
        *ret_source = &w->base.source;
    else
        return Q2_ERR_NOT_FOUND;
    return Q2_OK;
}

static void close_named(struct q2_opener *opener, struct q2_source *source)
{
    (void)opener;
    (void)source;
}

static const struct q2_opener_ops opener_ops = {.open = open_named, .close = close_named};

enum q2_status world_open(struct world *w, enum world_mode mode, const char *snapshot)
{
    struct q2_disk_options options = {
        .writable = mode != WORLD_READ,
        .repair = mode == WORLD_REPAIR || mode == WORLD_REPAIR_METADATA,
        .repair_if_dirty = mode == WORLD_WRITE,
        .metadata_only = mode == WORLD_REPAIR_METADATA,
        .snapshot = snapshot,
        .zlib = &w->codec.codec,
        .zstd = &w->codec.codec,
    };

    world_close(w);
    return q2_disk_open(w->workspace, &w->files[0].source, &w->opener, &options, &w->fault,
                        &w->disk);
}

void world_close(struct world *w)
{
    if (w->disk)
        q2_disk_close(w->disk);
    w->disk = NULL;
}

static void evict(struct crash_log *log)
{
    struct world *w = (struct world *)((char *)log - offsetof(struct world, log));

    for (uint32_t way = 0; w->small_cache && w->disk && way < Q2_SLICE_WAYS; way++) {
        for (uint32_t set = 0; set < Q2_SLICE_SETS; set++) {
            struct q2_slice *slice = &w->disk->slices.slices[set][way];
            if (!slice->dirty[Q2_DIRTY_REFCOUNT] && !slice->dirty[Q2_DIRTY_L2] &&
                !slice->dirty[Q2_DIRTY_L1])
                *slice = (struct q2_slice){.source = NULL};
        }
    }
}

/* --- the files ------------------------------------------------------------------------------- */

void world_start(struct world *w)
{
    memset(w, 0, sizeof(*w));
    w->opener.ops = &opener_ops;
    fake_codec_init(&w->codec);
    for (uint32_t i = 0; i < WORLD_FILES; i++) {
        crash_source_init(&w->files[i], &w->log, i, names[i], (const uint8_t *)"", 0,
                          capacities[i]);
        w->durable[i].bytes = crash_memory(NULL, capacities[i] + SECTOR);
        memset(w->durable[i].bytes, 0, capacities[i] + SECTOR);
    }
    crash_source_init(&w->base, &w->base_log, WORLD_FILES, "base", (const uint8_t *)"", 0,
                      DATA_MAX);
    w->base.source.writable = false;
    w->workspace = aligned_alloc(Q2_WORKSPACE_ALIGN, Q2_WORKSPACE_SIZE);
    if (!w->workspace)
        abort();
    memset(w->workspace, 0xa7, Q2_WORKSPACE_SIZE);
}

void world_free(struct world *w)
{
    world_close(w);
    for (uint32_t i = 0; i < WORLD_FILES; i++) {
        crash_source_free(&w->files[i]);
        free(w->durable[i].bytes);
    }
    crash_source_free(&w->base);
    crash_log_free(&w->log);
    free(w->workspace);
}

static void empty_log(struct world *w)
{
    w->log.nb_events = 0;
    w->log.arena_used = 0;
}

void world_settle_all(struct world *w)
{
    empty_log(w);
    for (uint32_t i = 0; i < WORLD_FILES; i++) {
        struct durable *d = &w->durable[i];
        uint64_t size = w->files[i].source.size, longest = d->size > size ? d->size : size;

        memcpy(d->bytes, w->files[i].bytes, longest);
        d->size = size;
    }
}

void world_reset(struct world *w)
{
    world_close(w);
    for (uint32_t i = 0; i < WORLD_FILES; i++)
        crash_source_reset(&w->files[i], (const uint8_t *)"", 0);
    crash_source_reset(&w->base, (const uint8_t *)"", 0);
    w->log.recording = true;
    w->log.fail_calls = 0;
    w->log.fail_at = 0;
    w->log.on_write = evict;
    world_settle_all(w);
}

/* --- power cuts ------------------------------------------------------------------------------ */

/* One event happens to a durable content. length: the bytes of a write that arrive. */
static void apply(struct world *w, const struct crash_event *event, size_t length)
{
    struct durable *d = &w->durable[event->file];

    if (event->call == CRASH_GROW && event->offset > d->size)
        d->size = event->offset;
    if (event->call == CRASH_CUT && event->offset < d->size) {
        memset(d->bytes + event->offset, 0, d->size - event->offset);
        d->size = event->offset;
    }
    if (event->call != CRASH_WRITE || event->offset >= d->size)
        return;
    if (length > d->size - event->offset)
        length = (size_t)(d->size - event->offset);
    memcpy(d->bytes + event->offset, w->log.arena + event->bytes, length);
}

/* Everything of the first nb events that a flush among them covers has happened; those events get
 * call 0. */
static void apply_flushed(struct world *w, size_t nb)
{
    size_t last[WORLD_FILES] = {0};

    for (size_t i = 0; i < nb; i++) {
        if (w->log.events[i].call == CRASH_FLUSH)
            last[w->log.events[i].file] = i + 1;
    }
    for (size_t i = 0; i < nb; i++) {
        struct crash_event *event = &w->log.events[i];

        if (i >= last[event->file])
            continue;
        apply(w, event, event->length);
        event->call = 0;
    }
}

void world_settle(struct world *w)
{
    size_t left = 0;

    apply_flushed(w, w->log.nb_events);
    for (size_t i = 0; i < w->log.nb_events; i++) {
        if (w->log.events[i].call != 0)
            w->log.events[left++] = w->log.events[i];
    }
    w->log.nb_events = left;
    if (left == 0)
        w->log.arena_used = 0;
}

/* Which of the writes in flight arrive: all, none, a prefix, all but one, or any. */
static void apply_some(struct world *w, size_t nb, uint64_t *seed)
{
    uint64_t way = crash_random(seed) % 8, at = crash_random(seed) % (nb + 1);
    bool torn = crash_random(seed) % 4 == 0;

    for (size_t i = 0; i < nb; i++) {
        const struct crash_event *event = &w->log.events[i];
        size_t length = event->length;
        bool arrives = way == 0   ? true
                       : way == 1 ? i != at
                       : way == 2 ? i == at
                       : way <= 4 ? i < at
                                  : crash_random(seed) % 2 == 0;

        if (event->call == 0 || !arrives)
            continue;
        if (torn && event->call == CRASH_WRITE && i + 1 >= at)
            length = crash_random(seed) % (length / SECTOR + 1) * SECTOR;
        apply(w, event, length);
    }
}

void world_cut(struct world *w, size_t nb_events, uint64_t *seed)
{
    apply_flushed(w, nb_events);
    apply_some(w, nb_events, seed);
    for (uint32_t i = 0; i < WORLD_FILES; i++)
        crash_source_reset(&w->files[i], w->durable[i].bytes, w->durable[i].size);
    empty_log(w);
}
