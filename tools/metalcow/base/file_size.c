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

bool file_size_cut_data(const struct image *image, uint64_t old_size)
{
    uint64_t size = q2_disk_size(image->disk);
    struct q2_layer_info info;

    q2_disk_layer_info(image->disk, 0, &info);
    if (size >= old_size || info.data_source == info.source)
        return true;
    return file_size_set(info.data_source, size);
}
