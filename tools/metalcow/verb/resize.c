/* metalcow resize: changes the size of a disk. */
#include <stdio.h>
#include <stdlib.h>

#include "tools/metalcow/base/file_size.h"
#include "tools/metalcow/base/image.h"
#include "tools/metalcow/base/output.h"
#include "tools/metalcow/convert/preallocation.h"
#include "tools/metalcow/convert/raw_size.h"
#include "q2_amend.h"
#include "tools/metalcow/base/size.h"
#include "tools/metalcow/verbs.h"

/* "SIZE", "+SIZE", "-SIZE" */
static bool parse_size(const char *text, uint64_t old_size, uint64_t *ret_size)
{
    bool relative = text[0] == '+' || text[0] == '-';
    uint64_t size;

    if (!arguments_size(text + relative, &size))
        return false;
    old_size = (old_size + 511) & ~UINT64_C(511); /* whole sectors, as in qemu-img */
    if (text[0] == '-')
        size = size < old_size ? old_size - size : 0;
    else if (text[0] == '+')
        size = size <= INT64_MAX && old_size <= INT64_MAX - size ? old_size + size : UINT64_MAX;
    if (size == 0)
        return complain("the new size would be 0 bytes; give a larger one");
    if (size > INT64_MAX)
        return complain("the new image size is too large");
    *ret_size = size;
    return true;
}

static bool is_allowed(const struct arguments *arguments, uint64_t old_size, uint64_t new_size)
{
    if (new_size >= old_size)
        return true;
    if (arguments->preallocation != PREALLOCATION_OFF)
        return complain(
            "--preallocation is for the room that is added, but the disk becomes smaller; "
            "leave it out");
    if (arguments->shrink)
        return true;
    return complain(
        "the disk would become smaller and lose the data past its new end; add --shrink if "
        "nothing there is needed");
}

/* Give a disk its old size again after its preallocation failed, and cut its data file to
 * data_size. The caller has printed that failure. */
static void undo_growth(struct image *image, uint64_t old_size, uint64_t data_size)
{
    struct q2_layer_info info;

    if (q2_disk_resize(image->disk, old_size, true) != Q2_OK) {
        image_print_fault(image);
        return;
    }
    q2_disk_layer_info(image->disk, 0, &info);
    if (info.data_source != info.source)
        (void)file_size_set(info.data_source, data_size);
    fputs("metalcow: the disk has its old size again\n", stderr);
}

static bool resize_qcow2(struct image *image, const struct arguments *arguments, uint64_t size)
{
    uint64_t old_size = q2_disk_size(image->disk), data_size;
    struct q2_layer_info info;

    q2_disk_layer_info(image->disk, 0, &info);
    data_size = info.data_source->size;
    if (q2_disk_resize(image->disk, size, arguments->shrink) != Q2_OK) {
        image_print_fault(image);
        return false;
    }
    if (size <= old_size)
        return file_size_cut_data(image, old_size);
    if (preallocate_qcow2(image, old_size, size - old_size, arguments->preallocation))
        return true;
    undo_growth(image, old_size, data_size);
    return false;
}

static bool resize(struct image *image, const struct arguments *arguments)
{
    uint64_t old_size = q2_disk_size(image->disk), size = 0;
    struct q2_layer_info info;

    if (!parse_size(arguments->operands[1], old_size, &size) ||
        !is_allowed(arguments, old_size, size))
        return false;
    q2_disk_layer_info(image->disk, 0, &info);
    if (info.format == Q2_FORMAT_RAW)
        return raw_size_set(image, size, arguments->preallocation);
    if (size % 512 != 0)
        return complain("the new size of a qcow2 image must be a multiple of 512 bytes");
    return resize_qcow2(image, arguments, size);
}

int verb_resize(const struct arguments *arguments)
{
    struct image_options how = arguments->image[0];
    struct image *image;
    bool done;

    how.writable = true;
    image = image_open(arguments->operands[0], &how, false);
    if (!image)
        return EXIT_ERROR;
    done = resize(image, arguments);
    image_close(image);
    if (done && !arguments->quiet)
        puts("Image resized.");
    return done ? EXIT_SUCCESS : EXIT_ERROR;
}
