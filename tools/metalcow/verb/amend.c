/* metalcow amend: changes the version of the format, how refcounts are kept, the data file's name,
 * the disk's size, and the keys of an encrypted image. Opens no file but the image, unless the size
 * changes. */
#include <stdio.h>
#include <stdlib.h>

#include "tools/metalcow/base/create_options.h"
#include "tools/metalcow/base/file_size.h"
#include "tools/metalcow/base/image.h"
#include "tools/metalcow/base/output.h"
#include "tools/metalcow/base/progress.h"
#include "tools/metalcow/keys/keyslots.h"
#include "q2_amend.h"
#include "tools/metalcow/verbs.h"

/* Everything that the options of one command line ask for. size: 0: as it is. */
struct wish {
    const struct create_options *options;
    struct q2_format_change format;
    uint64_t size;
};

static struct wish make_wish(const struct create_options *options)
{
    const struct q2_create_options *image = &options->image;
    uint64_t size = options->given[CREATE_SIZE] ? image->virtual_size : 0;

    return (struct wish){.options = options,
                         .format = {.version = image->version,
                                    .refcount_bits = image->refcount_bits,
                                    .set_lazy = options->given[CREATE_LAZY_REFCOUNTS],
                                    .lazy_refcounts = image->lazy_refcounts,
                                    .disk_size = size},
                         .size = size};
}

/* Version 3 comes before another size and version 2 after it, because in version 2 snapshots have
 * the disk's size. */
static bool format_comes_first(const struct wish *wish)
{
    return wish->format.version == 3;
}

/* What is to be refused is refused before the first change. Nobody is asked whether data may go, as
 * in qemu-img. */
static enum q2_status judge(struct q2_disk *disk, const struct wish *wish)
{
    enum q2_status status = q2_disk_can_change_format(disk, &wish->format);

    if (status == Q2_OK && wish->size != 0)
        status = q2_disk_can_resize(disk, wish->size, true, format_comes_first(wish) ? 3 : 0);
    return status;
}

typedef enum q2_status step(struct q2_disk *disk, const struct wish *wish);

static enum q2_status set_raw(struct q2_disk *disk, const struct wish *wish)
{
    return q2_disk_set_raw_external_data(disk, wish->options->image.raw_external_data);
}

static enum q2_status set_data_file(struct q2_disk *disk, const struct wish *wish)
{
    return q2_disk_set_data_file(disk, wish->options->image.data_file);
}

static enum q2_status change_format(struct q2_disk *disk, const struct wish *wish)
{
    return q2_disk_change_format(disk, &wish->format);
}

static enum q2_status resize(struct q2_disk *disk, const struct wish *wish)
{
    return q2_disk_resize(disk, wish->size, true);
}

#define MAX_STEPS 4

/* The steps that are wanted, in order. */
static unsigned plan(const struct wish *wish, step *steps[MAX_STEPS])
{
    bool format_first = format_comes_first(wish);
    unsigned nb = 0;

    if (wish->options->given[CREATE_DATA_FILE_RAW])
        steps[nb++] = set_raw;
    if (wish->options->given[CREATE_DATA_FILE])
        steps[nb++] = set_data_file;
    if (format_first)
        steps[nb++] = change_format;
    if (wish->size != 0)
        steps[nb++] = resize;
    if (!format_first)
        steps[nb++] = change_format;
    return nb;
}

static bool change_image(struct image *image, const struct arguments *arguments,
                         const struct wish *wish)
{
    uint64_t old_size = q2_disk_size(image->disk);
    enum q2_status status = Q2_OK;
    struct progress progress;
    step *steps[MAX_STEPS];
    unsigned nb = plan(wish, steps);

    progress_begin(&progress, arguments->progress, arguments->quiet);
    for (unsigned i = 0; i < nb && status == Q2_OK; i++) {
        progress_update(&progress, i, nb);
        status = steps[i](image->disk, wish);
    }
    progress_end(&progress, status == Q2_OK);
    if (status != Q2_OK)
        image_print_fault(image);
    return status == Q2_OK && file_size_cut_data(image, old_size);
}

/* Keys come last, after all that can be refused. */
static bool amend_image(struct image *image, const struct arguments *arguments,
                        const struct wish *wish)
{
    bool has_keys = keyslots_given(wish->options), done;
    struct keyslots *keyslots = NULL;

    if (judge(image->disk, wish) != Q2_OK) {
        image_print_fault(image);
        return false;
    }
    if (has_keys)
        keyslots = keyslots_prepare(image, arguments, wish->options);
    if (has_keys && !keyslots)
        return false;
    done = change_image(image, arguments, wish) && (!has_keys || keyslots_apply(keyslots));
    keyslots_free(keyslots);
    return done;
}

static int amend(const struct arguments *arguments, const struct create_options *options)
{
    const struct wish wish = make_wish(options);
    struct image_options how = arguments->image[0];
    struct image *image;
    bool done;

    how.writable = true;
    image = image_open(arguments->operands[0], &how, wish.size == 0);
    if (!image)
        return EXIT_ERROR;
    done = amend_image(image, arguments, &wish);
    image_close(image);
    return done ? EXIT_SUCCESS : EXIT_ERROR;
}

/* Is there something to change, and nothing else? */
static bool check_options(const struct create_options *options)
{
    bool any = false;

    if (options->given[CREATE_BACKING_FILE] || options->given[CREATE_BACKING_FMT])
        return complain("amend does not change the backing file; use 'metalcow rebase -u' instead");
    if (options->given[CREATE_SIZE] && options->image.virtual_size == 0)
        return complain("the new size would be 0 bytes; give a larger one");
    for (unsigned i = 0; i < NB_CREATE_OPTIONS; i++) {
        if (options->given[i] && !create_options_is_amendable((enum create_option)i))
            return complain(
                "amend changes compat, data_file, data_file_raw, lazy_refcounts, refcount_bits, "
                "size and encrypt.state only; for everything else make a new image with 'convert "
                "-o'");
        any = any || options->given[i];
    }
    return any || complain("nothing to change: give -o with compat, data_file, data_file_raw, "
                           "lazy_refcounts, refcount_bits, size or encrypt.state");
}

static bool check_keys(const struct arguments *arguments, const struct create_options *options)
{
    if (!keyslots_given(options))
        return (!arguments_spare_objects(arguments) && !arguments->force) ||
               complain("--object and --force are for keys; give encrypt.state, or leave them out");
    if (options->given[CREATE_SIZE])
        return complain("the size and a key are changed one after the other; run amend twice");
    return keyslots_check(options);
}

int verb_amend(const struct arguments *arguments)
{
    struct create_options options = {.preallocation = PREALLOCATION_OFF, .amends = true};

    for (size_t i = 0; i < arguments->options.nb; i++) {
        if (!create_options_add(&options, Q2_FORMAT_QCOW2, arguments->options.texts[i]))
            return EXIT_ERROR;
    }
    if (!check_options(&options) || !check_keys(arguments, &options))
        return EXIT_ERROR;
    return amend(arguments, &options);
}
