/* Writing internal snapshots.
 *
 * May call core/check/references.c, core/read/snapshot.c, copied_fix.c, alloc.c, refcount_write.c,
 * slice_write.c, store.c, header_change.c, bitmap_write.c, space.c, order.c, and write.c for
 * whether the image may be written. Invariant: whatever the header names is complete and counted,
 * durably, before the header names it (O2, O6); what it named before is given back only after that
 * (O3). The new table or L1 table is stored elsewhere, so one sector decides between before and
 * after.
 */
#include "q2_snapshot.h"

#include "alloc.h"
#include "bitmap_write.h"
#include "order.h"
#include "copied_fix.h"
#include "core/read/disk.h"
#include "q2_bitmap.h"
#include "q2_fail.h"
#include "core/format/header.h"
#include "core/format/snapshot_entry.h"
#include "header_change.h"
#include "core/base/memory.h"
#include "core/base/range.h"
#include "refcount_write.h"
#include "space.h"
#include "store.h"
#include "core/base/text.h"
#include "write.h"
#include "slice_write.h"

/* One call at work. */
struct work {
    struct q2_references references;
    struct q2_disk *disk;
    const char *broken; /* what the walk through the tables met; NULL: nothing */
    enum q2_status broken_status;
    uint64_t broken_at;
    enum q2_status (*each)(struct q2_disk *disk, uint64_t index, uint64_t nb); /* visit_tree()'s */
    uint64_t length;     /* bytes of the snapshot table */
    uint64_t start, end; /* bytes of the table that the chosen entry has; 0: none is chosen yet */
    uint64_t last_id;    /* highest decimal id */
};

/* A run of host clusters for a new table. */
struct run {
    uint64_t offset, length; /* bytes; length 0: none */
};

static struct q2_image *top_of(const struct work *w)
{
    return &w->disk->layers[0];
}

/* A checked image has no such entries: it has changed underneath, or cannot be read. */
static void found(struct q2_references *r, enum q2_check_kind kind, const char *what,
                  uint64_t offset)
{
    struct work *w = (struct work *)r;

    if (w->broken)
        return;
    w->broken = what;
    w->broken_at = offset;
    w->broken_status = kind == Q2_CHECK_UNREADABLE ? r->status : Q2_ERR_BAD_L2;
}

static enum q2_status judge_walk(struct work *w)
{
    if (!w->broken)
        return Q2_OK;
    return q2_fail_at(&w->disk->fault, w->broken_status, w->broken, top_of(w)->source->path,
                      w->broken_at);
}

/* Refuse what has no snapshots; then nothing waits. */
static enum q2_status begin(struct work *w, struct q2_disk *disk)
{
    const struct q2_image *top = &disk->layers[0];
    enum q2_status status = q2_write_allowed(disk, 0, 0);

    *w = (struct work){.references = {.found = found}, .disk = disk};
    if (status != Q2_OK)
        return status;
    if (top->format != Q2_FORMAT_QCOW2)
        return q2_fail(&disk->fault, Q2_ERR_UNSUPPORTED, "a raw image has no snapshots",
                       top->source->path);
    if (top->rules.external_data)
        return q2_fail(&disk->fault, Q2_ERR_UNSUPPORTED,
                       "an image with an external data file cannot have snapshots",
                       top->source->path);
    disk->writer.packed_end = 0; /* its cluster is going to be shared, or may go */
    status = q2_commit(disk);
    q2_references_start(&w->references, disk);
    return status;
}

/* --- references of a whole tree ------------------------------------------------------------- */

/* Call w->each() for each host cluster that an L1 table leads to, with how often it does. */
static enum q2_status visit_tree(struct work *w, uint64_t l1_offset, uint32_t l1_size)
{
    struct q2_references *r = &w->references;
    enum q2_status status = Q2_OK;

    for (uint64_t first = 0; first < r->nb_clusters && status == Q2_OK;
         first += Q2_REFERENCES_WINDOW) {
        uint64_t end = q2_min_u64(r->nb_clusters, first + Q2_REFERENCES_WINDOW);

        q2_references_window(r, first);
        q2_references_tree(r, l1_offset, l1_size, false);
        status = judge_walk(w);
        for (uint64_t index = first; index < end && status == Q2_OK; index++) {
            if (q2_references_of(r, index) > 0)
                status = w->each(w->disk, index, q2_references_of(r, index));
        }
    }
    q2_disk_reset_decoded(w->disk);
    return status;
}

static enum q2_status failed_at(struct q2_disk *disk, enum q2_status status, uint64_t index)
{
    const struct q2_image *top = &disk->layers[0];

    return q2_fail_at(&disk->fault, status, "a refcount cannot be changed", top->source->path,
                      index << top->rules.cluster_bits);
}

static enum q2_status check_room(struct q2_disk *disk, uint64_t index, uint64_t nb)
{
    const struct q2_image *top = &disk->layers[0];
    uint64_t most = q2_refcount_max(top), refcount;
    enum q2_status status = q2_refcount_get(&disk->slices, top, index, &refcount);

    if (status != Q2_OK)
        return failed_at(disk, status, index);
    if (refcount > most - q2_min_u64(nb, most) || nb > most)
        return q2_fail_limit(&disk->fault, Q2_ERR_UNSUPPORTED,
                             "the refcounts are too narrow for one more snapshot",
                             top->source->path, "refcount", refcount, most);
    return Q2_OK;
}

/* Nothing names the new references yet: they may be written at any time. */
static enum q2_status raise(struct q2_disk *disk, uint64_t index, uint64_t nb)
{
    const struct q2_image *top = &disk->layers[0];
    uint64_t refcount;
    enum q2_status status = Q2_OK;

    if (q2_slice_is_crowded(&disk->slices))
        status = q2_commit_kind(disk, Q2_DIRTY_REFCOUNT);
    if (status != Q2_OK)
        return status;
    status = q2_refcount_get(&disk->slices, top, index, &refcount);
    if (status == Q2_OK)
        status = q2_refcount_put(&disk->slices, top, index, refcount + nb);
    return status == Q2_OK ? Q2_OK : failed_at(disk, status, index);
}

static enum q2_status lower(struct q2_disk *disk, uint64_t index, uint64_t nb)
{
    enum q2_status status = Q2_OK;

    if (q2_slice_is_crowded(&disk->slices))
        status = q2_commit_kind(disk, Q2_DIRTY_REFCOUNT);
    if (status != Q2_OK)
        return status;
    status = q2_refcount_lower(disk, index, nb);
    return status == Q2_OK ? Q2_OK : failed_at(disk, status, index);
}

/* --- tables ----------------------------------------------------------------------------------- */

/* Room for length bytes in a row. */
static enum q2_status get_run(struct work *w, uint64_t length, struct run *ret_run)
{
    uint64_t nb = q2_shift_up(length, top_of(w)->rules.cluster_bits);
    enum q2_status status = Q2_OK;

    *ret_run = (struct run){0, 0};
    if (nb > 0)
        status = q2_clusters_alloc_row(w->disk, nb, &ret_run->offset);
    if (nb > 0 && status == Q2_OK)
        ret_run->length = nb << top_of(w)->rules.cluster_bits;
    return status;
}

/* Named by nobody, or no more. */
static void give_back(struct work *w, const struct run *run)
{
    if (run->length > 0)
        q2_clusters_free_later(w->disk, run->offset, run->length);
}

/* Copy an L1 table; its L2 tables are going to be shared. */
static enum q2_status copy_l1(struct work *w, uint64_t from, uint32_t l1_size, struct run *ret_run)
{
    enum q2_status status = get_run(w, l1_size * 8ull, ret_run);

    return status == Q2_OK ? q2_store_copy(w->disk, from, ret_run->offset, l1_size * 8ull, 8)
                           : status;
}

/* Have the header name another snapshot table, and let the old one go. */
static enum q2_status switch_table(struct work *w, uint64_t offset, uint32_t nb_snapshots)
{
    struct q2_header header = top_of(w)->header;
    struct run old = {header.snapshots_offset, w->length};
    enum q2_status status;

    header.nb_snapshots = nb_snapshots;
    header.snapshots_offset = offset;
    status = q2_header_set(w->disk, &header, Q2_HEADER_FIELDS(nb_snapshots, snapshots_offset));
    if (status != Q2_OK)
        return status;
    w->disk->listing = (struct q2_snapshot_cursor){0};
    give_back(w, &old);
    return Q2_OK;
}

/* --- the snapshot table ----------------------------------------------------------------------- */

/* The number that an id begins with; 0 if it begins with something else. */
static uint64_t id_number(const char *id)
{
    uint64_t number = 0;

    for (; *id >= '0' && *id <= '9'; id++) {
        uint64_t digit = (uint64_t)(*id - '0');
        number = number > (UINT64_MAX - digit) / 10 ? UINT64_MAX : number * 10 + digit;
    }
    return number;
}

static bool matches(const struct q2_snapshot *snapshot, bool by_id, const char *wanted)
{
    return wanted && q2_text_equal(by_id ? snapshot->id : snapshot->name, wanted);
}

/* Walk the table: its length, its highest id, and, if wanted is not NULL, the first entry with this
 * id or name, which is read into disk->snapshot. */
static enum q2_status walk_table(struct work *w, const char *wanted, bool by_id)
{
    struct q2_disk *disk = w->disk;
    const struct q2_image *top = top_of(w);
    struct q2_snapshot *snapshot = &disk->snapshot;
    struct q2_snapshot_walk walk = {0};

    for (uint32_t i = 0; i < top->header.nb_snapshots; i++) {
        uint64_t start = walk.offset;
        enum q2_status status = q2_snapshot_next(&disk->slices, top, &walk, &disk->fault, snapshot);

        if (status != Q2_OK)
            return status;
        if (id_number(snapshot->id) > w->last_id)
            w->last_id = id_number(snapshot->id);
        if (w->end == 0 && matches(snapshot, by_id, wanted)) {
            w->start = start;
            w->end = walk.offset;
        }
    }
    w->length = walk.offset;
    if (w->end == 0)
        return wanted ? Q2_ERR_NO_SNAPSHOT : Q2_OK;
    walk.offset = w->start;
    return q2_snapshot_next(&disk->slices, top, &walk, &disk->fault, snapshot);
}

/* Find an entry; its L1 table is fit to be walked. */
static enum q2_status find(struct work *w, const char *id_or_name)
{
    struct q2_disk *disk = w->disk;
    enum q2_status status = walk_table(w, id_or_name, true);

    if (status == Q2_ERR_NO_SNAPSHOT)
        status = walk_table(w, id_or_name, false);
    if (status == Q2_ERR_NO_SNAPSHOT)
        return q2_fail(&disk->fault, status, NULL, top_of(w)->source->path);
    if (status != Q2_OK)
        return status;
    return q2_image_check_snapshot(top_of(w), &disk->snapshot, &disk->fault);
}

/* A new entry at its longest: fixed part, extra data, a decimal id, a name, padding. */
struct entry {
    struct q2_snapshot_disk fixed;
    struct q2_snapshot_extra_disk extra;
    char strings[20 + Q2_MAX_SNAPSHOT_NAME + 7];
};

static size_t put_number(char *to, uint64_t number)
{
    uint64_t unit = 1;
    size_t length = 0;

    while (number / unit >= 10)
        unit *= 10;
    for (; unit > 0; unit /= 10)
        to[length++] = (char)('0' + number / unit % 10);
    return length;
}

/* Returns its bytes. vm_state_size and icount are 0, as QEMU writes them for a disk that no machine
 * runs on. */
static size_t compose(const struct work *w, struct entry *entry, const char *name, uint32_t date[2])
{
    size_t name_length = q2_text_length(name), id_length;

    memset(entry, 0, sizeof(*entry));
    id_length = put_number(entry->strings, w->last_id + 1);
    memcpy(entry->strings + id_length, name, name_length);
    entry->fixed.l1_size = q2_be32_make(top_of(w)->l1_size);
    entry->fixed.id_size = q2_be16_make((uint16_t)id_length);
    entry->fixed.name_size = q2_be16_make((uint16_t)name_length);
    entry->fixed.date_sec = q2_be32_make(date[0]);
    entry->fixed.date_nsec = q2_be32_make(date[1]);
    entry->fixed.extra_data_size = q2_be32_make(sizeof(entry->extra));
    entry->extra.virtual_size = q2_be64_make(top_of(w)->virtual_size);
    return (offsetof(struct entry, strings) + id_length + name_length + 7) & ~(size_t)7;
}

/* --- create ----------------------------------------------------------------------------------- */

static enum q2_status check_create(struct work *w, const char *name)
{
    struct q2_disk *disk = w->disk;
    const char *path = top_of(w)->source->path;
    enum q2_status status;

    if (!name || q2_text_length(name) > Q2_MAX_SNAPSHOT_NAME)
        return q2_fail(&disk->fault, Q2_ERR_ARGUMENT, "the snapshot's name is too long", path);
    if (top_of(w)->header.nb_snapshots >= Q2_MAX_SNAPSHOTS)
        return q2_fail_limit(&disk->fault, Q2_ERR_LIMIT, "there are too many snapshots", path,
                             "nb_snapshots", top_of(w)->header.nb_snapshots, Q2_MAX_SNAPSHOTS);
    status = walk_table(w, NULL, true);
    if (status != Q2_OK)
        return status;
    if (w->last_id == UINT64_MAX || w->length > Q2_MAX_SNAPSHOT_TABLE_SIZE - sizeof(struct entry))
        return q2_fail(&disk->fault, Q2_ERR_LIMIT, "no room for one more snapshot in the table",
                       path);
    w->each = check_room;
    return visit_tree(w, top_of(w)->l1_table_offset, top_of(w)->l1_size);
}

/* Copy entries of the old table. The file may end inside the padding after the last one, as QEMU's
 * files do: that is zeros. */
static enum q2_status copy_entries(struct work *w, uint64_t from, uint64_t to, uint64_t length)
{
    struct q2_source *source = top_of(w)->source;
    uint64_t held = from < source->size ? q2_min_u64(length, source->size - from) : 0;
    enum q2_status status = q2_store_copy(w->disk, from, to, held, 0);

    if (status == Q2_OK && held < length)
        status = q2_store_zero(w->disk, source, to + held, length - held);
    return status;
}

/* The new snapshot's L1 table, and the snapshot table with an entry for it. */
static enum q2_status make_tables(struct work *w, struct entry *entry, size_t entry_length,
                                  struct run *l1, struct run *table)
{
    const struct q2_image *top = top_of(w);
    enum q2_status status = copy_l1(w, top->l1_table_offset, top->l1_size, l1);

    entry->fixed.l1_table_offset = q2_be64_make(l1->offset);
    if (status == Q2_OK)
        status = get_run(w, w->length + entry_length, table);
    if (status == Q2_OK)
        status = copy_entries(w, top->header.snapshots_offset, table->offset, w->length);
    if (status == Q2_OK)
        status =
            q2_store_write(w->disk, top->source, table->offset + w->length, entry, entry_length);
    return status;
}

/* The active state's clusters are going to be shared: no flag may say otherwise by the time that
 * anybody could write in place; then one more reference to each (O2). */
static enum q2_status share(struct work *w, uint64_t l1_offset, uint32_t l1_size)
{
    enum q2_status status = q2_copied_fix(&w->references, l1_offset, l1_size, Q2_COPIED_CLEAR);

    if (status == Q2_OK)
        status = q2_commit(w->disk);
    w->each = raise;
    return status == Q2_OK ? visit_tree(w, l1_offset, l1_size) : status; /* judges both walks */
}

enum q2_status q2_disk_snapshot_create(struct q2_disk *disk, const char *name, uint32_t date_sec,
                                       uint32_t date_nsec)
{
    uint32_t date[2] = {date_sec, date_nsec};
    struct run l1 = {0, 0}, table = {0, 0};
    struct work w;
    struct entry entry;
    enum q2_status status = begin(&w, disk);

    if (status == Q2_OK)
        status = check_create(&w, name);
    if (status == Q2_OK)
        status = q2_commit_names(disk);
    if (status != Q2_OK)
        return status;
    status = make_tables(&w, &entry, compose(&w, &entry, name, date), &l1, &table);
    if (status == Q2_OK)
        status = share(&w, disk->layers[0].l1_table_offset, disk->layers[0].l1_size);
    if (status == Q2_OK)
        status = switch_table(&w, table.offset, disk->layers[0].header.nb_snapshots + 1);
    if (status != Q2_OK) {
        give_back(&w, &l1);
        give_back(&w, &table);
        return status;
    }
    return q2_commit(disk);
}

/* --- apply ------------------------------------------------------------------------------------ */

static enum q2_status check_apply(struct work *w, const char *id_or_name)
{
    struct q2_disk *disk = w->disk;
    const struct q2_image *top = top_of(w);
    enum q2_status status = find(w, id_or_name);

    if (status != Q2_OK)
        return status;
    if (disk->writer.keep_bitmaps && q2_disk_has_bitmaps(disk))
        return q2_fail(&disk->fault, Q2_ERR_BUSY,
                       "dirty bitmaps cannot follow a snapshot that is applied; remove them first",
                       top->source->path);
    if (disk->snapshot.virtual_size != top->header.size && !top->rules.version_3)
        return q2_fail_limit(&disk->fault, Q2_ERR_UNSUPPORTED,
                             "a version 2 image with snapshots cannot change its size",
                             top->source->path, "size", disk->snapshot.virtual_size,
                             top->header.size);
    w->each = check_room;
    return visit_tree(w, disk->snapshot.l1_table_offset, disk->snapshot.l1_size);
}

/* Have the header name the active state's new L1 table, and its size. crypt_method, which is stored
 * between them, keeps its value. */
static enum q2_status switch_l1(struct work *w, uint64_t l1_offset)
{
    struct q2_image *top = top_of(w);
    const struct q2_snapshot *snapshot = &w->disk->snapshot;
    struct q2_header header = top->header;
    enum q2_status status;

    header.size = snapshot->virtual_size;
    header.l1_size = snapshot->l1_size;
    header.l1_table_offset = l1_offset;
    status = q2_header_set(w->disk, &header, Q2_HEADER_FIELDS(size, l1_table_offset));
    if (status != Q2_OK)
        return status;
    top->virtual_size = snapshot->virtual_size;
    top->l1_size = snapshot->l1_size;
    top->l1_table_offset = l1_offset;
    q2_slice_cache_expire(&w->disk->slices);
    return Q2_OK;
}

/* Give back what an L1 table leads to, and the table itself. */
static enum q2_status release_tree(struct work *w, uint64_t l1_offset, uint32_t l1_size)
{
    struct run l1 = {l1_offset, l1_size * 8ull};
    enum q2_status status;

    w->each = lower;
    status = visit_tree(w, l1_offset, l1_size);
    if (status != Q2_OK)
        return status;
    give_back(w, &l1);
    return q2_commit(w->disk);
}

enum q2_status q2_disk_snapshot_apply(struct q2_disk *disk, const char *id_or_name)
{
    struct run l1 = {0, 0};
    struct work w;
    uint64_t old_offset = disk->layers[0].l1_table_offset;
    uint32_t old_size = disk->layers[0].l1_size;
    bool bitmaps_kept;
    enum q2_status status = begin(&w, disk);

    if (status == Q2_OK)
        status = check_apply(&w, id_or_name);
    if (status == Q2_OK)
        status = disk->writer.keep_bitmaps ? q2_commit_names(disk) : q2_commit_header(disk);
    if (status != Q2_OK)
        return status;
    status = q2_bitmaps_distrust(disk, Q2_BITMAPS_ALL, &bitmaps_kept);
    if (status == Q2_OK)
        status = copy_l1(&w, disk->snapshot.l1_table_offset, disk->snapshot.l1_size, &l1);
    if (status == Q2_OK)
        status = share(&w, disk->snapshot.l1_table_offset, disk->snapshot.l1_size);
    if (status == Q2_OK)
        status = switch_l1(&w, l1.offset);
    if (status != Q2_OK) {
        give_back(&w, &l1);
        return status;
    }
    status = release_tree(&w, old_offset, old_size);
    return status == Q2_OK ? q2_space_give_back(disk) : status;
}

/* --- delete ----------------------------------------------------------------------------------- */

/* The table without the chosen entry. */
static enum q2_status make_shorter_table(struct work *w, struct run *table)
{
    uint64_t old = top_of(w)->header.snapshots_offset;
    uint64_t length = w->length - (w->end - w->start);
    enum q2_status status = get_run(w, length, table);

    if (status == Q2_OK)
        status = copy_entries(w, old, table->offset, w->start);
    if (status == Q2_OK)
        status = copy_entries(w, old + w->end, table->offset + w->start, length - w->start);
    return status;
}

/* Set COPIED again on clusters that have a single reference now. */
static enum q2_status set_flags(struct work *w)
{
    enum q2_status status = q2_copied_fix(&w->references, top_of(w)->l1_table_offset,
                                          top_of(w)->l1_size, Q2_COPIED_SET);

    if (status == Q2_OK)
        status = judge_walk(w);
    return status == Q2_OK ? q2_commit(w->disk) : status;
}

enum q2_status q2_disk_snapshot_delete(struct q2_disk *disk, const char *id_or_name)
{
    struct run table = {0, 0};
    struct work w;
    enum q2_status status = begin(&w, disk);

    if (status == Q2_OK)
        status = find(&w, id_or_name);
    if (status == Q2_OK)
        status = q2_commit_names(disk);
    if (status != Q2_OK)
        return status;
    status = make_shorter_table(&w, &table);
    if (status == Q2_OK)
        status = switch_table(&w, table.offset, disk->layers[0].header.nb_snapshots - 1);
    if (status != Q2_OK) {
        give_back(&w, &table);
        return status;
    }
    status = release_tree(&w, disk->snapshot.l1_table_offset, disk->snapshot.l1_size);
    if (status == Q2_OK)
        status = set_flags(&w);
    return status == Q2_OK ? q2_space_give_back(disk) : status;
}
