/* metalcow create: makes a new, empty image. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tools/metalcow/base/create_options.h"
#include "tools/metalcow/base/given.h"
#include "tools/metalcow/base/image.h"
#include "tools/metalcow/convert/make_image.h"
#include "tools/metalcow/base/output.h"
#include "tools/metalcow/base/size.h"
#include "tools/metalcow/keys/encryption.h"
#include "tools/metalcow/verbs.h"

static bool fail(const char *path, const char *what)
{
    fputs("metalcow: ", stderr);
    print_escaped(stderr, path);
    fprintf(stderr, ": %s\n", what);
    return false;
}

/* All that says what the image shall be; -b and -F win over -o. */
static bool collect(const struct arguments *arguments, enum q2_image_format format,
                    struct create_options *options)
{
    const char *path = arguments->operands[0], *size = arguments->operands[1];
    const struct option_texts *texts = &arguments->options;

    for (size_t i = 0; i < texts->nb; i++) {
        if (!create_options_add(options, format, texts->texts[i]))
            return false;
    }
    if (format == Q2_FORMAT_RAW && (arguments->backing_file || arguments->backing_format))
        return fail(path, "a raw image has no backing file; create a qcow2 image (-f qcow2), or "
                          "leave out -b and -F");
    if (size && options->given[CREATE_SIZE])
        return fail(
            path, "the size is given twice, by an argument and by -o size; leave one of them out");
    if (size && !arguments_size(size, &options->image.virtual_size))
        return false;
    options->given[CREATE_SIZE] |= size != NULL;
    return (!arguments->backing_file ||
            create_options_set(options, CREATE_BACKING_FILE, arguments->backing_file)) &&
           (!arguments->backing_format ||
            create_options_set(options, CREATE_BACKING_FMT, arguments->backing_format)) &&
           encryption_check(options, arguments);
}

static bool parse_format(const char *path, const char *text, enum q2_image_format *ret_format)
{
    if (!text)
        return fail(path, "the format of the backing file is not given; add -F qcow2 or -F raw");
    if (strcmp(text, "qcow2") == 0)
        *ret_format = Q2_FORMAT_QCOW2;
    else if (strcmp(text, "raw") == 0)
        *ret_format = Q2_FORMAT_RAW;
    else
        return fail(path, "the backing format is not supported; qcow2 and raw are");
    return true;
}

/* Open the backing file with its whole chain: all files must exist, and the new disk gets the
 * backing file's size by default. */
static struct image *open_backing(const struct arguments *arguments, const char *path,
                                  const struct create_options *options, enum q2_image_format format)
{
    struct image_options how = arguments->image[0];
    char backing_path[Q2_MAX_PATH_LENGTH + 1];
    struct image *backing;

    how.share = true;
    how.format = format == Q2_FORMAT_RAW ? FORMAT_RAW : FORMAT_QCOW2;
    if (!make_image_backing(path, options->image.backing_file, how.names, backing_path))
        return NULL;
    backing = image_open(backing_path, &how, false);
    if (!backing)
        (void)fail(path, "not created, because its backing file cannot be opened");
    if (backing && q2_disk_nb_layers(backing->disk) == Q2_MAX_LAYERS) {
        (void)fail(backing_path, "the backing chain is too deep for one more layer");
        image_close(backing);
        return NULL;
    }
    return backing;
}

static bool make(const struct arguments *arguments, const char *path, enum q2_image_format format,
                 struct create_options *options, struct image *backing)
{
    struct encryption *encryption;
    struct made_files made;
    bool done;

    if (backing && !options->given[CREATE_SIZE])
        options->image.virtual_size = (q2_disk_size(backing->disk) + 511) & ~UINT64_C(511);
    else if (!options->given[CREATE_SIZE])
        return fail(
            path,
            "the new disk has no size; give SIZE after the file name, or a backing file with -b");
    if (options->image.virtual_size > INT64_MAX)
        return fail(path, "the size is too large; a disk has at most 9223372036854775807 bytes");
    if (!arguments->quiet)
        create_options_print(options, format, arguments->operands[0]);
    done = encryption_begin(options, &arguments->objects, &encryption) &&
           make_image(path, format, options, &backing, backing ? 1 : 0, &made);
    encryption_end(encryption);
    return done;
}

int verb_create(const struct arguments *arguments)
{
    struct create_options options = {.preallocation = PREALLOCATION_OFF};
    enum q2_image_format format, backing_format;
    struct image *backing = NULL;
    char path[Q2_MAX_PATH_LENGTH + 1];
    bool done;

    if (!arguments_format(arguments->output_format, &format))
        return EXIT_ERROR;
    if (!arguments->operands[0]) {
        fputs("metalcow: create expects FILE [SIZE]\n", stderr);
        return EXIT_ERROR;
    }
    if (!given_output(arguments->operands[0], format, path) ||
        !collect(arguments, format, &options))
        return EXIT_ERROR;
    if (options.image.backing_file) {
        if (!parse_format(arguments->operands[0], options.image.backing_format, &backing_format))
            return EXIT_ERROR;
        backing =
            arguments->unsafe ? NULL : open_backing(arguments, path, &options, backing_format);
        if (!backing && !arguments->unsafe)
            return EXIT_ERROR;
    }
    done = make(arguments, path, format, &options, backing);
    image_close(backing);
    return done ? EXIT_SUCCESS : EXIT_ERROR;
}
