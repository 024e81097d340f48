/* The size of a raw image.
 *
 * May call the engine and the file system. Invariant: the disk's content stays, as far as the
 * smaller size goes.
 */
#include "raw_size.h"

#include "preallocation.h"
#include "tools/metalcow/base/file_size.h"
#include "tools/metalcow/base/output.h"

/* The engine learns a disk's size when it opens it. */
static bool open_again(struct image *image, uint64_t size)
{
    const struct q2_disk_options options = {.format = Q2_FORMAT_RAW, .writable = true};
    struct q2_disk *disk = image->disk;
    struct q2_fault fault;

    image->file.source.size = size;
    image->disk = NULL;
    q2_disk_close(disk);
    if (q2_disk_open(image->workspace, &image->file.source, &image->opener.opener, &options, &fault,
                     &image->disk) == Q2_OK)
        return true;
    print_fault(image->path, &fault);
    return false;
}

bool raw_size_set(struct image *image, uint64_t size, enum preallocation how)
{
    uint64_t old_size = q2_disk_size(image->disk);

    if (!image->file.source.ops->grow && size == image->file.source.size)
        return true;
    if (!image->file.source.ops->grow) {
        print_fault(image->path, &(struct q2_fault){.status = Q2_ERR_UNSUPPORTED,
                                                    .what = "a device keeps its size"});
        return false;
    }
    if (!file_size_set(&image->file.source, size))
        return false;
    image->file.source.size = size;
    if (preallocate_raw(&image->file, old_size, how))
        return open_again(image, size);
    if (size > old_size && file_size_set(&image->file.source, old_size))
        (void)open_again(image, old_size);
    return false;
}
