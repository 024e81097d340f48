/* The inputs of convert. May call the engine.
 *
 * Invariant: input i begins where input i - 1 ends. Its disk is all of it but for less than a
 * sector at its end.
 */
#include "inputs.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tools/metalcow/base/entries.h"
#include "tools/metalcow/base/image_opts.h"
#include "tools/metalcow/base/output.h"
#include "tools/metalcow/base/snapshots.h"
#include "salvage.h"

#define SECTOR UINT64_C(512)
/* How much is read as data where the image does not say what it has. */
#define UNKNOWN_LENGTH (UINT64_C(64) << 10)

struct input {
    struct entries entries;
    uint64_t begin, end; /* bytes of the whole */
    uint64_t size;       /* of its disk, bytes */
};

/* Options that say something about one image do not say about which of several. */
static bool check_options(const struct arguments *arguments)
{
    const struct image_options *how = &arguments->image[0];

    if (arguments->snapshot_param || how->snapshot)
        return complain(
            "-l takes a snapshot of one input, but there are several inputs; convert each "
            "by itself first");
    if (arguments->bitmaps)
        return complain(
            "--bitmaps copies the bitmaps of one input, but there are several inputs; leave "
            "it out");
    if (how->data_file || how->backing_files.nb > 0)
        return complain(
            "--data-file and --backing-file say something about one input, but there are "
            "several");
    return true;
}

/* Open the next image. What --image-opts says is about one image only. */
static struct image *open_next(const struct inputs *inputs, const struct arguments *arguments,
                               bool single)
{
    struct arguments own = *arguments;

    own.operands[0] = arguments->all_operands[inputs->nb];
    if (arguments->image_opts &&
        !image_opts_operand(arguments->all_operands[inputs->nb], &own.operands[0], &own.image[0]))
        return NULL;
    return single ? snapshots_open(&own) : image_open(own.operands[0], &own.image[0], false);
}

/* Open the next image and append it to those that are open. */
static bool add(struct inputs *inputs, const struct arguments *arguments, bool single)
{
    struct input *input = &inputs->list[inputs->nb];
    struct image *image = open_next(inputs, arguments, single);
    uint64_t length;

    if (!image)
        return false;
    inputs->images[inputs->nb++] = image;
    entries_begin(&input->entries, image);
    input->size = length = q2_disk_size(image->disk);
    if (!single && length % SECTOR != 0)
        length += SECTOR - length % SECTOR;
    if (length > INT64_MAX - inputs->size)
        return complain("the inputs are too large to be one disk");
    input->begin = inputs->size;
    input->end = inputs->size += length;
    return true;
}

bool inputs_open(struct inputs *inputs, const struct arguments *arguments)
{
    size_t wanted = (size_t)arguments->nb_operands - 1;

    *inputs = (struct inputs){.salvage = arguments->salvage, .quiet = arguments->quiet};
    if (wanted > 1 && !check_options(arguments))
        return false;
    inputs->images = calloc(wanted, sizeof(*inputs->images));
    inputs->list = calloc(wanted, sizeof(*inputs->list));
    if (!inputs->images || !inputs->list) {
        inputs_close(inputs);
        return complain("out of memory");
    }
    while (inputs->nb < wanted) {
        if (!add(inputs, arguments, wanted == 1)) {
            inputs_close(inputs);
            return false;
        }
    }
    return true;
}

void inputs_cut(struct inputs *inputs, uint64_t start, uint64_t length)
{
    inputs->skip += start;
    inputs->size = length;
}

void inputs_close(struct inputs *inputs)
{
    for (size_t i = 0; i < inputs->nb; i++)
        image_close(inputs->images[i]);
    free(inputs->images);
    free(inputs->list);
    *inputs = (struct inputs){.nb = 0};
}

/* The input that has offset at, which is below inputs->size. */
static struct input *find(struct inputs *inputs, uint64_t at)
{
    if (at < inputs->list[inputs->current].begin)
        inputs->current = 0;
    while (at >= inputs->list[inputs->current].end)
        inputs->current++;
    return &inputs->list[inputs->current];
}

/* The state at start, of which length bytes are left. What cannot be looked up is data to salvage:
 * reading it says what is lost. */
static bool look(const struct inputs *inputs, struct input *input, uint64_t start, uint64_t length,
                 struct q2_map_entry *ret_entry)
{
    if (entries_next(&input->entries, start, length, ret_entry) == Q2_OK)
        return true;
    if (!inputs->salvage) {
        image_print_fault(input->entries.image);
        return false;
    }
    *ret_entry = (struct q2_map_entry){
        .length = length < UNKNOWN_LENGTH ? length : UNKNOWN_LENGTH,
        .data = true,
    };
    return true;
}

bool inputs_look(struct inputs *inputs, uint64_t at, struct q2_map_entry *ret_entry)
{
    struct input *input = find(inputs, inputs->skip + at);
    uint64_t start = inputs->skip + at - input->begin, left = inputs->size - at;

    if (start >= input->size) {
        *ret_entry = (struct q2_map_entry){.length = input->end - inputs->skip - at, .zero = true};
    } else if (!look(inputs, input, start, input->size - start, ret_entry)) {
        return false;
    }
    ret_entry->start = at;
    if (ret_entry->length > left)
        ret_entry->length = left;
    return true;
}

int inputs_file(const struct inputs *inputs, const struct q2_map_entry *entry)
{
    struct q2_layer_info layer;

    q2_disk_layer_info(inputs->images[inputs->current]->disk, entry->depth, &layer);
    return image_source_fd(layer.data_source);
}

/* Read from one input; length does not go past its end. */
static bool read_one(const struct inputs *inputs, struct input *input, uint64_t at, uint8_t *buffer,
                     size_t length)
{
    struct image *image = input->entries.image;
    uint64_t start = at - input->begin;
    uint64_t left = start < input->size ? input->size - start : 0;
    size_t stored = length < left ? length : (size_t)left;

    memset(buffer + stored, 0, length - stored);
    if (stored == 0 || q2_disk_read(image->disk, start, buffer, stored) == Q2_OK)
        return true;
    if (inputs->salvage)
        salvage_read(image, start, buffer, stored, inputs->quiet);
    else
        image_print_fault(image);
    return inputs->salvage;
}

bool inputs_read(struct inputs *inputs, uint64_t at, uint8_t *buffer, size_t length)
{
    at += inputs->skip;
    while (length > 0) {
        struct input *input = find(inputs, at);
        size_t n = length < input->end - at ? length : (size_t)(input->end - at);

        if (!read_one(inputs, input, at, buffer, n))
            return false;
        at += n;
        buffer += n;
        length -= n;
    }
    return true;
}
