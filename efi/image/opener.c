/* The opener over a place.
 *
 * Calls the place. Invariant: every source that was given out belongs to a file of the list.
 */
#include "opener.h"

enum q2_status mc_opener_open(struct mc_opener *opener, const char *path, bool writable,
                              struct q2_fault *fault, struct q2_place_file **ret_file)
{
    struct q2_place_file *file;
    enum q2_status status =
        opener->place->ops->open_file(opener->place, path, writable, fault, &file);

    if (status != Q2_OK)
        return status;
    file->next = opener->files;
    opener->files = file;
    *ret_file = file;
    return Q2_OK;
}

struct q2_place_file *mc_opener_find(const struct mc_opener *opener, const struct q2_source *source)
{
    struct q2_place_file *file = opener->files;

    while (file && file->source != source)
        file = file->next;
    return file;
}

void mc_opener_close(struct mc_opener *opener, struct q2_place_file *file)
{
    struct q2_place_file **link = &opener->files;

    while (*link && *link != file)
        link = &(*link)->next;
    if (*link)
        *link = file->next;
    opener->place->ops->close_file(file);
}

static enum q2_status open_path(struct q2_opener *q2_opener, const char *path, bool writable,
                                struct q2_source **ret_source)
{
    struct mc_opener *opener = (struct mc_opener *)q2_opener;
    struct q2_place_file *file;
    enum q2_status status = mc_opener_open(opener, path, writable, &opener->fault, &file);

    if (status == Q2_OK)
        *ret_source = file->source;
    return status;
}

static void close_source(struct q2_opener *q2_opener, struct q2_source *source)
{
    struct mc_opener *opener = (struct mc_opener *)q2_opener;
    struct q2_place_file *file = mc_opener_find(opener, source);

    if (file)
        mc_opener_close(opener, file);
}

static const struct q2_opener_ops opener_ops = {.open = open_path, .close = close_source};

void mc_opener_init(struct mc_opener *opener, struct q2_place *place)
{
    *opener = (struct mc_opener){.opener = {.ops = &opener_ops}, .place = place};
}
