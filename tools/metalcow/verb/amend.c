/* metalcow amend: changes the data file's name, the version of the format, and how refcounts are
 * kept. Opens no file but the image. */
#include <stdio.h>
#include <stdlib.h>

#include "tools/metalcow/base/create_options.h"
#include "tools/metalcow/base/image.h"
#include "tools/metalcow/base/output.h"
#include "q2_amend.h"
#include "tools/metalcow/verbs.h"

/* What is to be refused is refused before the first change. */
static enum q2_status change(struct q2_disk *disk, const struct create_options *options)
{
    const struct q2_format_change format = {
        .version = options->image.version,
        .refcount_bits = options->image.refcount_bits,
        .set_lazy = options->given[CREATE_LAZY_REFCOUNTS],
        .lazy_refcounts = options->image.lazy_refcounts,
    };
    enum q2_status status = q2_disk_can_change_format(disk, &format);

    if (status == Q2_OK && options->given[CREATE_DATA_FILE])
        status = q2_disk_set_data_file(disk, options->image.data_file);
    return status == Q2_OK ? q2_disk_change_format(disk, &format) : status;
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

static bool say(const char *sentence)
{
    fprintf(stderr, "metalcow: %s\n", sentence);
    return false;
}

static const enum create_option amendable[] = {CREATE_COMPAT, CREATE_DATA_FILE,
                                               CREATE_LAZY_REFCOUNTS, CREATE_REFCOUNT_BITS};

static bool is_amendable(unsigned option)
{
    for (size_t i = 0; i < sizeof(amendable) / sizeof(amendable[0]); i++) {
        if (amendable[i] == option)
            return true;
    }
    return false;
}

/* Is there something to change, and nothing else? */
static bool check_options(const struct create_options *options)
{
    bool any = false;

    if (options->given[CREATE_BACKING_FILE] || options->given[CREATE_BACKING_FMT])
        return say("amend does not change the backing file; use 'metalcow rebase -u' instead");
    if (options->given[CREATE_SIZE])
        return say("amend does not change the size; use 'metalcow resize' instead");
    for (unsigned i = 0; i < NB_CREATE_OPTIONS; i++) {
        if (options->given[i] && !is_amendable(i))
            return say("amend changes compat, data_file, lazy_refcounts and refcount_bits only; "
                       "for everything else make a new image with 'convert -o'");
        any = any || options->given[i];
    }
    return any || say("nothing to change: give -o with compat, data_file, lazy_refcounts or "
                      "refcount_bits");
}

int verb_amend(const struct arguments *arguments)
{
    struct create_options options = {.preallocation = PREALLOCATION_OFF};

    for (size_t i = 0; i < arguments->options.nb; i++) {
        if (!create_options_add(&options, Q2_FORMAT_QCOW2, arguments->options.texts[i]))
            return EXIT_ERROR;
    }
    if (!check_options(&options))
        return EXIT_ERROR;
    return amend(arguments, &options);
}
