/* metalcow dd: copies a part of a disk, counted in blocks, into a raw file or a qcow2 image.
 *
 * Operands are dd's: NAME=VALUE in any order. count is a number of blocks after skip, as with
 * dd(1); qemu-img before version 9.1 counts it from the disk's start.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tools/metalcow/base/given.h"
#include "tools/metalcow/base/output.h"
#include "tools/metalcow/base/size.h"
#include "tools/metalcow/convert/copy.h"
#include "tools/metalcow/verbs.h"

#define BLOCK_SIZE  512u
#define BLOCK_MOST  INT32_MAX
#define NUMBER_MOST INT64_MAX /* of blocks */

struct dd {
    const char *input, *output;
    uint64_t block, count, skip; /* bytes, blocks, blocks */
};

/* The value of the operand NAME=VALUE; NULL if the operand has another name. */
static const char *value_of(const char *operand, const char *name)
{
    size_t length = strlen(name);

    return strncmp(operand, name, length) == 0 && operand[length] == '=' ? operand + length + 1
                                                                         : NULL;
}

static bool refuse(const char *operand, const char *why)
{
    fputs("metalcow: dd: '", stderr);
    print_escaped(stderr, operand);
    fprintf(stderr, "' %s\n", why);
    return false;
}

static bool read_operand(const char *operand, struct dd *dd)
{
    const struct {
        const char *name;
        const char **path;
        uint64_t *number;
    } rows[] = {
        {"if", &dd->input, NULL},    {"of", &dd->output, NULL}, {"bs", NULL, &dd->block},
        {"count", NULL, &dd->count}, {"skip", NULL, &dd->skip},
    };

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        const char *value = value_of(operand, rows[i].name);

        if (value && rows[i].path)
            *rows[i].path = value;
        if (value)
            return rows[i].path || size_parse(value, rows[i].number) ||
                   refuse(operand, "has no number; you may use the suffixes k, M, G, T, P and E");
    }
    return refuse(operand, "is none of if=FILE, of=OUTPUT, bs=SIZE, count=N and skip=N");
}

static bool read_operands(const struct arguments *arguments, struct dd *dd)
{
    for (int i = 0; i < arguments->nb_operands; i++) {
        if (!read_operand(arguments->all_operands[i], dd))
            return false;
    }
    if (!dd->input || !dd->output)
        return refuse(dd->input ? "of=OUTPUT" : "if=FILE", "is missing");
    if (dd->block == 0 || dd->block > BLOCK_MOST)
        return refuse("bs", "is between 1 and 2147483647 bytes");
    if (dd->count > NUMBER_MOST || dd->skip > NUMBER_MOST)
        return refuse(dd->count > NUMBER_MOST ? "count" : "skip",
                      "is at most 9223372036854775807 blocks");
    return true;
}

/* a times b; UINT64_MAX if that is too large. */
static uint64_t times(uint64_t a, uint64_t b)
{
    uint64_t product;

    return __builtin_mul_overflow(a, b, &product) ? UINT64_MAX : product;
}

/* Cut the inputs to the range that dd copies. */
static void cut(const struct dd *dd, struct inputs *inputs)
{
    uint64_t start = times(dd->skip, dd->block), length = times(dd->count, dd->block);

    if (start > inputs->size) {
        fputs("metalcow: ", stderr);
        print_escaped(stderr, dd->input);
        fputs(": skip is past the end of the disk; the output is empty\n", stderr);
        start = inputs->size;
    }
    if (length > inputs->size - start)
        length = inputs->size - start;
    inputs_cut(inputs, start, length);
}

static bool copy(struct inputs *inputs, const char *path, enum q2_image_format format)
{
    struct create_options creation = {.preallocation = PREALLOCATION_OFF};
    const struct target_options options = {.path = path,
                                           .inputs = inputs,
                                           .sparse_size = TARGET_SPARSE_SIZE,
                                           .nb_threads = 1,
                                           .creation = &creation};
    struct conversion conversion = {.inputs = inputs};
    bool done;

    conversion.target =
        format == Q2_FORMAT_QCOW2 ? target_qcow2_open(&options) : target_raw_open(&options);
    if (!conversion.target)
        return false;
    progress_begin(&conversion.progress, false, false);
    done = conversion_run(&conversion);
    progress_end(&conversion.progress, done);
    conversion.target->ops->close(conversion.target, done);
    return done;
}

int verb_dd(const struct arguments *arguments)
{
    struct dd dd = {.block = BLOCK_SIZE, .count = NUMBER_MOST};
    struct arguments of_input = *arguments;
    char *operands[2];
    char path[Q2_MAX_PATH_LENGTH + 1];
    enum q2_image_format format;
    struct inputs inputs;
    bool done;

    if (!arguments_format(arguments->output_format, &format) || !read_operands(arguments, &dd) ||
        !given_output(dd.output, format, path))
        return EXIT_ERROR;
    operands[0] = (char *)dd.input;
    operands[1] = path;
    of_input.all_operands = operands;
    of_input.operands[0] = dd.input;
    of_input.nb_operands = 2;
    if (!inputs_open(&inputs, &of_input))
        return EXIT_ERROR;
    cut(&dd, &inputs);
    done = copy(&inputs, path, format);
    inputs_close(&inputs);
    return done ? EXIT_SUCCESS : EXIT_ERROR;
}
