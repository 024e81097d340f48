/* metalcow map: which file has which part of the disk. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "entries.h"
#include "output.h"
#include "verbs.h"

static const struct flag flags[] = {
    FLAGS_COMMON,
    FLAG_ROW_OUTPUT,
    {'s', "start-offset", "OFFSET", "where to begin", FLAG_SIZE, FIELD(start)},
    {'l', "max-length", "LENGTH", "how many bytes to look at", FLAG_SIZE, FIELD(max_length)},
    FLAG_ROW_SNAPSHOT,
    FLAGS_FILES,
};

static const char *word(bool value)
{
    return value ? "true" : "false";
}

static void print_json(const struct map_entry *entry, bool first)
{
    printf("%s{ \"start\": %" PRIu64 ", \"length\": %" PRIu64 ", \"depth\": %" PRIu32
           ", \"present\": %s, \"zero\": %s, \"data\": %s",
           first ? "[" : ",\n", entry->start, entry->length, entry->depth, word(entry->present),
           word(entry->zero), word(entry->data));
    if (entry->has_offset)
        printf(", \"offset\": %" PRIu64, entry->offset);
    putchar('}');
}

/* Only what can be read at a place in a file has a line here. */
static bool print_human(const struct map_entry *entry)
{
    if (entry->data && !entry->has_offset) {
        fflush(stdout);
        fputs("metalcow: File contains external, encrypted or compressed clusters.\n", stderr);
        return false;
    }
    if (entry->data && !entry->zero) {
        printf("%#-16" PRIx64 "%#-16" PRIx64 "%#-16" PRIx64, entry->start, entry->length,
               entry->offset);
        print_escaped(stdout, entry->file);
        putchar('\n');
    }
    return true;
}

static bool print_entry(const struct map_entry *entry, bool json, bool first)
{
    if (!json)
        return print_human(entry);
    print_json(entry, first);
    return true;
}

static int print_map(struct image *image, const struct arguments *arguments)
{
    uint64_t size = q2_disk_size(image->disk), at = arguments->start, end;
    struct entries entries;
    struct map_entry run = {0}, next;
    bool first = true;

    entries_begin(&entries, image);
    end = at < size && arguments->max_length < size - at ? at + arguments->max_length : size;
    while (at < end) {
        if (entries_next(&entries, at, end - at, &next) != Q2_OK) {
            image_print_fault(image);
            return EXIT_ERROR;
        }
        at += next.length;
        if (run.length > 0 && entries_continue(&run, &next)) {
            run.length += next.length;
            continue;
        }
        if (run.length > 0) {
            if (!print_entry(&run, arguments->json, first))
                return EXIT_ERROR;
            first = false;
        }
        run = next;
    }
    if (run.length > 0 && !print_entry(&run, arguments->json, first))
        return EXIT_ERROR;
    if (arguments->json)
        puts(run.length > 0 ? "]" : "[]");
    return EXIT_SUCCESS;
}

static int run(const struct arguments *arguments)
{
    struct image *image = image_open(arguments->operands[0], &arguments->image[0], false);
    int status;

    if (!image)
        return EXIT_ERROR;
    if (!arguments->json)
        printf("%-16s%-16s%-16s%s\n", "Offset", "Length", "Mapped to", "File");
    status = print_map(image, arguments);
    image_close(image);
    return status;
}

const struct verb verb_map = {
    .name = "map",
    .operands = "FILE",
    .summary = "show which file has which part of the disk",
    VERB_FLAGS(flags),
    .nb_operands = 1,
    .usage_status = EXIT_ERROR,
    .run = run,
};
