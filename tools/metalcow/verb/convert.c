/* metalcow convert: copies a disk, or several one after the other, into a raw file or a qcow2
 * image. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tools/metalcow/base/bitmaps.h"
#include "tools/metalcow/base/given.h"
#include "tools/metalcow/base/image_opts.h"
#include "tools/metalcow/base/output.h"
#include "tools/metalcow/convert/copy.h"
#include "tools/metalcow/keys/encryption.h"
#include "tools/metalcow/verbs.h"

#define MAX_THREADS 16u
#define MAX_SPARSE  (16u << 20) /* as in qemu-img */

/* -o, -B and -F together. */
static bool read_creation(const struct arguments *arguments, enum q2_image_format format,
                          struct create_options *creation)
{
    if (arguments->options.nb > 0 && arguments->skip_create)
        return complain(
            "-n writes into an image that exists already, so -o cannot say how to create "
            "it; leave one of them out");
    for (size_t i = 0; i < arguments->options.nb; i++) {
        if (!create_options_add(creation, format, arguments->options.texts[i]))
            return false;
    }
    if (arguments->base)
        creation->image.backing_file = arguments->base;
    if (arguments->base_format)
        creation->image.backing_format = arguments->base_format;
    if (format == Q2_FORMAT_RAW && (arguments->base || arguments->compress))
        return complain(arguments->base ? "a raw output has no backing file (-B); use -O qcow2"
                                        : "a raw output cannot be compressed (-c); use -O qcow2");
    if (creation->image.backing_file && arguments->nb_operands > 2)
        return complain("an output of several inputs cannot have a backing file; leave out -B, or "
                        "convert one input");
    if (creation->image.backing_file && !creation->image.backing_format && !arguments->skip_create)
        return complain("a backing file needs its format: -F qcow2 or -F raw");
    if (creation->given[CREATE_SIZE])
        return complain("the output's size is the input's");
    if (creation->preallocation == PREALLOCATION_METADATA && format == Q2_FORMAT_RAW)
        return complain("a raw output has no metadata to preallocate; give preallocation=falloc or "
                        "full");
    if (creation->preallocation != PREALLOCATION_OFF && arguments->compress)
        return complain(
            "a compressed output (-c) cannot be preallocated; leave out -c or -o preallocation");
    if (creation->given[CREATE_ENCRYPT_FORMAT] && arguments->compress)
        return complain(
            "a compressed output (-c) cannot be encrypted; leave out -c or encrypt.format");
    return encryption_check(creation, arguments);
}

/* Options that do not go together, whatever the output is. */
static bool check_options(const struct arguments *arguments)
{
    if (arguments->offload && (arguments->compress || arguments->sparse_size != SPARSE_UNSAID))
        return complain("-C has the file system copy, so nothing can be compressed (-c) or looked "
                        "through for zeros (-S)");
    if (arguments->offload && arguments->salvage)
        return complain("-C has the file system copy, which leaves no zeros where it cannot read "
                        "(--salvage)");
    if (arguments->target_is_zero && !arguments->skip_create)
        return complain("--target-is-zero is about an output that exists; it needs -n");
    if (arguments->target_is_zero && arguments->base)
        return complain("an output with a backing file (-B) does not read as zeros; leave out "
                        "--target-is-zero");
    return true;
}

static bool check_sparse(uint64_t size)
{
    return size == SPARSE_UNSAID || (size % 512 == 0 && size <= MAX_SPARSE) ||
           complain(
               "-S: the zeros that become a hole are a multiple of 512 bytes and at most 16 MiB; "
               "0 makes no holes");
}

static bool check_bitmaps(const struct arguments *arguments, enum q2_image_format format)
{
    if (arguments->skip_broken_bitmaps && !arguments->bitmaps)
        return complain("--skip-broken-bitmaps needs --bitmaps, which copies bitmaps");
    if (arguments->bitmaps && format == Q2_FORMAT_RAW)
        return complain("a raw output has no bitmaps");
    return true;
}

static bool read_threads(uint64_t wanted, unsigned *ret_threads)
{
    long processors = sysconf(_SC_NPROCESSORS_ONLN);

    if (wanted == THREADS_UNSAID)
        wanted = processors < 1 ? 1 : (uint64_t)processors;
    else if (wanted == 0 || wanted > MAX_THREADS)
        return complain("the number of threads (-m) must be from 1 to 16");
    *ret_threads = wanted < MAX_THREADS ? (unsigned)wanted : MAX_THREADS;
    return true;
}

/* Does what --target-image-opts says go together with writing? */
static bool check_output(const struct image_options *how)
{
    if (how->read_only || how->share)
        return complain("--target-image-opts: the output is written to; leave out read-only and "
                        "force-share");
    if (how->format == FORMAT_RAW &&
        (how->data_file || how->backing_files.nb > 0 || how->key_secret))
        return complain("--target-image-opts: a raw output has no data file, backing file or key");
    return true;
}

/* The output: its file, its format, and what --target-image-opts says of it. */
static bool read_output(const struct arguments *arguments, char *path,
                        enum q2_image_format *ret_format, struct image_options *how)
{
    char *output = arguments->all_operands[arguments->nb_operands - 1];
    const char *name = output;

    if (!arguments->target_image_opts)
        return arguments_format(arguments->output_format, ret_format) &&
               given_output(output, *ret_format, path);
    if (!arguments->skip_create)
        return complain("--target-image-opts names an output that exists; it needs -n");
    if (arguments->output_format)
        return complain("--target-image-opts and -O exclude each other; say driver=qcow2 or "
                        "driver=raw");
    if (!image_opts_operand(output, &name, how))
        return false;
    if (how->format == FORMAT_PROBED)
        return complain(
            "--target-image-opts: the output's format is not given; add driver=qcow2 or "
            "driver=raw");
    *ret_format = how->format == FORMAT_RAW ? Q2_FORMAT_RAW : Q2_FORMAT_QCOW2;
    return check_output(how) && given_output(name, *ret_format, path);
}

static bool convert(struct conversion *conversion, const struct arguments *arguments,
                    const char *path, const struct image_options *how,
                    struct create_options *creation, enum q2_image_format format)
{
    struct target_options options = {
        .path = path,
        .inputs = conversion->inputs,
        .sparse_size =
            arguments->sparse_size == SPARSE_UNSAID ? TARGET_SPARSE_SIZE : arguments->sparse_size,
        .cache = how->cache,
        .opens_by = *how,
        .skip_create = arguments->skip_create,
        .target_is_zero = arguments->target_is_zero,
        .keeps_backing = arguments->base != NULL,
        .compressed = arguments->compress,
        .bitmaps = arguments->bitmaps,
        .creation = creation,
    };
    struct encryption *encryption;
    bool done;

    if (!read_threads(arguments->nb_threads, &options.nb_threads) ||
        !encryption_begin(creation, &arguments->objects, &encryption))
        return false;
    conversion->target =
        format == Q2_FORMAT_QCOW2 ? target_qcow2_open(&options) : target_raw_open(&options);
    encryption_end(encryption); /* the target has its key now */
    if (!conversion->target)
        return false;
    rate_begin(&conversion->rate, arguments->rate);
    conversion->writes_zeros = arguments->sparse_size == 0;
    progress_begin(&conversion->progress, arguments->progress, arguments->quiet);
    done = conversion_run(conversion);
    progress_end(&conversion->progress, done);
    conversion->target->ops->close(conversion->target, done);
    return done;
}

int verb_convert(const struct arguments *arguments)
{
    struct inputs inputs;
    struct conversion conversion = {.inputs = &inputs, .offload = arguments->offload};
    struct create_options creation = {.preallocation = PREALLOCATION_OFF};
    struct image_options how = {.objects = &arguments->objects, .cache = arguments->output_cache};
    enum q2_image_format format;
    char path[Q2_MAX_PATH_LENGTH + 1];
    bool done;

    if (!read_output(arguments, path, &format, &how) || !check_options(arguments) ||
        !check_sparse(arguments->sparse_size) || !check_bitmaps(arguments, format) ||
        !read_creation(arguments, format, &creation))
        return EXIT_ERROR;
    if (!inputs_open(&inputs, arguments))
        return EXIT_ERROR;
    done = (!arguments->bitmaps ||
            bitmaps_can_copy(inputs.images[0], arguments->skip_broken_bitmaps)) &&
           convert(&conversion, arguments, path, &how, &creation, format);
    inputs_close(&inputs);
    return done ? EXIT_SUCCESS : EXIT_ERROR;
}
