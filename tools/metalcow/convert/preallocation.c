/* Preallocation.
 *
 * May call core/write/preallocate.c and the file system. Invariant: the disk's content stays.
 */
#include "preallocation.h"

#include <errno.h>
#include <fcntl.h>

#include "tools/metalcow/base/output.h"
#include "q2_amend.h"

static bool judge(const struct q2_source *source, enum q2_status status)
{
    if (status != Q2_OK)
        print_status(source->path, status);
    return status == Q2_OK;
}

/* Allocate blocks for a file from an offset to its end. Its content stays. If the file system has
 * no call for that, posix_fallocate() writes zeros into holes. */
static bool allocate_blocks(const struct q2_source *source, uint64_t from)
{
    int error = 0;

    if (source->size > from && source->ops->grow)
        error = posix_fallocate(image_source_fd(source), (off_t)from, (off_t)(source->size - from));
    return error == 0 || judge(source, q2_status_from_errno(error));
}

static bool write_zeros(struct q2_source *source, uint64_t from)
{
    static const uint8_t zeros[1 << 16];
    enum q2_status status = Q2_OK;

    while (from < source->size && status == Q2_OK) {
        uint64_t rest = source->size - from;
        size_t n = rest < sizeof(zeros) ? (size_t)rest : sizeof(zeros);

        status = source->ops->write_at(source, from, zeros, n);
        from += n;
    }
    return judge(source, status);
}

bool preallocate_raw(struct q2_source_posix *file, uint64_t from, enum preallocation how)
{
    struct q2_source *source = &file->source;
    bool done = true;

    if (how == PREALLOCATION_METADATA) {
        print_fault(source->path, &(struct q2_fault){.status = Q2_ERR_UNSUPPORTED,
                                                     .what = "a raw image has no metadata to "
                                                             "preallocate"});
        return false;
    }
    if (how != PREALLOCATION_OFF && !source->ops->grow) {
        print_fault(source->path, &(struct q2_fault){.status = Q2_ERR_UNSUPPORTED,
                                                     .what = "a device has all its blocks; leave "
                                                             "out preallocation"});
        return false;
    }
    if (how == PREALLOCATION_FALLOC)
        done = allocate_blocks(source, from);
    else if (how == PREALLOCATION_FULL)
        done = write_zeros(source, from);
    return done && judge(source, source->ops->flush(source));
}

bool preallocate_qcow2(struct image *image, uint64_t offset, uint64_t length,
                       enum preallocation how)
{
    struct q2_layer_info info;

    if (how == PREALLOCATION_OFF || length == 0)
        return true;
    if (q2_disk_preallocate(image->disk, offset, length, how == PREALLOCATION_FULL) != Q2_OK) {
        image_print_fault(image);
        return false;
    }
    q2_disk_layer_info(image->disk, 0, &info);
    return how != PREALLOCATION_FALLOC ||
           (allocate_blocks(info.data_source, 0) && image_flush(image));
}
