/* The commands of io that open and close, and the messages of failures that all commands print. */
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "io.h"
#include "report.h"
#include "tools/metalcow/base/image_opts.h"
#include "tools/metalcow/base/output.h"

#define MAX_OPTIONS 8 /* -o flags of one open */

/* --- open, close ---------------------------------------------------------------------------- */

/* With --snapshot: the image itself is only read. It is opened once to learn the disk's size, and
 * then again below the overlay. */
static bool put_scratch_above(struct io *io, const struct io_opening *opening,
                              struct image_options *how, struct q2_fault *ret_fault)
{
    struct image *image;
    bool done;

    how->writable = false;
    image = image_try_open(opening->path, how, false, ret_fault);
    if (!image)
        return false;
    done = scratch_make(&io->scratch, image, ret_fault);
    image_close(image);
    how->overlay = &io->scratch.file.source;
    how->writable = true;
    return done;
}

static bool open_file(struct io *io, const struct io_opening *opening)
{
    struct image_options how = opening->how;
    bool with_scratch = opening->snapshot && how.writable;
    struct q2_fault fault;

    if (io->image) {
        fflush(stdout);
        fputs("metalcow: a file is open already; 'close' closes it\n", stderr);
        return false;
    }
    if (!opening->path) {
        fflush(stdout);
        fputs("metalcow: open needs a file; name it after the options\n", stderr);
        return false;
    }
    if (!with_scratch || put_scratch_above(io, opening, &how, &fault))
        io->image = image_try_open(opening->path, &how, false, &fault);
    io->writable = how.writable;
    io->ignore_discard = opening->ignore_discard;
    if (!io->image && fault.status != Q2_OK)
        print_fault(opening->path, &fault);
    if (!io->image)
        scratch_close(&io->scratch);
    return io->image != NULL;
}

/* Parse key=value,... in a copy, which opening points into. */
static bool take_options(const char *text, char **ret_copy, struct io_opening *opening)
{
    *ret_copy = strdup(text);
    return *ret_copy && image_opts_parse(*ret_copy, &opening->path, &opening->how);
}

bool io_open(struct io *io, const struct io_opening *opening, const char *const *options,
             int nb_options)
{
    struct io_opening changed = *opening;
    char *copies[MAX_OPTIONS + 1] = {NULL};
    bool good = true;

    if (io->image_opts && opening->path) {
        changed.path = NULL;
        good = take_options(opening->path, &copies[MAX_OPTIONS], &changed);
    }
    for (int i = 0; i < nb_options && good; i++)
        good = take_options(options[i], &copies[i], &changed);
    changed.how.writable = changed.how.writable && !changed.how.read_only;
    if (good)
        good = open_file(io, &changed);
    for (int i = 0; i <= MAX_OPTIONS; i++)
        free(copies[i]);
    return good;
}

bool io_close(struct io *io)
{
    bool done = !io->image || !io->writable || io->broken || image_flush(io->image);

    image_close(io->image);
    scratch_close(&io->scratch);
    io->image = NULL;
    io->broken = false;
    return done;
}

/* One letter of open; false if it, or its value, is none. */
static bool take_letter(int letter, struct io_opening *opening, const char **options,
                        int *nb_options)
{
    switch (letter) {
    case 'r':
        opening->how.writable = false;
        return true;
    case 's':
        opening->snapshot = true;
        return true;
    case 'U':
        opening->how.share = true;
        return true;
    case 'd':
        return arguments_discard(optarg, &opening->ignore_discard);
    case 'o':
        if (*nb_options == MAX_OPTIONS)
            return false;
        options[(*nb_options)++] = optarg;
        return true;
    case 'i':
        return arguments_aio(optarg);
    case 'n':
        opening->how.cache = CACHE_NONE;
        return true;
    case 't':
        return arguments_cache(optarg, &opening->how.cache);
    default:
        return false;
    }
}

static bool run_open(struct io *io, int argc, char **argv)
{
    struct io_opening opening = {
        .how = io->preset, .snapshot = io->snapshot, .ignore_discard = io->preset_ignore_discard};
    const char *options[MAX_OPTIONS];
    int nb_options = 0, letter;

    opening.how.writable = true;
    optind = 0;
    opterr = 1;
    while ((letter = getopt(argc, argv, "rsUd:o:i:nt:")) != -1) {
        if (!take_letter(letter, &opening, options, &nb_options))
            return io_usage(&io_open_command);
    }
    if (optind < argc - 1)
        return io_usage(&io_open_command);
    opening.path = optind < argc ? argv[optind] : NULL;
    return io_open(io, &opening, options, nb_options);
}

const struct io_command io_open_command = {
    .name = "open",
    .alias = "o",
    .min_arguments = 1,
    .max_arguments = -1,
    .arguments = "[-rsUn] [-d discard] [-t cache] [-i aio] [-o options] [path]",
    .summary = "open the file specified by path",
    .help = " -d  what discard does: unmap or ignore\n"
            " -o  driver=, file.filename=, data-file.filename=, backing.driver=,\n"
            "     backing.file.filename=, encrypt.key-secret=, cache.direct=,\n"
            "     force-share=, read-only=, with commas between them\n"
            " -r  for reading only\n"
            " -s  keep what is written apart; it vanishes when the file is closed\n"
            " -U  even if another program is writing it, with -r or -s\n"
            " -i  threads\n"
            " -n  the same as -t none\n"
            " -t  writeback, writethrough, none, directsync or unsafe\n",
    .run = run_open,
};

static bool run_close(struct io *io, int argc, char **argv)
{
    (void)argc, (void)argv;
    return io_close(io);
}

const struct io_command io_close_command = {
    .name = "close",
    .alias = "c",
    .needs_file = true,
    .arguments = "",
    .summary = "close the current open file",
    .run = run_close,
};

/* --- failures ------------------------------------------------------------------------------- */

bool io_check_writable(const struct io *io)
{
    if (io->writable)
        return true;
    fflush(stdout);
    fputs("metalcow: the image is open for reading only; open it without -r\n", stderr);
    return false;
}

bool io_failed(const struct io *io, const char *name, enum q2_status status)
{
    printf("%s failed: %s\n", name, io_error_text(status));
    if (q2_disk_fault(io->image->disk)->status == status)
        image_print_fault(io->image);
    return false;
}
