/* metalcow map: prints which file has which part of the disk. The image is only read. */
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>

#include "tools/metalcow/base/entries.h"
#include "tools/metalcow/picture/map_picture.h"
#include "tools/metalcow/base/hold.h"
#include "tools/metalcow/base/output.h"
#include "tools/metalcow/verbs.h"

/* Room for three columns and for a path of which every byte is escaped. */
#define LINE_SIZE (64u + 4u * PATH_MAX)

static const char *word(bool value)
{
    return value ? "true" : "false";
}

static void print_json(const struct q2_map_entry *entry, bool first)
{
    printf("%s{ \"start\": %" PRIu64 ", \"length\": %" PRIu64 ", \"depth\": %" PRIu32
           ", \"present\": %s, \"zero\": %s, \"data\": %s",
           first ? "[" : ",\n", entry->start, entry->length, entry->depth, word(entry->present),
           word(entry->zero), word(entry->data));
    if (entry->has_offset)
        printf(", \"offset\": %" PRIu64, entry->offset);
    putchar('}');
}

/* Print the line of a run that can be read as it is at an offset of a file. Any other run of data
 * is refused, because the columns cannot describe it. */
static bool print_human(const struct q2_map_entry *entry)
{
    char line[LINE_SIZE];

    if (!q2_map_entry_has_place(entry)) {
        fflush(stdout);
        fputs("metalcow: " Q2_MAP_REFUSAL "\n", stderr);
        return false;
    }
    if (q2_map_entry_format(entry, line, sizeof(line)) > 0)
        puts(line);
    return true;
}

static bool print_entry(const struct q2_map_entry *entry, bool json, bool first)
{
    if (!json)
        return print_human(entry);
    print_json(entry, first);
    return true;
}

/* The bytes to look at, [*ret_begin, *ret_end); empty if the start is past the end. */
static void find_range(const struct image *image, const struct arguments *arguments,
                       uint64_t *ret_begin, uint64_t *ret_end)
{
    uint64_t size = q2_disk_size(image->disk), begin = arguments->start;

    *ret_begin = begin < size ? begin : size;
    *ret_end = arguments->max_length < size - *ret_begin ? begin + arguments->max_length : size;
}

static bool print_entries(struct image *image, uint64_t at, uint64_t end, bool json)
{
    struct entries entries;
    struct q2_map_entry run = {0}, next;
    bool first = true;

    entries_begin(&entries, image);
    while (at < end && !ferror(stdout)) {
        if (entries_next(&entries, at, end - at, &next) != Q2_OK) {
            image_print_fault(image);
            return false;
        }
        at += next.length;
        if (q2_map_entry_join(&run, &next))
            continue;
        if (run.length > 0) {
            if (!print_entry(&run, json, first))
                return false;
            first = false;
        }
        run = next;
    }
    if (run.length > 0 && !print_entry(&run, json, first))
        return false;
    return true;
}

/* As in qemu-img a range without bytes has an entry too. */
static bool print_nothing(uint64_t at, bool json)
{
    if (json)
        print_json(&(struct q2_map_entry){.start = at}, true);
    return true;
}

static bool print_map(struct image *image, const struct arguments *arguments)
{
    bool json = arguments->map_output == MAP_JSON, done;
    uint64_t begin, end;

    find_range(image, arguments, &begin, &end);
    if (arguments->map_output == MAP_HTML || arguments->map_output == MAP_SVG)
        return map_picture(stdout, image, begin, end, arguments->map_output == MAP_HTML);
    if (arguments->map_output == MAP_HUMAN)
        puts(Q2_MAP_HEADING);
    done = begin < end ? print_entries(image, begin, end, json)
                       : print_nothing(arguments->start, json);
    if (done && json)
        puts("]");
    return done;
}

int verb_map(const struct arguments *arguments)
{
    struct image *image = image_open(arguments->operands[0], &arguments->image[0], false);
    struct hold hold;
    bool done;

    if (!image)
        return EXIT_ERROR;
    hold_begin(&hold);
    done = print_map(image, arguments);
    hold_end(&hold, done || arguments->map_output == MAP_HUMAN);
    image_close(image);
    return done ? EXIT_SUCCESS : EXIT_ERROR;
}
