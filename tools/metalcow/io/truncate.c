/* The command of io that resizes: truncate. As in qemu-io nobody is asked whether data may go. */
#include <getopt.h>
#include <stdio.h>
#include <string.h>

#include "io.h"
#include "tools/metalcow/base/file_size.h"
#include "tools/metalcow/base/output.h"
#include "tools/metalcow/convert/preallocation.h"
#include "tools/metalcow/convert/raw_size.h"
#include "q2_amend.h"

static const struct {
    const char *word;
    enum preallocation mode;
} modes[] = {
    {"off", PREALLOCATION_OFF},
    {"metadata", PREALLOCATION_METADATA},
    {"falloc", PREALLOCATION_FALLOC},
    {"full", PREALLOCATION_FULL},
};

static bool parse_mode(const char *word, enum preallocation *ret_mode)
{
    for (size_t i = 0; i < sizeof(modes) / sizeof(modes[0]); i++) {
        if (strcmp(modes[i].word, word) == 0) {
            *ret_mode = modes[i].mode;
            return true;
        }
    }
    return false;
}

static bool resize_qcow2(struct io *io, uint64_t size, enum preallocation mode)
{
    uint64_t old_size = q2_disk_size(io->image->disk);

    if (q2_disk_resize(io->image->disk, size, true) != Q2_OK) {
        image_print_fault(io->image);
        return false;
    }
    if (size <= old_size)
        return file_size_cut_data(io->image, old_size);
    return preallocate_qcow2(io->image, old_size, size - old_size, mode);
}

static bool resize_raw(struct io *io, uint64_t size, enum preallocation mode)
{
    bool done = raw_size_set(io->image, size, mode);

    if (!io->image->disk) {
        image_close(io->image);
        io->image = NULL;
    }
    return done;
}

static bool run_truncate(struct io *io, int argc, char **argv)
{
    enum preallocation mode = PREALLOCATION_OFF;
    struct q2_layer_info info;
    uint64_t size;
    int letter;

    optind = 0;
    opterr = 1;
    while ((letter = getopt(argc, argv, "m:")) != -1) {
        if (letter != 'm' || !parse_mode(optarg, &mode))
            return io_usage(&io_truncate_command);
    }
    if (optind != argc - 1)
        return io_usage(&io_truncate_command);
    if (!io_check_writable(io) || !io_number(argv[optind], &size))
        return false;
    if (size < q2_disk_size(io->image->disk) && mode != PREALLOCATION_OFF) {
        fputs("metalcow: -m is for the room that is added, but the disk becomes smaller\n", stderr);
        return false;
    }
    q2_disk_layer_info(io->image->disk, 0, &info);
    return info.format == Q2_FORMAT_RAW ? resize_raw(io, size, mode) : resize_qcow2(io, size, mode);
}

const struct io_command io_truncate_command = {
    .name = "truncate",
    .alias = "t",
    .min_arguments = 1,
    .max_arguments = 3,
    .needs_file = true,
    .arguments = "[-m prealloc_mode] off",
    .summary = "gives the disk another size",
    .help = " -m  for what is added: off (default), metadata, falloc, full\n",
    .run = run_truncate,
};
