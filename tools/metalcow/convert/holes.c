/* Holes of sparse files.
 *
 * May call lseek(). Invariant: what the file system does not call a hole is data.
 */
#include "holes.h"

#include <errno.h>
#include <unistd.h>

/* Fill in the run around offset. */
static void look(struct holes *holes, uint64_t offset)
{
    off_t end = lseek(holes->fd, 0, SEEK_END);
    off_t data = lseek(holes->fd, (off_t)offset, SEEK_DATA);
    off_t hole;

    holes->begin = offset;
    holes->is_hole = false;
    holes->end = UINT64_MAX;
    if (end < 0 || offset >= (uint64_t)end)
        return;
    if (data < 0) {
        holes->is_hole = errno == ENXIO; /* no data up to the end */
        holes->end = (uint64_t)end;
        return;
    }
    if ((uint64_t)data > offset) {
        holes->is_hole = true;
        holes->end = (uint64_t)data;
        return;
    }
    hole = lseek(holes->fd, (off_t)offset, SEEK_HOLE);
    if (hole > 0 && (uint64_t)hole > offset && hole < end)
        holes->end = (uint64_t)hole;
}

bool holes_find(struct holes *holes, int fd, uint64_t offset, uint64_t length, uint64_t *ret_length)
{
    if (holes->fd != fd || offset < holes->begin || offset >= holes->end) {
        holes->fd = fd;
        look(holes, offset);
    }
    *ret_length = length < holes->end - offset ? length : holes->end - offset;
    return holes->is_hole;
}
