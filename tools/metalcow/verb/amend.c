/* metalcow amend: the data file that the header names. Opens no file but the image. */
#include <stdio.h>
#include <stdlib.h>

#include "tools/metalcow/base/create_options.h"
#include "tools/metalcow/base/image.h"
#include "tools/metalcow/base/output.h"
#include "q2_amend.h"
#include "tools/metalcow/verbs.h"

static int set_data_file(const struct arguments *arguments, const char *name)
{
    struct image_options how = arguments->image[0];
    struct image *image;
    enum q2_status status;

    how.writable = true;
    image = image_open(arguments->operands[0], &how, true);
    if (!image)
        return EXIT_ERROR;
    status = q2_disk_set_data_file(image->disk, name);
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

/* Only the data file's name can be changed: everything else would rewrite the image. */
static bool is_amendable(const struct create_options *options)
{
    for (unsigned i = 0; i < NB_CREATE_OPTIONS; i++) {
        if (i != CREATE_DATA_FILE && options->given[i])
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
        return say("Cannot amend the backing file; use 'rebase -u' instead");
    if (!is_amendable(&options))
        return say("amend changes data_file only");
    if (!options.given[CREATE_DATA_FILE])
        return say("Must specify options (-o)");
    return set_data_file(arguments, options.image.data_file);
}
