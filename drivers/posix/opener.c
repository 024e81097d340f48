/* The opener of the host.
 *
 * May call drivers/posix/source.c. Invariant: a source is handed out from a slot that nobody else
 * holds.
 */
#include "opener.h"

#include <string.h>

static enum q2_status posix_open(struct q2_opener *opener, const char *path, bool writable,
                                 struct q2_source **ret_source)
{
    struct q2_opener_posix *posix = (struct q2_opener_posix *)opener;
    unsigned int flags = (writable ? posix->cache : posix->read_cache) |
                         (writable ? Q2_POSIX_WRITABLE : 0u) |
                         (posix->share ? 0u : Q2_POSIX_STABLE) |
                         (posix->block_devices ? Q2_POSIX_BLOCK_DEVICES : 0u);
    size_t slot = 0;
    enum q2_status status;

    while (slot < Q2_POSIX_MAX_OPEN && posix->used[slot])
        slot++;
    if (slot == Q2_POSIX_MAX_OPEN)
        return Q2_ERR_LIMIT;
    status = q2_source_posix_open(&posix->files[slot], path, flags);
    if (status != Q2_OK)
        return status;
    posix->used[slot] = true;
    *ret_source = &posix->files[slot].source;
    return Q2_OK;
}

static void posix_close(struct q2_opener *opener, struct q2_source *source)
{
    struct q2_opener_posix *posix = (struct q2_opener_posix *)opener;
    struct q2_source_posix *file = (struct q2_source_posix *)source;

    q2_source_posix_close(file);
    posix->used[file - posix->files] = false;
}

static const struct q2_opener_ops posix_ops = {
    .open = posix_open,
    .close = posix_close,
};

void q2_opener_posix_init(struct q2_opener_posix *posix)
{
    memset(posix, 0, sizeof(*posix));
    posix->opener.ops = &posix_ops;
}
