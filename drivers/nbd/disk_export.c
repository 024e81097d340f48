/* A disk of the engine as an NBD export.
 *
 * May call include/q2_disk.h. Invariant: every call to the disk is made with the lock held.
 */
#include "disk_export.h"

static struct nbd_disk_export *enter(struct nbd_export *export)
{
    struct nbd_disk_export *of_disk = (struct nbd_disk_export *)export;

    if (of_disk->lock)
        of_disk->lock(of_disk);
    return of_disk;
}

static enum q2_status leave(struct nbd_disk_export *export, enum q2_status status)
{
    if (status != Q2_OK && export->failed)
        export->failed(export, status);
    if (export->unlock)
        export->unlock(export);
    return status;
}

static enum q2_status leave_changed(struct nbd_disk_export *export, enum q2_status status)
{
    if (status == Q2_OK && export->changed)
        export->changed(export);
    return leave(export, status);
}

static enum q2_status disk_read(struct nbd_export *export, uint64_t offset, void *buffer,
                                size_t length)
{
    struct nbd_disk_export *of_disk = enter(export);

    return leave(of_disk, q2_disk_read(of_disk->disk, offset, buffer, length));
}

static enum q2_status disk_write(struct nbd_export *export, uint64_t offset, const void *buffer,
                                 size_t length)
{
    struct nbd_disk_export *of_disk = enter(export);

    return leave_changed(of_disk, q2_disk_write(of_disk->disk, offset, buffer, length));
}

static enum q2_status disk_write_zeroes(struct nbd_export *export, uint64_t offset, uint64_t length)
{
    struct nbd_disk_export *of_disk = enter(export);

    return leave_changed(of_disk, q2_disk_write_zeroes(of_disk->disk, offset, length));
}

static enum q2_status disk_trim(struct nbd_export *export, uint64_t offset, uint64_t length)
{
    struct nbd_disk_export *of_disk = enter(export);

    return leave_changed(of_disk, q2_disk_discard(of_disk->disk, offset, length));
}

static enum q2_status disk_flush(struct nbd_export *export)
{
    struct nbd_disk_export *of_disk = enter(export);

    return leave(of_disk, q2_disk_flush(of_disk->disk));
}

static uint32_t flags_of(const struct q2_extent *extent)
{
    switch (extent->kind) {
    case Q2_EXTENT_UNALLOCATED:
        return NBD_STATE_HOLE | NBD_STATE_ZERO;
    case Q2_EXTENT_ZERO:
        return extent->has_host_offset ? NBD_STATE_ZERO : NBD_STATE_HOLE | NBD_STATE_ZERO;
    case Q2_EXTENT_DATA:
    case Q2_EXTENT_COMPRESSED:
    default:
        return 0;
    }
}

static enum q2_status disk_status(struct nbd_export *export, uint64_t offset, uint64_t max_length,
                                  uint64_t *ret_length, uint32_t *ret_flags)
{
    struct nbd_disk_export *of_disk = enter(export);
    struct q2_extent extent;
    enum q2_status status = q2_disk_map(of_disk->disk, offset, max_length, &extent);

    if (status == Q2_OK) {
        *ret_length = extent.length;
        *ret_flags = flags_of(&extent);
    }
    return leave(of_disk, status);
}

static const struct nbd_export_ops disk_ops = {
    .read = disk_read,
    .write = disk_write,
    .write_zeroes = disk_write_zeroes,
    .trim = disk_trim,
    .flush = disk_flush,
    .status = disk_status,
};

void nbd_disk_export_init(struct nbd_disk_export *export, struct q2_disk *disk, uint64_t size,
                          bool read_only)
{
    *export = (struct nbd_disk_export){
        .export = {.ops = &disk_ops, .size = size, .read_only = read_only},
        .disk = disk,
    };
}
