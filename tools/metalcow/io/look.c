/* The commands of io that look at the open file: length, map, alloc.
 *
 * May call the engine's map. Invariant: nothing is changed.
 */
#include <inttypes.h>
#include <stdio.h>

#include "io.h"
#include "report.h"

static bool run_length(struct io *io, int argc, char **argv)
{
    (void)argc, (void)argv;
    puts(io_size_text((double)q2_disk_size(io->image->disk)).text);
    return true;
}

const struct io_command io_length_command = {
    .name = "length",
    .alias = "l",
    .needs_file = true,
    .arguments = "",
    .summary = "prints the size of the disk",
    .run = run_length,
};

/* How many bytes from start on the top file has, or has not. */
static bool find_run(struct io *io, uint64_t start, uint64_t end, bool *ret_allocated,
                     uint64_t *ret_length)
{
    uint64_t at = start;

    while (at < end) {
        struct q2_extent extent;
        bool allocated;

        if (q2_disk_map(io->image->disk, at, end - at, &extent) != Q2_OK) {
            image_print_fault(io->image);
            return false;
        }
        allocated = extent.layer == 0 && extent.kind != Q2_EXTENT_UNALLOCATED;
        if (at > start && allocated != *ret_allocated)
            break;
        *ret_allocated = allocated;
        at += extent.length;
    }
    *ret_length = at - start;
    return true;
}

static bool run_map(struct io *io, int argc, char **argv)
{
    uint64_t size = q2_disk_size(io->image->disk), at = 0;

    (void)argc, (void)argv;
    while (at < size) {
        bool allocated = false;
        uint64_t length;

        if (!find_run(io, at, size, &allocated, &length))
            return false;
        printf("%s (0x%" PRIx64 ") bytes %s at offset %s (0x%" PRIx64 ")\n",
               io_size_text((double)length).text, length,
               allocated ? "    allocated" : "not allocated", io_size_text((double)at).text, at);
        at += length;
    }
    return true;
}

const struct io_command io_map_command = {
    .name = "map",
    .needs_file = true,
    .arguments = "",
    .summary = "prints which parts of the disk the file has",
    .run = run_map,
};

static bool run_alloc(struct io *io, int argc, char **argv)
{
    uint64_t size = q2_disk_size(io->image->disk), sum = 0, offset, start, count = 512;

    if (!io_number(argv[1], &offset) || (argc == 3 && !io_number(argv[2], &count)))
        return false;
    start = offset < size ? offset : size;
    if (count > size - start)
        count = size - start;
    for (uint64_t at = start; at < start + count;) {
        bool allocated = false;
        uint64_t length;

        if (!find_run(io, at, start + count, &allocated, &length))
            return false;
        sum += allocated ? length : 0;
        at += length;
    }
    printf("%" PRIu64 "/%" PRIu64 " bytes allocated at offset %s\n", sum, count,
           io_size_text((double)offset).text);
    return true;
}

const struct io_command io_alloc_command = {
    .name = "alloc",
    .alias = "a",
    .min_arguments = 1,
    .max_arguments = 2,
    .needs_file = true,
    .arguments = "offset [count]",
    .summary = "prints how much of a range the file has",
    .run = run_alloc,
};
