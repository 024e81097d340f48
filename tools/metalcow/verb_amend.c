/* metalcow amend, rebase: which files the header names. Neither opens any but the image. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "create_options.h"
#include "image.h"
#include "output.h"
#include "q2_amend.h"
#include "verbs.h"

static const struct flag amend_flags[] = {
    FLAGS_WRITING,
    {'o', NULL, "OPTIONS", "data_file=NAME: the external data file's name; empty for none",
     FLAG_OPTIONS, FIELD(options)},
    FLAG_ROW_QUIET,
};

static const struct flag rebase_flags[] = {
    FLAGS_WRITING,
    {'u', NULL, NULL, "only the name changes; needed: nothing is copied", FLAG_SET, FIELD(unsafe)},
    {'b', NULL, "FILE", "the backing file, relative to the image's folder; empty for none",
     FLAG_TEXT, FIELD(backing_file)},
    {'F', NULL, "FMT", "format of the backing file: qcow2 or raw", FLAG_TEXT,
     FIELD(backing_format)},
    FLAG_ROW_QUIET,
};

static struct image *open_header(const struct arguments *arguments)
{
    struct image_options how = arguments->image[0];

    how.writable = true;
    return image_open(arguments->operands[0], &how, true);
}

static int finish(struct image *image, enum q2_status status)
{
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

static int run_amend(const struct arguments *arguments)
{
    struct create_options options = {.preallocation = PREALLOCATION_OFF};
    struct image *image;

    for (size_t i = 0; i < arguments->options.nb; i++) {
        if (!create_options_add(&options, arguments->image[0].format, arguments->options.texts[i]))
            return EXIT_ERROR;
    }
    if (options.given[CREATE_BACKING_FILE] || options.given[CREATE_BACKING_FMT])
        return say("Cannot amend the backing file; use 'rebase -u' instead");
    if (!is_amendable(&options))
        return say("amend changes data_file only");
    if (!options.given[CREATE_DATA_FILE])
        return say("Must specify options (-o)");
    image = open_header(arguments);
    return image ? finish(image, q2_disk_set_data_file(image->disk, options.image.data_file))
                 : EXIT_ERROR;
}

const struct verb verb_amend = {
    .name = "amend",
    .operands = "FILE",
    .summary = "change the data file's name in the image",
    VERB_FLAGS(amend_flags),
    .nb_operands = 1,
    .usage_status = EXIT_ERROR,
    .run = run_amend,
};

static int run_rebase(const struct arguments *arguments)
{
    const char *file = arguments->backing_file ? arguments->backing_file : "";
    const char *format = arguments->backing_format;
    struct image *image;

    if (!arguments->unsafe)
        return say("rebase copies nothing; with -u it changes the name of the backing file");
    if (format && strcmp(format, "qcow2") != 0 && strcmp(format, "raw") != 0)
        return say("the backing format is not supported; qcow2 and raw are");
    if (file[0] != '\0' && !format)
        return say("backing format must be specified (-F)");
    image = open_header(arguments);
    return image ? finish(image,
                          q2_disk_set_backing(image->disk, file, file[0] != '\0' ? format : NULL))
                 : EXIT_ERROR;
}

const struct verb verb_rebase = {
    .name = "rebase",
    .operands = "FILE",
    .summary = "change the backing file's name in the image (-u)",
    VERB_FLAGS(rebase_flags),
    .nb_operands = 1,
    .usage_status = EXIT_ERROR,
    .run = run_rebase,
};
