/* Sizes of files that images are stored in. */
#include "file_size.h"

#include <errno.h>
#include <sys/stat.h>
#include <unistd.h>

#include "output.h"

bool file_size_set(const struct q2_source *source, uint64_t size)
{
    int fd = image_source_fd(source);
    struct stat stat;

    if (fstat(fd, &stat) == 0 && !S_ISREG(stat.st_mode))
        return true;
    if (ftruncate(fd, (off_t)size) == 0 && fsync(fd) == 0)
        return true;
    print_status(source->path, q2_status_from_errno(errno));
    return false;
}

/* The disk goes on with a data file of this size. */
static void tell_source(struct image *image, const struct q2_source *source, uint64_t size)
{
    for (size_t i = 0; i < Q2_POSIX_MAX_OPEN; i++) {
        if (image->opener.used[i] && &image->opener.files[i].source == source)
            image->opener.files[i].source.size = size;
    }
}

bool file_size_cut_data(struct image *image, uint64_t old_size)
{
    uint64_t size = q2_disk_size(image->disk);
    struct q2_layer_info info;

    q2_disk_layer_info(image->disk, 0, &info);
    if (size >= old_size || info.data_source == info.source)
        return true;
    if (!file_size_set(info.data_source, size))
        return false;
    tell_source(image, info.data_source, size);
    return true;
}
