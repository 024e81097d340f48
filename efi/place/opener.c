/* The opener on a volume.
 *
 * Between core/read/chain.c and volume.c, at attach and detach only. Invariant: every source that
 * was given out is the first member of a struct mc_file.
 */
#include "opener.h"

static enum q2_status open_path(struct q2_opener *q2_opener, const char *path, bool writable,
                                struct q2_source **ret_source)
{
    struct mc_opener *opener = (struct mc_opener *)q2_opener;
    struct mc_file *file;
    enum q2_status status;

    status = mc_file_open(opener->volume, path, writable, &opener->fault, &file);
    if (status == Q2_OK)
        *ret_source = &file->as.source;
    return status;
}

static void close_source(struct q2_opener *opener, struct q2_source *source)
{
    (void)opener;
    mc_file_close((struct mc_file *)source);
}

static const struct q2_opener_ops opener_ops = {.open = open_path, .close = close_source};

void mc_opener_init(struct mc_opener *opener, struct mc_volume *volume)
{
    *opener = (struct mc_opener){.opener = {.ops = &opener_ops}, .volume = volume};
}
