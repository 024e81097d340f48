/* Dirty bitmaps, as the verbs copy and merge them. */
#include "bitmaps.h"

#include <inttypes.h>
#include <stdio.h>

#include "output.h"

static enum q2_status fail(struct image *image, struct image **ret_at_fault, enum q2_status status)
{
    *ret_at_fault = image;
    return status;
}

enum q2_status bitmaps_merge(struct image *from, const struct q2_bitmap *source, struct image *to,
                             const struct q2_bitmap *bitmap, struct image **ret_at_fault)
{
    uint64_t at = 0, length;

    for (;;) {
        enum q2_status status = q2_disk_bitmap_dirty(from->disk, source, at, &at, &length);

        if (status != Q2_OK)
            return fail(from, ret_at_fault, status);
        if (length == 0)
            return Q2_OK;
        status = q2_disk_bitmap_mark(to->disk, bitmap, at, length);
        if (status != Q2_OK)
            return fail(to, ret_at_fault, status);
        at += length;
    }
}

static uint32_t count(struct image *image)
{
    return q2_disk_has_bitmaps(image->disk) ? q2_disk_nb_bitmaps(image->disk) : 0;
}

static bool judge(struct image *image, enum q2_status status)
{
    if (status != Q2_OK)
        image_print_fault(image);
    return status == Q2_OK;
}

/* (qcow2: "Bitmaps extension", which needs the autoclear bits of version 3) */
static bool may_have_bitmaps(const struct q2_layer_info *info)
{
    const char *wrong = NULL;

    if (info->is_snapshot)
        wrong = "a snapshot has no bitmaps";
    else if (info->format != Q2_FORMAT_QCOW2)
        wrong = "only a qcow2 image has bitmaps, and the input is none; leave out --bitmaps";
    else if (info->header->version < 3)
        wrong = "an image of version 2 has no bitmaps, and the input is one; leave out --bitmaps";
    return !wrong || complain(wrong);
}

bool bitmaps_can_copy(struct image *from, bool skip_inconsistent)
{
    struct q2_layer_info info;

    q2_disk_layer_info(from->disk, 0, &info);
    if (!may_have_bitmaps(&info))
        return false;
    for (uint32_t i = 0; i < count(from); i++) {
        struct q2_bitmap bitmap;

        if (!judge(from, q2_disk_bitmap(from->disk, i, &bitmap)))
            return false;
        if (!(bitmap.flags & Q2_BITMAP_IN_USE))
            continue;
        fputs(skip_inconsistent
                  ? "metalcow: warning: not copied, because it was not stored completely: bitmap '"
                  : "metalcow: not stored completely, so it cannot be copied: bitmap '",
              stderr);
        print_escaped(stderr, bitmap.name);
        fputs(skip_inconsistent
                  ? "'\n"
                  : "'; add --skip-broken-bitmaps, or delete it with 'metalcow bitmap "
                    "--remove'\n",
              stderr);
        if (!skip_inconsistent)
            return false;
    }
    return true;
}

static bool copy_one(struct image *from, const struct q2_bitmap *source, struct image *to)
{
    struct q2_bitmap bitmap;
    struct image *at_fault = to;
    enum q2_status status = q2_disk_bitmap_add(to->disk, source->name, source->granularity_bits,
                                               (source->flags & Q2_BITMAP_AUTO) != 0);

    if (status == Q2_OK)
        status = q2_disk_bitmap_find(to->disk, source->name, &bitmap);
    if (status == Q2_OK)
        status = bitmaps_merge(from, source, to, &bitmap, &at_fault);
    if (status == Q2_OK)
        status = q2_disk_bitmaps_store(to->disk);
    return judge(at_fault, status);
}

bool bitmaps_copy(struct image *from, struct image *to)
{
    for (uint32_t i = 0; i < count(from); i++) {
        struct q2_bitmap bitmap;

        if (!judge(from, q2_disk_bitmap(from->disk, i, &bitmap)))
            return false;
        if (!(bitmap.flags & Q2_BITMAP_IN_USE) && !copy_one(from, &bitmap, to))
            return false;
    }
    return true;
}
