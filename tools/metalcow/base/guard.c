/* The guard of a raw image whose format nobody stated.
 *
 * May call probe.c and the source. Invariant: a write that is refused changes nothing.
 */
#include "guard.h"

#include <stdio.h>
#include <string.h>

#include "output.h"
#include "probe.h"

static struct image *image_of(struct q2_source *source)
{
    return (struct image *)((char *)source - offsetof(struct image, file));
}

/* Would the first block look like an image of another format after this write? */
static bool makes_an_image(struct q2_source *source, uint64_t offset, const void *bytes,
                           size_t length)
{
    uint8_t block[PROBE_SIZE] = {0};
    size_t size = source->size < PROBE_SIZE ? (size_t)source->size : PROBE_SIZE;
    const char *name;

    if (source->ops->read_at(source, 0, block, size) != Q2_OK)
        return false;
    memcpy(block + offset, bytes, length < size - offset ? length : size - offset);
    return probe_bytes(block, size, &name) != PROBED_RAW;
}

static enum q2_status guarded_write(struct q2_source *source, uint64_t offset, const void *bytes,
                                    size_t length)
{
    struct image *image = image_of(source);

    if (offset < PROBE_SIZE && makes_an_image(source, offset, bytes, length)) {
        image->block0_kept = true;
        return Q2_ERR_DENIED;
    }
    return image->unguarded_write(source, offset, bytes, length);
}

void guard_raw(struct image *image)
{
    struct q2_source *source = &image->file.source;

    fputs("metalcow: warning: ", stderr);
    print_escaped(stderr, image->path);
    fputs(" is taken for a raw image, because no format was given. A write that makes its first "
          "512 bytes look like another format is refused; -f raw allows it.\n",
          stderr);
    image->guarded = *source->ops;
    image->unguarded_write = source->ops->write_at;
    image->guarded.write_at = guarded_write;
    source->ops = &image->guarded;
}
