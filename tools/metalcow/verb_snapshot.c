/* metalcow snapshot: lists internal snapshots. */
#include <stdlib.h>

#include "output.h"
#include "snapshots.h"
#include "verbs.h"

static const struct flag flags[] = {
    FLAGS_COMMON,
    {'l', "list", NULL, "list the snapshots (the default)", FLAG_SET, FIELD(list)},
    FLAG_ROW_QUIET,
};

static int run(const struct arguments *arguments)
{
    struct image *image = image_open(arguments->operands[0], &arguments->image[0], true);
    enum q2_status status;

    if (!image)
        return EXIT_ERROR;
    status = snapshots_print(image);
    if (status != Q2_OK)
        image_print_fault(image);
    image_close(image);
    return status == Q2_OK ? EXIT_SUCCESS : EXIT_ERROR;
}

const struct verb verb_snapshot = {
    .name = "snapshot",
    .operands = "FILE",
    .summary = "list the internal snapshots of an image",
    VERB_FLAGS(flags),
    .nb_operands = 1,
    .usage_status = EXIT_ERROR,
    .run = run,
};
