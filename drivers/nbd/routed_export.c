/* The part of a disk that goes through the server, as an NBD export (routed_export.h).
 *
 * May call core/handoff/routes.c and another export. Invariants: the disk is asked for a change
 * only where every byte goes through the server; it is not asked to move or to free what goes
 * straight by a table that was announced.
 */
#include "routed_export.h"

#include <string.h>

#include "protocol.h"

static struct nbd_routed_export *routed_of(struct nbd_export *export)
{
    return (struct nbd_routed_export *)export;
}

/* A range of the export from its start on: a part in a margin, or a part of the disk. */
struct part {
    uint64_t disk_offset, length;
    bool margin;
};

static struct part first_part(const struct nbd_export *disk, uint64_t offset, uint64_t length)
{
    struct part part = {.length = length};
    uint64_t end = UINT64_MAX; /* of what the part is in */

    if (offset < NBD_ROUTED_MARGIN) {
        part.margin = true;
        end = NBD_ROUTED_MARGIN;
    } else if (offset - NBD_ROUTED_MARGIN < disk->size) {
        part.disk_offset = offset - NBD_ROUTED_MARGIN;
        end = NBD_ROUTED_MARGIN + disk->size;
    } else {
        part.margin = true;
    }
    if (part.length > end - offset)
        part.length = end - offset;
    return part;
}

static enum q2_status routed_read(struct nbd_export *export, uint64_t offset, void *buffer,
                                  size_t length)
{
    struct nbd_export *disk = routed_of(export)->disk;
    uint8_t *to = buffer;

    while (length > 0) {
        struct part part = first_part(disk, offset, length);
        enum q2_status status = Q2_OK;

        if (part.margin)
            memset(to, 0, (size_t)part.length);
        else
            status = disk->ops->read(disk, part.disk_offset, to, (size_t)part.length);
        if (status != Q2_OK)
            return status;
        to += part.length;
        offset += part.length;
        length -= (size_t)part.length;
    }
    return Q2_OK;
}

/* May a range be changed? Then it is one of the disk, and *ret_offset is where. */
static enum q2_status admit(struct nbd_routed_export *routed, uint64_t offset, uint64_t length,
                            uint64_t *ret_offset)
{
    if (offset < NBD_ROUTED_MARGIN ||
        !q2_routes_served(routed->routes, routed->nb_routes, offset - NBD_ROUTED_MARGIN, length))
        return Q2_ERR_RANGE;
    *ret_offset = offset - NBD_ROUTED_MARGIN;
    routed->changed = true;
    return Q2_OK;
}

static enum q2_status write_zeroes_as_data(struct nbd_export *disk, uint64_t offset,
                                           uint64_t length)
{
    static const uint8_t zeros[4096];
    enum q2_status status = Q2_OK;

    while (length > 0 && status == Q2_OK) {
        size_t n = length < sizeof(zeros) ? (size_t)length : sizeof(zeros);

        status = disk->ops->write(disk, offset, zeros, n);
        offset += n;
        length -= n;
    }
    return status;
}

static enum q2_status routed_write(struct nbd_export *export, uint64_t offset, const void *buffer,
                                   size_t length)
{
    struct nbd_export *disk = routed_of(export)->disk;
    enum q2_status status = admit(routed_of(export), offset, length, &offset);

    if (status != Q2_OK)
        return status;
    routed_of(export)->written += length;
    return disk->ops->write(disk, offset, buffer, length);
}

/* What is done to a range of the disk. */
typedef enum q2_status change_range(struct nbd_export *disk, uint64_t offset, uint64_t length);

static enum q2_status leave_alone(struct nbd_export *disk, uint64_t offset, uint64_t length)
{
    (void)disk;
    (void)offset;
    (void)length;
    return Q2_OK;
}

/* Change a range of the export, part by part: what was announced keeps its place, the rest need
 * not. */
static enum q2_status change_parts(struct nbd_export *export, uint64_t offset, uint64_t length,
                                   change_range *keep_place, change_range *change)
{
    struct nbd_routed_export *routed = routed_of(export);
    enum q2_status status = admit(routed, offset, length, &offset);

    while (length > 0 && status == Q2_OK) {
        bool keeps_place = true;
        uint64_t n =
            q2_routes_reach(routed->announced, routed->nb_announced, offset, length, &keeps_place);

        status = (keeps_place ? keep_place : change)(routed->disk, offset, n);
        offset += n;
        length -= n;
    }
    return status;
}

static enum q2_status routed_write_zeroes(struct nbd_export *export, uint64_t offset,
                                          uint64_t length)
{
    return change_parts(export, offset, length, write_zeroes_as_data,
                        routed_of(export)->disk->ops->write_zeroes);
}

static enum q2_status routed_trim(struct nbd_export *export, uint64_t offset, uint64_t length)
{
    return change_parts(export, offset, length, leave_alone, routed_of(export)->disk->ops->trim);
}

/* A device mapper flushes every part of its table. What goes straight is flushed where it goes, so
 * the server is asked only if it has something. */
static enum q2_status routed_flush(struct nbd_export *export)
{
    struct nbd_routed_export *routed = routed_of(export);
    enum q2_status status = Q2_OK;

    if (routed->changed)
        status = routed->disk->ops->flush(routed->disk);
    if (status == Q2_OK)
        routed->changed = false;
    return status;
}

static enum q2_status routed_status(struct nbd_export *export, uint64_t offset, uint64_t max_length,
                                    uint64_t *ret_length, uint32_t *ret_flags)
{
    struct nbd_export *disk = routed_of(export)->disk;
    struct part part = first_part(disk, offset, max_length);

    if (!part.margin)
        return disk->ops->status(disk, part.disk_offset, part.length, ret_length, ret_flags);
    *ret_length = part.length;
    *ret_flags = NBD_STATE_HOLE | NBD_STATE_ZERO;
    return Q2_OK;
}

static const struct nbd_export_ops routed_ops = {
    .read = routed_read,
    .write = routed_write,
    .write_zeroes = routed_write_zeroes,
    .trim = routed_trim,
    .flush = routed_flush,
    .status = routed_status,
};

void nbd_routed_export_init(struct nbd_routed_export *export, struct nbd_export *disk,
                            const struct q2_route *routes, size_t nb_routes)
{
    *export = (struct nbd_routed_export){
        .export = {.ops = &routed_ops,
                   .size = disk->size + 2 * NBD_ROUTED_MARGIN,
                   .read_only = disk->read_only},
        .disk = disk,
        .routes = routes,
        .nb_routes = nb_routes,
        .announced = routes,
        .nb_announced = nb_routes,
        .changed = true, /* whatever came before */
    };
}

void nbd_routed_export_announce(struct nbd_routed_export *export, const struct q2_route *routes,
                                size_t nb_routes)
{
    export->announced = routes;
    export->nb_announced = nb_routes;
}

void nbd_routed_export_switch(struct nbd_routed_export *export)
{
    export->routes = export->announced;
    export->nb_routes = export->nb_announced;
}
