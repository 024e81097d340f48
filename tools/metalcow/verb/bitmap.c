/* metalcow bitmap: adds, removes and changes persistent dirty bitmaps.
 *
 * Invariant: the actions are done in the order of the command line, each of them complete and
 * durable before the next; the first that fails is the last.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tools/metalcow/base/bitmaps.h"
#include "tools/metalcow/base/output.h"
#include "tools/metalcow/verbs.h"

/* A call at work. */
struct work {
    const struct arguments *arguments;
    struct image *image;
    const char *name;     /* of the bitmap that changes */
    uint32_t granularity; /* log2 of bytes; 0: the usual one */
};

/* --- the command line ------------------------------------------------------------------------ */

static bool has_action(const struct arguments *arguments, const char *name)
{
    for (size_t i = 0; i < arguments->actions.nb; i++) {
        if (strcmp(arguments->actions.actions[i].name, name) == 0)
            return true;
    }
    return false;
}

static bool check_arguments(const struct arguments *arguments)
{
    if (arguments->actions.nb == 0)
        return complain(
            "nothing to do: give --add, --remove, --clear, --enable, --disable or --merge");
    if (arguments->granularity != 0 && !has_action(arguments, "add"))
        return complain("-g sets the granularity of a new bitmap, so it needs --add");
    if (arguments->base && !has_action(arguments, "merge"))
        return complain("-b names the image that --merge takes a bitmap from, so it needs --merge");
    if (arguments->base_format && !arguments->base)
        return complain("-F is the format of the image that -b names, so it needs -b");
    return true;
}

static bool read_granularity(struct work *work)
{
    uint64_t granularity = work->arguments->granularity;

    if (granularity == 0)
        return true;
    work->granularity = Q2_MIN_GRANULARITY_BITS;
    while (work->granularity < Q2_MAX_GRANULARITY_BITS &&
           UINT64_C(1) << work->granularity < granularity)
        work->granularity++;
    return UINT64_C(1) << work->granularity == granularity ||
           complain("the granularity must be a power of 2, from 512 to 2G");
}

/* --- merge ----------------------------------------------------------------------------------- */

static bool judge(struct image *image, enum q2_status status)
{
    if (status != Q2_OK)
        image_print_fault(image);
    return status == Q2_OK;
}

/* Find a bitmap that is not inconsistent. */
static bool find(struct image *image, const char *name, struct q2_bitmap *ret_bitmap)
{
    if (!judge(image, q2_disk_bitmap_find(image->disk, name, ret_bitmap)))
        return false;
    if (!(ret_bitmap->flags & Q2_BITMAP_IN_USE))
        return true;
    print_fault(image->path, &(struct q2_fault){.status = Q2_ERR_BUSY,
                                                .what = "the bitmap is inconsistent, so nothing "
                                                        "can be taken from it"});
    return false;
}

static bool merge_from(struct work *work, struct image *from, const char *source_name)
{
    struct q2_bitmap source, bitmap;
    struct image *at_fault = from;
    uint64_t source_size = q2_disk_size(from->disk), size = q2_disk_size(work->image->disk);
    enum q2_status status;

    if (!find(work->image, work->name, &bitmap) || !find(from, source_name, &source))
        return false;
    if (source_size != size) {
        fprintf(
            stderr,
            "metalcow: bitmaps of disks of different sizes cannot be merged: this disk has %" PRIu64
            " bytes, the other one has %" PRIu64 "; resize one of them first\n",
            size, source_size);
        return false;
    }
    status = bitmaps_merge(from, &source, work->image, &bitmap, &at_fault);
    return judge(at_fault, status) && judge(work->image, q2_disk_bitmaps_store(work->image->disk));
}

static bool merge(struct work *work, const char *source_name)
{
    struct image_options options = {.names = work->arguments->image[0].names};
    struct image *from;
    bool done;

    if (!work->arguments->base)
        return merge_from(work, work->image, source_name);
    if (work->arguments->base_format) {
        enum q2_image_format format;

        if (!arguments_format(work->arguments->base_format, &format))
            return false;
        options.format = format == Q2_FORMAT_RAW ? FORMAT_RAW : FORMAT_QCOW2;
    }
    if (image_uses_path(work->image, work->arguments->base))
        return merge_from(work, work->image, source_name);
    from = image_open(work->arguments->base, &options, true);
    done = from && merge_from(work, from, source_name);
    image_close(from);
    return done;
}

/* --- the actions ------------------------------------------------------------------------------ */

static bool add(struct work *work, const struct verb_action *action)
{
    (void)action;
    return judge(work->image,
                 q2_disk_bitmap_add(work->image->disk, work->name, work->granularity, true));
}

static bool remove_bitmap(struct work *work, const struct verb_action *action)
{
    (void)action;
    return judge(work->image, q2_disk_bitmap_remove(work->image->disk, work->name));
}

static bool clear(struct work *work, const struct verb_action *action)
{
    (void)action;
    return judge(work->image, q2_disk_bitmap_clear(work->image->disk, work->name));
}

static bool enable(struct work *work, const struct verb_action *action)
{
    return judge(work->image, q2_disk_bitmap_enable(work->image->disk, work->name,
                                                    strcmp(action->name, "enable") == 0));
}

static bool merge_bitmap(struct work *work, const struct verb_action *action)
{
    return merge(work, action->value);
}

static const struct {
    const char *name;
    bool (*act)(struct work *work, const struct verb_action *action);
} actions[] = {
    {"add", add},       {"remove", remove_bitmap}, {"clear", clear},
    {"enable", enable}, {"disable", enable},       {"merge", merge_bitmap},
};

static bool act(struct work *work, const struct verb_action *action)
{
    for (size_t i = 0; i < sizeof(actions) / sizeof(actions[0]); i++) {
        if (strcmp(actions[i].name, action->name) == 0 && actions[i].act(work, action))
            return true;
    }
    fprintf(stderr, "metalcow: --%s was not done on bitmap '", action->name);
    print_escaped(stderr, work->name);
    fputs("'\n", stderr);
    return false;
}

int verb_bitmap(const struct arguments *arguments)
{
    struct work work = {.arguments = arguments, .name = arguments->operands[1]};
    struct image_options options = arguments->image[0];
    bool done = true;

    if (!check_arguments(arguments) || !read_granularity(&work))
        return EXIT_ERROR;
    options.writable = true;
    work.image = image_open(arguments->operands[0], &options, true);
    if (!work.image)
        return EXIT_ERROR;
    for (size_t i = 0; i < arguments->actions.nb && done; i++)
        done = act(&work, &arguments->actions.actions[i]);
    image_close(work.image);
    return done ? EXIT_SUCCESS : EXIT_ERROR;
}
