/* The state of `metalcow io` and its commands, which are qemu-io's.
 *
 * command.c has the table. Commands print what qemu-io 7.2 prints, on the same stream.
 */
#ifndef METALCOW_IO_H
#define METALCOW_IO_H

#include <stdbool.h>
#include <stdint.h>

#include "scratch.h"
#include "tools/metalcow/base/image.h"

/* The longest range of one command, as in qemu-io: the largest multiple of 512 in an int. */
#define IO_MAX_LENGTH UINT64_C(2147483136)

struct io {
    struct image *image;         /* NULL: no file open */
    struct scratch scratch;      /* takes what is written, if image was opened with --snapshot */
    bool writable;               /* of image */
    bool snapshot;               /* --snapshot on the command line; open may say it too */
    bool ignore_discard;         /* of image */
    bool broken;                 /* a flush has failed, and that was said */
    bool done;                   /* quit */
    struct image_options preset; /* what the command line says; open may say more */
    bool preset_ignore_discard;  /* the same, -d ignore */
    bool image_opts;             /* the same: files are KEY=VALUE,... */
};

struct io_command {
    const char *name, *alias;
    int min_arguments, max_arguments; /* after the name; max -1: any number */
    bool needs_file;
    bool several_lengths;            /* of one range, which they add up to */
    const char *arguments, *summary; /* for help */
    const char *help;                /* NULL: nothing beyond the summary */
    bool (*run)(struct io *io, int argc, char **argv);
};

extern const struct io_command io_open_command, io_close_command;
extern const struct io_command io_read_command, io_write_command, io_discard_command;
extern const struct io_command io_readv_command, io_aio_read_command, io_writev_command;
extern const struct io_command io_aio_write_command, io_aio_flush_command;
extern const struct io_command io_flush_command, io_length_command, io_map_command;
extern const struct io_command io_alloc_command, io_truncate_command;

/* Run one line of words; false if it fails (said). The line is cut up. */
bool io_run(struct io *io, char *line);

/* Print "NAME ARGUMENTS -- SUMMARY". Returns false, so that a command can return it. */
bool io_usage(const struct io_command *command);

/* Parse a number; false, and said on stdout, if it is none or over INT64_MAX. */
bool io_number(const char *text, uint64_t *ret_value);

/* How a file is to be opened. */
struct io_opening {
    struct image_options how;
    bool snapshot; /* writes go to a temporary file that vanishes at close */
    bool ignore_discard;
    const char *path; /* key=value,... with io->image_opts; NULL: options name it */
};

/* Open a file as `open` does. options: key=value,... that may change opening, at most 8 of them.
 * false, and said on stderr, if it cannot be. */
bool io_open(struct io *io, const struct io_opening *opening, const char *const *options,
             int nb_options);

/* Make what was written durable and close; true if nothing is open. */
bool io_close(struct io *io);

/* Whether the open file may be written; said on stderr if not. */
bool io_check_writable(const struct io *io);

/* "NAME failed: REASON" on stdout, and on stderr the disk's fault if that is the reason; false. */
bool io_failed(const struct io *io, const char *name, enum q2_status status);

#endif
