/* metalcow snapshot: lists, takes, applies and deletes internal snapshots. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "tools/metalcow/base/output.h"
#include "q2_snapshot.h"
#include "tools/metalcow/base/snapshots.h"
#include "tools/metalcow/verbs.h"

static enum q2_status create(struct image *image, const char *name)
{
    struct timespec now;

    (void)clock_gettime(CLOCK_REALTIME, &now);
    return q2_disk_snapshot_create(image->disk, name, (uint32_t)now.tv_sec,
                                   (uint32_t)(now.tv_nsec / 1000 * 1000));
}

/* As with qemu-img -d, a name comes before an id. (-a looks for an id first.) */
static enum q2_status drop(struct image *image, const char *name)
{
    struct q2_snapshot snapshot;

    for (uint32_t i = 0; i < snapshots_count(image); i++) {
        enum q2_status status = q2_disk_snapshot(image->disk, i, &snapshot);

        if (status != Q2_OK)
            return status;
        if (strcmp(snapshot.name, name) == 0)
            return q2_disk_snapshot_delete(image->disk, snapshot.id);
    }
    return q2_disk_snapshot_delete(image->disk, name);
}

static enum q2_status act(struct image *image, const struct arguments *arguments)
{
    if (arguments->snapshot_create)
        return create(image, arguments->snapshot_create);
    if (arguments->snapshot_apply)
        return q2_disk_snapshot_apply(image->disk, arguments->snapshot_apply);
    if (arguments->snapshot_delete)
        return drop(image, arguments->snapshot_delete);
    return snapshots_print(image);
}

int verb_snapshot(const struct arguments *arguments)
{
    struct image_options options = arguments->image[0];
    int nb_writing = (arguments->snapshot_create != NULL) + (arguments->snapshot_apply != NULL) +
                     (arguments->snapshot_delete != NULL);
    struct image *image;
    enum q2_status status;

    if (nb_writing + arguments->list > 1) {
        fputs("metalcow: snapshot does one thing at a time; give one of -l, -a, -c and -d\n",
              stderr);
        return EXIT_ERROR;
    }
    options.writable = nb_writing > 0;
    image = image_open(arguments->operands[0], &options, !options.writable);
    if (!image)
        return EXIT_ERROR;
    status = act(image, arguments);
    if (status != Q2_OK)
        image_print_fault(image);
    image_close(image);
    return status == Q2_OK ? EXIT_SUCCESS : EXIT_ERROR;
}
