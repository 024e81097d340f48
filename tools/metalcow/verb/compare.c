/* metalcow compare: tells whether two images have the same content. Both are only read. */
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "tools/metalcow/base/entries.h"
#include "tools/metalcow/base/output.h"
#include "tools/metalcow/base/progress.h"
#include "tools/metalcow/verbs.h"
#include "tools/metalcow/base/zeros.h"

/* Exit statuses of `compare`. A wrong command line must not look like "they differ". */
enum {
    COMPARE_SAME = 0,
    COMPARE_DIFFERENT = 1,
    COMPARE_OPEN_ERROR = 2,
    COMPARE_MAP_ERROR = 3,
    COMPARE_READ_ERROR = 4,
};

#define BUFFER_SIZE ((size_t)2 << 20)
/* A shorter run of zeros is read like data: one large read costs less than many small ones. */
#define SKIP_LENGTH ((uint64_t)256 << 10)

/* One comparison. side[1].image is NULL where only the larger image is left: then that one, in
 * side[0], must be zero. */
struct comparison {
    struct {
        struct image *image;
        struct entries entries;
        uint8_t *buffer;
    } side[2];
    uint64_t total; /* bytes of the larger image */
    bool strict, quiet;
    struct progress progress;
};

static void __attribute__((format(printf, 2, 3)))
say(const struct comparison *comparison, const char *format, ...)
{
    va_list list;

    if (comparison->quiet)
        return;
    va_start(list, format);
    vprintf(format, list);
    va_end(list);
}

static bool same_state(const struct q2_map_entry *a, const struct q2_map_entry *b)
{
    return a->data == b->data && a->zero == b->zero && a->present == b->present &&
           a->has_offset == b->has_offset;
}

/* Ask both maps at at: ret_length bytes are to be compared next, unless they are known equal. */
static int plan(struct comparison *comparison, uint64_t at, uint64_t end, uint64_t *ret_length,
                bool *ret_known)
{
    struct q2_map_entry entry[2] = {0};
    uint64_t length = end - at;

    for (int i = 0; i < 2 && comparison->side[i].image; i++) {
        if (entries_next(&comparison->side[i].entries, at, end - at, &entry[i]) != Q2_OK) {
            image_print_fault(comparison->side[i].image);
            return COMPARE_MAP_ERROR;
        }
        if (entry[i].length < length)
            length = entry[i].length;
    }
    if (!comparison->side[1].image)
        entry[1].zero = true;
    else if (comparison->strict && !same_state(&entry[0], &entry[1])) {
        say(comparison, "Strict mode: Offset %" PRIu64 " block status mismatch!\n", at);
        return COMPARE_DIFFERENT;
    }
    *ret_known = entry[0].zero && entry[1].zero &&
                 (length >= SKIP_LENGTH || length == end - at || comparison->strict);
    if (!*ret_known && !comparison->strict)
        length = end - at;
    *ret_length = *ret_known || length < BUFFER_SIZE ? length : BUFFER_SIZE;
    return COMPARE_SAME;
}

/* The first byte that differs; length if none does. */
static size_t find_difference(const struct comparison *comparison, size_t length)
{
    const uint8_t *a = comparison->side[0].buffer, *b = comparison->side[1].buffer;
    size_t i = 0;

    if (comparison->side[1].image ? memcmp(a, b, length) == 0 : is_zero(a, length))
        return length;
    while (i < length && a[i] == (comparison->side[1].image ? b[i] : 0))
        i++;
    return i;
}

static int compare_bytes(struct comparison *comparison, uint64_t at, size_t length)
{
    size_t found;

    for (int i = 0; i < 2 && comparison->side[i].image; i++) {
        struct image *image = comparison->side[i].image;

        if (q2_disk_read(image->disk, at, comparison->side[i].buffer, length) != Q2_OK) {
            image_print_fault(image);
            return COMPARE_READ_ERROR;
        }
    }
    found = find_difference(comparison, length);
    if (found == length)
        return COMPARE_SAME;
    /* Sectors are what people know of disks. */
    say(comparison, "Content mismatch at offset %" PRIu64 "!\n", (at + found) & ~UINT64_C(511));
    return COMPARE_DIFFERENT;
}

static int compare_range(struct comparison *comparison, uint64_t at, uint64_t end)
{
    while (at < end) {
        uint64_t length;
        bool known;
        int result = plan(comparison, at, end, &length, &known);

        if (result == COMPARE_SAME && !known)
            result = compare_bytes(comparison, at, (size_t)length);
        if (result != COMPARE_SAME)
            return result;
        at += length;
        progress_update(&comparison->progress, at, comparison->total);
    }
    return COMPARE_SAME;
}

static int compare(struct comparison *comparison)
{
    struct comparison rest;
    uint64_t size[2], common;
    int result;

    for (int i = 0; i < 2; i++)
        size[i] = q2_disk_size(comparison->side[i].image->disk);
    common = size[0] < size[1] ? size[0] : size[1];
    comparison->total = size[0] < size[1] ? size[1] : size[0];
    if (comparison->strict && size[0] != size[1]) {
        say(comparison, "Strict mode: Image size mismatch!\n");
        return COMPARE_DIFFERENT;
    }
    result = compare_range(comparison, 0, common);
    if (result != COMPARE_SAME || size[0] == size[1])
        return result;
    say(comparison, "Warning: Image size mismatch!\n");
    rest = *comparison;
    if (size[1] > size[0])
        rest.side[0] = rest.side[1];
    rest.side[1].image = NULL;
    result = compare_range(&rest, common, comparison->total);
    comparison->progress = rest.progress;
    return result;
}

static bool open_sides(const struct arguments *arguments, struct comparison *comparison)
{
    for (int i = 0; i < 2; i++) {
        comparison->side[i].image = image_open(arguments->operands[i], &arguments->image[i], false);
        if (!comparison->side[i].image)
            return false;
        comparison->side[i].buffer = malloc(BUFFER_SIZE);
        if (!comparison->side[i].buffer) {
            fputs("metalcow: out of memory\n", stderr);
            return false;
        }
        entries_begin(&comparison->side[i].entries, comparison->side[i].image);
    }
    return true;
}

int verb_compare(const struct arguments *arguments)
{
    struct comparison comparison = {.strict = arguments->strict, .quiet = arguments->quiet};
    int result = COMPARE_OPEN_ERROR;

    if (open_sides(arguments, &comparison)) {
        progress_begin(&comparison.progress, arguments->progress, arguments->quiet);
        result = compare(&comparison);
        progress_end(&comparison.progress, result == COMPARE_SAME);
        if (result == COMPARE_SAME)
            say(&comparison, "Images are identical.\n");
    }
    for (int i = 0; i < 2; i++) {
        free(comparison.side[i].buffer);
        image_close(comparison.side[i].image);
    }
    return result;
}
