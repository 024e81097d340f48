/* metalcow amend: changes what the header says of the data file and of lazy refcounts. Opens no
 * file but the image. */
#include <stdio.h>
#include <stdlib.h>

#include "tools/metalcow/base/create_options.h"
#include "tools/metalcow/base/image.h"
#include "tools/metalcow/base/output.h"
#include "q2_amend.h"
#include "tools/metalcow/verbs.h"

/* An image with a data file is of version 3, which may have lazy refcounts. So the second call does
 * not refuse after the first one has changed the header. */
static enum q2_status change(struct q2_disk *disk, const struct create_options *options)
{
    enum q2_status status = Q2_OK;

    if (options->given[CREATE_DATA_FILE])
        status = q2_disk_set_data_file(disk, options->image.data_file);
    if (status == Q2_OK && options->given[CREATE_LAZY_REFCOUNTS])
        status = q2_disk_set_lazy_refcounts(disk, options->image.lazy_refcounts);
    return status;
}

static int amend(const struct arguments *arguments, const struct create_options *options)
{
    struct image_options how = arguments->image[0];
    struct image *image;
    enum q2_status status;

    how.writable = true;
    image = image_open(arguments->operands[0], &how, true);
    if (!image)
        return EXIT_ERROR;
    status = change(image->disk, options);
    if (status != Q2_OK)
        image_print_fault(image);
    image_close(image);
    return status == Q2_OK ? EXIT_SUCCESS : EXIT_ERROR;
}

static int say(const char *sentence)
{
    fprintf(stderr, "metalcow: %s\n", sentence);
    return EXIT_ERROR;
}

/* What else a new image can be told would rewrite more than the header. */
static bool is_amendable(const struct create_options *options)
{
    for (unsigned i = 0; i < NB_CREATE_OPTIONS; i++) {
        if (i != CREATE_DATA_FILE && i != CREATE_LAZY_REFCOUNTS && options->given[i])
            return false;
    }
    return true;
}

int verb_amend(const struct arguments *arguments)
{
    struct create_options options = {.preallocation = PREALLOCATION_OFF};

    for (size_t i = 0; i < arguments->options.nb; i++) {
        if (!create_options_add(&options, Q2_FORMAT_QCOW2, arguments->options.texts[i]))
            return EXIT_ERROR;
    }
    if (options.given[CREATE_BACKING_FILE] || options.given[CREATE_BACKING_FMT])
        return say("amend does not change the backing file; use 'metalcow rebase -u' instead");
    if (options.given[CREATE_SIZE])
        return say("amend does not change the size; use 'metalcow resize' instead");
    if (!is_amendable(&options))
        return say(
            "amend changes data_file and lazy_refcounts only; for everything else make a new "
            "image with 'convert -o'");
    if (!options.given[CREATE_DATA_FILE] && !options.given[CREATE_LAZY_REFCOUNTS])
        return say("nothing to change: give -o data_file=FILE or -o lazy_refcounts=on");
    return amend(arguments, &options);
}
