/* Changing the header of an image that lives.
 *
 * May call core/format/header_write.c, order.c and store.c. A device writes sectors of 512 bytes
 * whole and in any order, so a change must become true by the write of one sector. What the header
 * in force does not read may be written beforehand; the first sector then switches to it. Where old
 * and new want the same sectors, the header takes a detour: a middle layout puts everything after
 * the two, hidden until the first sector says so by an extension that spans what is stored between.
 * Invariant: between two flushes either sectors change that nobody reads, or one sector does.
 */
#include "header_change.h"

#include "order.h"
#include "q2_fail.h"
#include "core/format/extension.h"
#include "core/format/header.h"
#include "core/format/header_write.h"
#include "core/base/memory.h"
#include "core/base/range.h"
#include "core/base/text.h"
#include "store.h"

#define SECTOR 512u

/* How much of the first cluster is looked at. QEMU's headers take less than 2 KiB. */
#define AREA_SIZE (64u * 1024)
_Static_assert(3 * AREA_SIZE <= Q2_BOUNCE_SIZE, "old, middle and new header in the bounce buffer");

/* A header cluster, in force or to be. */
struct layout {
    uint8_t *bytes;
    size_t head_end;             /* header and extensions are [0, head_end) .. */
    size_t tail_start, tail_end; /* .. and what is apart from them is here */
    bool full;                   /* it does not fit */
};

struct change {
    struct q2_disk *disk;
    const struct q2_header_names *names;
    const struct q2_bitmaps_disk *bitmaps; /* NULL: the extension stays as it is */
    const struct q2_header *header;        /* of the other version; NULL: it stays as it is */
    size_t size;                           /* of the area, bytes */
    bool only_judge;                       /* nothing is written */
};

static enum q2_status no_room(const struct change *c, const char *what)
{
    const struct q2_image *top = &c->disk->layers[0];

    return q2_fail_limit(&c->disk->fault, Q2_ERR_LIMIT, what, top->source->path, "cluster_size",
                         1ull << top->rules.cluster_bits, c->size);
}

/* --- layouts -------------------------------------------------------------------------------- */

/* The extension at *offset, which is after it then; false at the end of the list. The list was
 * checked at open. */
static bool next_extension(const uint8_t *bytes, size_t end, size_t *offset, uint32_t *ret_type,
                           uint32_t *ret_length)
{
    struct q2_extension_disk head;

    if (!q2_range_fits(*offset, sizeof(head), end))
        return false;
    memcpy(&head, bytes + *offset, sizeof(head));
    *ret_type = q2_be32_get(head.type);
    *ret_length = q2_be32_get(head.length);
    *offset += sizeof(head);
    if (*ret_type == Q2_EXTENSION_END || !q2_range_fits(*offset, *ret_length, end))
        return false;
    *offset += (size_t)q2_shift_up(*ret_length, 3) << 3;
    return true;
}

/* Where the list of extensions must end. */
static size_t extensions_bound(const struct change *c)
{
    const struct q2_header *header = &c->disk->layers[0].header;

    if (header->backing_file_offset == 0)
        return c->size;
    return (size_t)q2_min_u64(header->backing_file_offset, c->size);
}

/* Read what is in force. */
static enum q2_status load(const struct change *c, struct layout *old)
{
    struct q2_disk *disk = c->disk;
    const struct q2_header *header = &disk->layers[0].header;
    struct q2_source *source = disk->layers[0].source;
    size_t end = extensions_bound(c), offset = header->header_length;
    uint32_t type = Q2_EXTENSION_END, length;
    enum q2_status status = q2_slice_read(&disk->slices, source, 0, old->bytes, c->size);

    if (status != Q2_OK)
        return q2_fail(&disk->fault, status, "the header cannot be read", source->path);
    while (next_extension(old->bytes, end, &offset, &type, &length))
        type = Q2_EXTENSION_END;
    /* An extension that leaves the area, or a list that does. */
    if (type != Q2_EXTENSION_END || (c->size == AREA_SIZE && offset > c->size - SECTOR))
        return no_room(c, "the header is too long to change");
    old->head_end = offset < c->size ? offset : c->size;
    if (header->backing_file_offset != 0) {
        old->tail_start = (size_t)q2_min_u64(header->backing_file_offset, c->size);
        old->tail_end =
            (size_t)q2_min_u64(header->backing_file_offset + header->backing_file_size, c->size);
    }
    return Q2_OK;
}

/* Is an extension composed anew, or left out? Version 2 has no feature bits, whose names are
 * written anew in version 3; and no autoclear bit that could say whether to believe a list of
 * bitmaps. */
static bool is_replaced(const struct change *c, uint32_t type)
{
    return type == Q2_EXTENSION_BACKING_FORMAT || type == Q2_EXTENSION_DATA_FILE ||
           type == Q2_EXTENSION_FILLER ||
           (type == Q2_EXTENSION_BITMAPS && (c->bitmaps || c->header)) ||
           (type == Q2_EXTENSION_FEATURE_NAMES && c->header);
}

/* Copy the extensions that stay as they are. */
static void copy_extensions(const struct change *c, const uint8_t *old, bool feature_names,
                            struct q2_header_bytes *to)
{
    size_t offset = c->disk->layers[0].header.header_length, end = extensions_bound(c);
    size_t start = offset + sizeof(struct q2_extension_disk);
    uint32_t type, length;

    while (next_extension(old, end, &offset, &type, &length)) {
        if (!is_replaced(c, type) && (type != Q2_EXTENSION_FEATURE_NAMES || feature_names))
            q2_header_bytes_extension(to, type, old + start, length);
        start = offset + sizeof(struct q2_extension_disk);
    }
}

static bool names_bitmaps(const struct change *c)
{
    return q2_be32_get(c->bitmaps->nb_bitmaps) > 0;
}

/* The autoclear bit says whether the extension is to be believed. */
static void put_bitmaps_bit(const struct change *c, uint8_t *bytes)
{
    uint64_t features = c->disk->layers[0].header.autoclear_features & ~Q2_AUTOCLEAR_BITMAPS;
    be64 field;

    if (!c->bitmaps)
        return;
    field = q2_be64_make(features | (names_bitmaps(c) ? Q2_AUTOCLEAR_BITMAPS : 0));
    memcpy(bytes + offsetof(struct q2_header_disk, autoclear_features), &field, sizeof(field));
}

/* The header itself; returns its bytes. */
static size_t put_header(const struct change *c, const uint8_t *old, uint8_t *bytes)
{
    static const uint8_t zeros[12];
    size_t length = c->disk->layers[0].header.header_length;
    struct q2_header_disk disk;

    if (c->header) {
        length = c->header->header_length;
        q2_header_encode(c->header, &disk);
        memcpy(bytes, &disk, length);
    } else {
        memcpy(bytes, old, length); /* with the fields that nobody knows */
    }
    memcpy(bytes + offsetof(struct q2_header_disk, backing_file_offset), zeros, sizeof(zeros));
    put_bitmaps_bit(c, bytes);
    return length;
}

/* Put a header together: in one piece, or (at > 0) with everything after the header itself moved
 * to offset `at`. */
static void compose(const struct change *c, const uint8_t *old, bool feature_names, size_t at,
                    struct layout *layout)
{
    struct q2_header_bytes to = {.bytes = layout->bytes, .size = c->size};
    size_t header_length;

    memset(layout->bytes, 0, c->size);
    header_length = put_header(c, old, layout->bytes);
    to.length = header_length;
    layout->head_end = 0;
    layout->tail_start = at;
    if (at > 0) {
        uint32_t length = (uint32_t)(at - header_length - sizeof(struct q2_extension_disk));
        struct q2_extension_disk filler = {q2_be32_make(Q2_EXTENSION_FILLER), q2_be32_make(length)};
        memcpy(layout->bytes + header_length, &filler, sizeof(filler));
        layout->head_end = header_length + sizeof(filler);
        to.length = at;
    }
    q2_header_bytes_string(&to, Q2_EXTENSION_BACKING_FORMAT, c->names->backing_format);
    q2_header_bytes_string(&to, Q2_EXTENSION_DATA_FILE, c->names->data_file);
    copy_extensions(c, old, feature_names, &to);
    if (c->bitmaps && names_bitmaps(c))
        q2_header_bytes_extension(&to, Q2_EXTENSION_BITMAPS, c->bitmaps, sizeof(*c->bitmaps));
    if (c->header && c->header->version == 3 && feature_names)
        q2_header_bytes_features(&to, q2_text_length(c->names->backing_file) +
                                          sizeof(struct q2_extension_disk));
    q2_header_bytes_end(&to, c->names->backing_file);
    layout->tail_end = at > 0 ? to.length : 0;
    if (at == 0)
        layout->head_end = to.length;
    layout->full = to.full;
}

static size_t layout_end(const struct layout *layout)
{
    return layout->head_end > layout->tail_end ? layout->head_end : layout->tail_end;
}

/* --- from one to the next ------------------------------------------------------------------- */

/* Does a layout read anything of a sector? */
static bool reads(const struct layout *layout, size_t sector)
{
    return q2_ranges_overlap(sector * SECTOR, SECTOR, 0, layout->head_end) ||
           q2_ranges_overlap(sector * SECTOR, SECTOR, layout->tail_start,
                             layout->tail_end - layout->tail_start);
}

/* Must a sector be written to get from one layout to another? */
static bool differs(const struct layout *from, const struct layout *to, size_t sector)
{
    return reads(to, sector) &&
           memcmp(from->bytes + sector * SECTOR, to->bytes + sector * SECTOR, SECTOR) != 0;
}

/* Can it be done in two steps: what nobody reads, then one sector? */
static bool can_switch(const struct layout *from, const struct layout *to)
{
    size_t nb_in_use = 0;

    for (size_t i = 0; i * SECTOR < layout_end(to); i++)
        nb_in_use += differs(from, to, i) && reads(from, i);
    return !to->full && nb_in_use <= 1;
}

/* Write the sectors that differ, of those that the old layout reads or of the others. */
static enum q2_status write_sectors(const struct change *c, const struct layout *from,
                                    const struct layout *to, bool in_use)
{
    struct q2_source *source = c->disk->layers[0].source;
    bool written = false;

    for (size_t i = 0; i * SECTOR < layout_end(to); i++) {
        enum q2_status status;

        if (!differs(from, to, i) || reads(from, i) != in_use)
            continue;
        status = q2_store_write(c->disk, source, i * SECTOR, to->bytes + i * SECTOR, SECTOR);
        if (status != Q2_OK)
            return status;
        written = true;
    }
    return written ? q2_store_flush(c->disk, source) : Q2_OK;
}

static enum q2_status switch_to(const struct change *c, const struct layout *from,
                                const struct layout *to)
{
    enum q2_status status = write_sectors(c, from, to, false);

    if (status == Q2_OK)
        status = write_sectors(c, from, to, true);
    if (status == Q2_OK)
        return Q2_OK;
    return q2_store_latch(c->disk, status, "the header cannot be written");
}

/* Sectors that a layout does not read stay as the file has them. */
static void keep_rest(const struct change *c, const struct layout *from, struct layout *to)
{
    for (size_t i = 0; i * SECTOR < c->size; i++) {
        if (!reads(to, i))
            memcpy(to->bytes + i * SECTOR, from->bytes + i * SECTOR, SECTOR);
    }
}

/* A layout between the two that shares no sector with either but the first: after both of them, or
 * inside the first sector, without the names of the feature bits. */
static bool find_middle(const struct change *c, const struct layout *old, const struct layout *new,
                        struct layout *middle)
{
    size_t end = layout_end(old) > layout_end(new) ? layout_end(old) : layout_end(new);
    size_t at = (size_t)q2_shift_up(end, 9) << 9;

    if (at < c->size) {
        compose(c, old->bytes, true, at, middle);
        keep_rest(c, old, middle);
        if (can_switch(old, middle) && can_switch(middle, new))
            return true;
    }
    compose(c, old->bytes, false, 0, middle);
    keep_rest(c, old, middle);
    return can_switch(old, middle) && can_switch(middle, new);
}

static enum q2_status rewrite(const struct change *c, struct layout *old, struct layout *middle,
                              struct layout *new)
{
    enum q2_status status;

    compose(c, old->bytes, true, 0, new);
    if (new->full)
        compose(c, old->bytes, false, 0, new);
    if (new->full)
        return no_room(c, c->header ? "a header of the other version does not fit into the first "
                                      "cluster"
                                    : "the names do not fit into the first cluster");
    if (can_switch(old, new))
        return c->only_judge ? Q2_OK : switch_to(c, old, new);
    if (!find_middle(c, old, new, middle))
        return no_room(c, "the first cluster has no room to change the header safely");
    if (c->only_judge)
        return Q2_OK;
    status = switch_to(c, old, middle);
    return status == Q2_OK ? switch_to(c, middle, new) : status;
}

/* --- the image in memory -------------------------------------------------------------------- */

static void take_name(char *to, size_t size, const char *name)
{
    size_t i = 0;

    for (; i < size - 1 && name[i] != '\0'; i++)
        to[i] = name[i];
    to[i] = '\0';
}

/* What the disk has opened stays, so a layer below does, even if it has no name any more. */
static void take_names(const struct change *c, const struct layout *now)
{
    struct q2_image *top = &c->disk->layers[0];
    struct q2_header_disk header;

    memcpy(&header, now->bytes, Q2_HEADER_V2_LENGTH);
    top->header.backing_file_offset = q2_be64_get(header.backing_file_offset);
    top->header.backing_file_size = q2_be32_get(header.backing_file_size);
    top->has_backing =
        c->names->backing_file[0] != '\0' || (top->has_backing && !c->disk->metadata_only);
    top->has_data_file_name = c->names->data_file[0] != '\0';
    if (c->names->backing_file != top->backing_file)
        take_name(top->backing_file, sizeof(top->backing_file), c->names->backing_file);
    if (c->names->backing_format != top->backing_format)
        take_name(top->backing_format, sizeof(top->backing_format), c->names->backing_format);
    if (c->names->data_file != top->data_file)
        take_name(top->data_file, sizeof(top->data_file), c->names->data_file);
}

/* what  names, and bitmaps or header if they change; the rest is filled in here */
static enum q2_status change_header(struct q2_disk *disk, const struct change *what,
                                    bool only_judge)
{
    uint8_t *memory = disk->writer.bounce;
    uint64_t cluster_size = 1ull << disk->layers[0].rules.cluster_bits;
    struct change c = {.disk = disk,
                       .names = what->names,
                       .bitmaps = what->bitmaps,
                       .header = what->header,
                       .only_judge = only_judge,
                       .size = (size_t)q2_min_u64(cluster_size, AREA_SIZE)};
    struct layout old = {.bytes = memory}, middle = {.bytes = memory + AREA_SIZE};
    struct layout new = {.bytes = memory + 2 * AREA_SIZE};
    enum q2_status status;

    if (disk->layers[0].header.header_length > c.size)
        return no_room(&c, "the header is too long to change");
    status = load(&c, &old);
    if (status == Q2_OK)
        status = rewrite(&c, &old, &middle, &new);
    if (status == Q2_OK && !only_judge)
        take_names(&c, &new);
    return status;
}

enum q2_status q2_header_change(struct q2_disk *disk, const struct q2_header_names *names)
{
    return change_header(disk, &(struct change){.names = names}, false);
}

enum q2_status q2_header_can_change(struct q2_disk *disk, const struct q2_header_names *names)
{
    return change_header(disk, &(struct change){.names = names}, true);
}

static struct q2_header_names names_of(const struct q2_image *image)
{
    return (struct q2_header_names){image->backing_file, image->backing_format, image->data_file};
}

enum q2_status q2_header_can_name_bitmaps(struct q2_disk *disk)
{
    const struct q2_header_names names = names_of(&disk->layers[0]);
    const struct q2_bitmaps_disk bitmaps = {.nb_bitmaps = q2_be32_make(1)};

    return change_header(disk, &(struct change){.names = &names, .bitmaps = &bitmaps}, true);
}

enum q2_status q2_header_set_bitmaps(struct q2_disk *disk, uint64_t offset, uint64_t length,
                                     uint32_t nb)
{
    struct q2_image *top = &disk->layers[0];
    const struct q2_header_names names = names_of(top);
    const struct q2_bitmaps_disk bitmaps = {.nb_bitmaps = q2_be32_make(nb),
                                            .directory_size = q2_be64_make(length),
                                            .directory_offset = q2_be64_make(offset)};
    enum q2_status status =
        change_header(disk, &(struct change){.names = &names, .bitmaps = &bitmaps}, false);

    if (status != Q2_OK)
        return status;
    top->header.autoclear_features &= ~Q2_AUTOCLEAR_BITMAPS;
    if (nb > 0)
        top->header.autoclear_features |= Q2_AUTOCLEAR_BITMAPS;
    top->nb_bitmaps = nb;
    top->bitmaps_offset = nb > 0 ? offset : 0;
    top->bitmaps_length = nb > 0 ? length : 0;
    return Q2_OK;
}

/* The header in the other version: no feature bits, and what their absence means. */
static struct q2_header header_in_version(const struct q2_header *now, uint32_t version)
{
    struct q2_header header = *now;

    header.version = version;
    header.incompatible_features = header.compatible_features = header.autoclear_features = 0;
    header.refcount_order = 4;
    header.compression_type = Q2_COMPRESSION_ZLIB;
    header.header_length = version == 2 ? Q2_HEADER_V2_LENGTH : sizeof(struct q2_header_disk);
    return header;
}

enum q2_status q2_header_can_set_version(struct q2_disk *disk, uint32_t version)
{
    const struct q2_header_names names = names_of(&disk->layers[0]);
    const struct q2_header header = header_in_version(&disk->layers[0].header, version);

    return change_header(disk, &(struct change){.names = &names, .header = &header}, true);
}

enum q2_status q2_header_set_version(struct q2_disk *disk, uint32_t version)
{
    struct q2_image *top = &disk->layers[0];
    const struct q2_header_names names = names_of(top);
    struct q2_header header = header_in_version(&top->header, version);
    enum q2_status status =
        change_header(disk, &(struct change){.names = &names, .header = &header}, false);

    if (status != Q2_OK)
        return status;
    header.backing_file_offset = top->header.backing_file_offset; /* where the name is now */
    top->header = header;
    top->rules.version_3 = version == 3;
    return Q2_OK;
}

enum q2_status q2_header_set(struct q2_disk *disk, const struct q2_header *header, size_t offset,
                             size_t length)
{
    struct q2_image *top = &disk->layers[0];
    enum q2_status status = q2_commit(disk); /* O2, O5, O6 */

    if (status != Q2_OK)
        return status;
    status = q2_store_header(disk, header, offset, length);
    if (status != Q2_OK)
        return q2_store_latch(disk, status, "the header cannot be written");
    status = q2_store_flush(disk, top->source);
    if (status == Q2_OK)
        top->header = *header;
    return status;
}
