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

static enum q2_status apply(struct image *image, const char *name)
{
    return q2_disk_snapshot_apply(image->disk, name);
}

static enum q2_status list(struct image *image, const char *unused)
{
    (void)unused;
    return snapshots_print(image);
}

/* By the name of the option. */
static const struct act {
    const char *name;
    enum q2_status (*run)(struct image *image, const char *value);
    bool writes;
} acts[] = {
    {"list", list, false},
    {"create", create, true},
    {"apply", apply, true},
    {"delete", drop, true},
};

/* The first one if there is no option. */
static const struct act *find_act(const struct verb_actions *actions)
{
    for (size_t i = 0; actions->nb > 0 && i < sizeof(acts) / sizeof(acts[0]); i++) {
        if (strcmp(acts[i].name, actions->actions[0].name) == 0)
            return &acts[i];
    }
    return &acts[0];
}

int verb_snapshot(const struct arguments *arguments)
{
    const struct act *act = find_act(&arguments->actions);
    struct image_options options = arguments->image[0];
    struct image *image;
    enum q2_status status;

    if (arguments->actions.nb > 1) {
        fputs("metalcow: snapshot does one thing at a time; give one of -l, -a, -c and -d, once\n",
              stderr);
        return EXIT_ERROR;
    }
    options.writable = act->writes;
    image = image_open(arguments->operands[0], &options, !options.writable);
    if (!image)
        return EXIT_ERROR;
    status = act->run(image, arguments->actions.actions[0].value);
    if (status != Q2_OK)
        image_print_fault(image);
    image_close(image);
    return status == Q2_OK ? EXIT_SUCCESS : EXIT_ERROR;
}
