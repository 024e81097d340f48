/* metalcow zero, discard, flush: changes of a disk that take no data. */
#include <stdlib.h>

#include "tools/metalcow/base/image.h"
#include "tools/metalcow/base/output.h"
#include "tools/metalcow/verbs.h"

typedef enum q2_status change_disk(struct q2_disk *disk, uint64_t offset, uint64_t length);

static bool apply(struct image *image, change_disk *change, uint64_t offset, uint64_t length)
{
    if (!image_has_range(image, offset, length))
        return false;
    if (change(image->disk, offset, length) == Q2_OK)
        return true;
    image_print_fault(image);
    return false;
}

/* Open path for writing, make the change, if there is one, and make it durable. */
static int run(const struct arguments *arguments, const char *path, change_disk *change,
               uint64_t offset, uint64_t length)
{
    struct image_options options = arguments->image[0];
    struct image *image;
    bool done;

    options.writable = true;
    image = image_open(path, &options, false);
    if (!image)
        return EXIT_ERROR;
    done = !change || apply(image, change, offset, length);
    done = image_flush(image) && done;
    image_close(image);
    return done ? EXIT_SUCCESS : EXIT_ERROR;
}

static int run_range(const struct arguments *arguments, change_disk *change)
{
    uint64_t offset, length;

    if (!arguments_size(arguments->operands[0], &offset) ||
        !arguments_size(arguments->operands[1], &length))
        return EXIT_ERROR;
    return run(arguments, arguments->operands[2], change, offset, length);
}

int verb_zero(const struct arguments *arguments)
{
    return run_range(arguments, q2_disk_write_zeroes);
}

int verb_discard(const struct arguments *arguments)
{
    return run_range(arguments, q2_disk_discard);
}

int verb_flush(const struct arguments *arguments)
{
    return run(arguments, arguments->operands[0], NULL, 0, 0);
}
