/* metalcow convert: a disk, or several one after the other, as a raw file or as a qcow2 image.
 *
 * Walks the inputs' allocation and hands it to a target in guest order: data in chunks, zeros by
 * range; what the target's backing file has is left out.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tools/metalcow/base/bitmaps.h"
#include "tools/metalcow/base/given.h"
#include "tools/metalcow/base/output.h"
#include "tools/metalcow/base/progress.h"
#include "tools/metalcow/convert/inputs.h"
#include "tools/metalcow/convert/target.h"
#include "tools/metalcow/verbs.h"

/* A shorter run of zeros is read like data: one large read costs less than many small ones. */
#define SKIP_LENGTH ((uint64_t)64 << 10)
#define MAX_THREADS 16u

/* Bytes of zeros in a row that become a hole, if nobody says so. */
#define SPARSE_SIZE 4096u

/* The most that the file system is asked to copy at once: progress is told in between. */
#define OFFLOAD_MOST ((uint64_t)64 << 20)

struct conversion {
    struct inputs inputs;
    struct target *target;
    struct progress progress;
    bool offload; /* have the file system copy where it can */
};

enum state {
    STATE_DATA,
    STATE_ZERO,
    STATE_BELOW, /* the target shows it without having it: from its backing file, or past its end */
};

/* The state at a guest offset, and how far it holds. */
static bool look(struct conversion *conversion, uint64_t at, enum state *ret_state,
                 uint64_t *ret_length)
{
    const struct target *target = conversion->target;
    struct q2_map_entry entry;

    if (!inputs_look(&conversion->inputs, at, &entry))
        return false;
    *ret_state = entry.zero ? STATE_ZERO : STATE_DATA;
    if (target->shares_backing && entry.depth > 0)
        *ret_state = STATE_BELOW;
    if (entry.zero && at >= target->blank_from)
        *ret_state = STATE_BELOW;
    *ret_length = entry.length;
    if (entry.zero && at < target->blank_from && entry.length > target->blank_from - at)
        *ret_length = target->blank_from - at;
    return true;
}

/* How many bytes from at on, whole units, can be passed over; 0: too few to be worth it. */
static uint64_t worth_skipping(const struct conversion *conversion, uint64_t at, enum state state,
                               uint64_t length)
{
    uint64_t unit = conversion->target->unit;
    uint64_t least = state == STATE_ZERO && unit < SKIP_LENGTH ? SKIP_LENGTH : unit;

    if (state == STATE_DATA)
        return 0;
    if (length == conversion->inputs.size - at)
        return length;
    return length >= least ? length / unit * unit : 0;
}

/* Length of what is to be read from at on: up to a run that can be passed over, in whole units. */
static bool gather(struct conversion *conversion, uint64_t at, size_t *ret_length)
{
    uint64_t unit = conversion->target->unit, left = conversion->inputs.size - at, length = 0;
    uint64_t most = left < conversion->target->chunk ? left : conversion->target->chunk;

    while (length < most) {
        enum state state;
        uint64_t next;

        if (!look(conversion, at + length, &state, &next))
            return false;
        if (length > 0 && worth_skipping(conversion, at + length, state, next) > 0)
            break;
        length += next;
    }
    length = (length + unit - 1) / unit * unit;
    *ret_length = (size_t)(length < most ? length : most);
    return true;
}

static bool copy_data(struct conversion *conversion, uint64_t at, uint64_t *ret_length)
{
    struct target *target = conversion->target;
    size_t length;
    uint8_t *buffer;

    if (!gather(conversion, at, &length))
        return false;
    buffer = target->ops->buffer(target);
    if (!buffer)
        return false;
    if (!inputs_read(&conversion->inputs, at, buffer, length))
        return false;
    *ret_length = length;
    return target->ops->write(target, at, length);
}

/* -C: the file system copies a run that is stored as it is. 0: it has to be read and written. */
static bool offload(struct conversion *conversion, uint64_t at, uint64_t *ret_length)
{
    struct target *target = conversion->target;
    struct q2_map_entry entry;
    uint64_t length;

    *ret_length = 0;
    if (!conversion->offload || !target->ops->offload)
        return true;
    if (!inputs_look(&conversion->inputs, at, &entry))
        return false;
    if (entry.zero || !entry.has_offset)
        return true;
    length = entry.length < OFFLOAD_MOST ? entry.length : OFFLOAD_MOST;
    *ret_length = target->ops->offload(target, at, inputs_file(&conversion->inputs, &entry),
                                       entry.offset, length);
    conversion->offload = *ret_length > 0;
    return true;
}

/* Copy what begins at at. */
static bool copy_next(struct conversion *conversion, uint64_t at, uint64_t *ret_length)
{
    enum state state;
    uint64_t length;

    *ret_length = 0;
    if (!look(conversion, at, &state, &length))
        return false;
    if (state == STATE_DATA && !offload(conversion, at, ret_length))
        return false;
    if (state == STATE_DATA && *ret_length > 0)
        return true;
    length = worth_skipping(conversion, at, state, length);
    if (length == 0)
        return copy_data(conversion, at, ret_length);
    *ret_length = length;
    return state == STATE_BELOW || conversion->target->ops->zeros(conversion->target, at, length);
}

static bool copy(struct conversion *conversion)
{
    uint64_t at = 0, length;

    while (at < conversion->inputs.size) {
        if (!copy_next(conversion, at, &length))
            return false;
        at += length;
        progress_update(&conversion->progress, at, conversion->inputs.size);
    }
    return conversion->target->ops->finish(conversion->target);
}

static bool say(const char *text)
{
    fprintf(stderr, "metalcow: %s\n", text);
    return false;
}

/* -o, -B and -F together. */
static bool read_creation(const struct arguments *arguments, enum q2_image_format format,
                          struct create_options *creation)
{
    if (arguments->options.nb > 0 && arguments->skip_create)
        return say("-o has no effect when skipping image creation");
    for (size_t i = 0; i < arguments->options.nb; i++) {
        if (!create_options_add(creation, format, arguments->options.texts[i]))
            return false;
    }
    if (arguments->base)
        creation->image.backing_file = arguments->base;
    if (arguments->base_format)
        creation->image.backing_format = arguments->base_format;
    if (format == Q2_FORMAT_RAW && (arguments->base || arguments->compress))
        return say(arguments->base ? "a raw output has no backing file"
                                   : "Compression not supported for this file format");
    if (arguments->offload && (arguments->compress || arguments->sparse_size != SPARSE_UNSAID))
        return say("-C has the file system copy, so nothing can be compressed (-c) or looked "
                   "through for zeros (-S)");
    if (creation->image.backing_file && arguments->nb_operands > 2)
        return say("Having a backing file for the target makes no sense when concatenating "
                   "multiple input images");
    if (creation->image.backing_file && !creation->image.backing_format && !arguments->skip_create)
        return say("a backing file needs its format: -F qcow2 or -F raw");
    if (creation->given[CREATE_SIZE])
        return say("the output's size is the input's");
    if (creation->preallocation != PREALLOCATION_OFF && format == Q2_FORMAT_RAW)
        return say("a raw output is not preallocated");
    if (creation->preallocation != PREALLOCATION_OFF && arguments->compress)
        return say("Compression and preallocation not supported at the same time");
    return true;
}

static bool check_bitmaps(const struct arguments *arguments, enum q2_image_format format)
{
    if (arguments->skip_broken_bitmaps && !arguments->bitmaps)
        return say("Use of --skip-broken-bitmaps requires --bitmaps");
    if (arguments->bitmaps && format == Q2_FORMAT_RAW)
        return say("a raw output has no bitmaps");
    return true;
}

static bool read_threads(uint64_t wanted, unsigned *ret_threads)
{
    long processors = sysconf(_SC_NPROCESSORS_ONLN);

    if (wanted == 0)
        wanted = processors < 1 ? 1 : (uint64_t)processors;
    else if (wanted > MAX_THREADS)
        return say("Invalid number of threads. Allowed number of threads is between 1 and 16");
    *ret_threads = wanted < MAX_THREADS ? (unsigned)wanted : MAX_THREADS;
    return true;
}

static int convert(struct conversion *conversion, const struct arguments *arguments,
                   const char *path, struct create_options *creation, enum q2_image_format format)
{
    struct target_options options = {
        .path = path,
        .inputs = &conversion->inputs,
        .sparse_size =
            arguments->sparse_size == SPARSE_UNSAID ? SPARSE_SIZE : arguments->sparse_size,
        .cache = arguments->output_cache,
        .skip_create = arguments->skip_create,
        .keeps_backing = arguments->base != NULL,
        .compressed = arguments->compress,
        .bitmaps = arguments->bitmaps,
        .creation = creation,
    };
    bool done;

    if (!read_threads(arguments->nb_threads, &options.nb_threads))
        return EXIT_ERROR;
    conversion->target =
        format == Q2_FORMAT_QCOW2 ? target_qcow2_open(&options) : target_raw_open(&options);
    if (!conversion->target)
        return EXIT_ERROR;
    progress_begin(&conversion->progress, arguments->progress, arguments->quiet);
    done = copy(conversion);
    progress_end(&conversion->progress, done);
    conversion->target->ops->close(conversion->target, done);
    return done ? EXIT_SUCCESS : EXIT_ERROR;
}

int verb_convert(const struct arguments *arguments)
{
    struct conversion conversion = {.target = NULL, .offload = arguments->offload};
    struct create_options creation = {.preallocation = PREALLOCATION_OFF};
    enum q2_image_format format;
    char path[Q2_MAX_PATH_LENGTH + 1];
    int status;

    if (!arguments_format(arguments->output_format, &format) ||
        !given_output(arguments->all_operands[arguments->nb_operands - 1], format, path) ||
        !check_bitmaps(arguments, format) || !read_creation(arguments, format, &creation))
        return EXIT_ERROR;
    if (!inputs_open(&conversion.inputs, arguments))
        return EXIT_ERROR;
    status = EXIT_ERROR;
    if (!arguments->bitmaps ||
        bitmaps_can_copy(conversion.inputs.images[0], arguments->skip_broken_bitmaps))
        status = convert(&conversion, arguments, path, &creation, format);
    inputs_close(&conversion.inputs);
    return status;
}
