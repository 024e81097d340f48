/* The commands of io that move data: read, write, discard, flush, and their other names.
 *
 * qemu-io has three commands to read: read, readv with several lengths for several buffers, and
 * aio_read, which does not wait. Here each of them reads the whole range and waits for it, so they
 * differ in their flags and in what they are called when they fail; the same for writing.
 */
#include <errno.h>
#include <getopt.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "io.h"
#include "compressed.h"
#include "report.h"
#include "tools/metalcow/base/output.h"

/* What the flags of read, write and discard say. */
struct transfer {
    bool for_programs, quiet, dump;          /* -C, -q, -v */
    bool zero, unmap, compressed, flush;     /* -z, -u, -c, -f */
    bool has_pattern, has_start, has_length; /* -P, -s, -l */
    uint8_t pattern;
    const char *source_file;                /* write -s */
    uint64_t pattern_start, pattern_length; /* of read, relative to offset */
    uint64_t offset, length;
    struct timespec begin;
};

static bool say(const char *sentence)
{
    puts(sentence);
    return false;
}

static bool parse_pattern(const char *text, struct transfer *t)
{
    char *end;
    long value = strtol(text, &end, 0);

    if (end == text || *end != '\0' || value < 0 || value > UINT8_MAX) {
        print_escaped(stdout, text);
        return say(" is not a valid pattern byte");
    }
    t->has_pattern = true;
    t->pattern = (uint8_t)value;
    return true;
}

/* One flag of read; ret_known is false if it is none. */
static bool take_read_flag(int letter, struct transfer *t, bool *ret_known)
{
    switch (letter) {
    case 'C':
        t->for_programs = true;
        return true;
    case 'q':
        t->quiet = true;
        return true;
    case 'v':
        t->dump = true;
        return true;
    case 'p': /* qemu-io ignores it too */
        return true;
    case 'P':
        return parse_pattern(optarg, t);
    case 's':
        t->has_start = true;
        return io_number(optarg, &t->pattern_start);
    case 'l':
        t->has_length = true;
        return io_number(optarg, &t->pattern_length);
    default:
        *ret_known = false;
        return false;
    }
}

static bool take_write_flag(int letter, struct transfer *t, bool *ret_known)
{
    switch (letter) {
    case 'z':
        t->zero = true;
        return true;
    case 'u':
        t->unmap = true;
        return true;
    case 'c':
        t->compressed = true;
        return true;
    case 'f':
        t->flush = true;
        return true;
    case 's':
        t->source_file = optarg;
        return true;
    default:
        return take_read_flag(letter, t, ret_known);
    }
}

typedef bool take_flag(int letter, struct transfer *t, bool *ret_known);

/* Add the lengths up: the buffers of a request follow each other. */
static bool parse_lengths(int nb, char **texts, struct transfer *t)
{
    for (int i = 0; i < nb; i++) {
        uint64_t length;

        if (!io_number(texts[i], &length))
            return false;
        if (length > INT64_MAX - t->length) {
            printf("the lengths add up to more than %jd\n", (intmax_t)INT64_MAX);
            return false;
        }
        t->length += length;
    }
    return true;
}

/* Parse flags, an offset and a length, or several lengths if the command takes them. */
static bool parse(const struct io_command *command, const char *letters, take_flag *take, int argc,
                  char **argv, struct transfer *t)
{
    int nb, max = command->several_lengths ? INT_MAX : 1;
    bool known = true;
    int letter;

    optind = 0; /* glibc: from the start again */
    opterr = 1;
    while ((letter = getopt(argc, argv, letters)) != -1) {
        if (!take(letter, t, &known))
            return known ? false : io_usage(command);
    }
    nb = argc - optind - 1;
    if (nb < 1 || nb > max)
        return io_usage(command);
    return io_number(argv[optind], &t->offset) && parse_lengths(nb, argv + optind + 1, t);
}

static bool check_length(const struct transfer *t, const char *text, const char *unless)
{
    if (t->length <= IO_MAX_LENGTH)
        return true;
    printf("length cannot exceed %ju%s, given ", (uintmax_t)IO_MAX_LENGTH, unless);
    print_escaped(stdout, text);
    putchar('\n');
    return false;
}

static uint8_t *buffer_new(const struct transfer *t)
{
    uint8_t *buffer = malloc(t->length > 0 ? (size_t)t->length : 1);

    if (!buffer)
        fputs("metalcow: out of memory\n", stderr);
    return buffer;
}

static void begin(struct transfer *t)
{
    (void)clock_gettime(CLOCK_MONOTONIC, &t->begin);
}

static void report(const struct transfer *t, const char *what)
{
    if (!t->quiet)
        io_report(what, &t->begin, t->offset, t->length, t->for_programs);
}

/* --- read ----------------------------------------------------------------------------------- */

static bool verify(const struct transfer *t, const uint8_t *buffer)
{
    const uint8_t *bytes = buffer + t->pattern_start;
    size_t n = 0;

    while (n < t->pattern_length && bytes[n] == t->pattern)
        n++;
    if (!t->has_pattern || n == t->pattern_length)
        return true;
    printf("Pattern verification failed at offset %ju, %ju bytes\n",
           (uintmax_t)(t->offset + t->pattern_start), (uintmax_t)t->pattern_length);
    return false;
}

static bool read_range(struct io *io, const struct io_command *command, struct transfer *t,
                       uint8_t *buffer)
{
    bool good;

    begin(t);
    if (q2_disk_read(io->image->disk, t->offset, buffer, (size_t)t->length) != Q2_OK)
        return io_failed(io, command->name, q2_disk_fault(io->image->disk)->status);
    good = verify(t, buffer);
    if (t->quiet)
        return good;
    if (t->dump)
        io_dump(buffer, t->offset, (size_t)t->length);
    report(t, "read");
    return good;
}

static bool run_reading(struct io *io, const struct io_command *command, const char *letters,
                        int argc, char **argv)
{
    struct transfer t = {0};
    uint8_t *buffer;
    bool done;

    if (!parse(command, letters, take_read_flag, argc, argv, &t) ||
        !check_length(&t, argv[argc - 1], ""))
        return false;
    if (!t.has_pattern && (t.has_start || t.has_length))
        return io_usage(command);
    if (t.pattern_start > t.length)
        return say("pattern verification range exceeds end of read data");
    if (!t.has_length)
        t.pattern_length = t.length - t.pattern_start;
    if (t.pattern_length > t.length - t.pattern_start)
        return say("pattern verification range exceeds end of read data");
    buffer = buffer_new(&t);
    done = buffer && read_range(io, command, &t, buffer);
    free(buffer);
    return done;
}

static bool run_read(struct io *io, int argc, char **argv)
{
    return run_reading(io, &io_read_command, "Cl:pP:qs:v", argc, argv);
}

static bool run_readv(struct io *io, int argc, char **argv)
{
    return run_reading(io, &io_readv_command, "CP:qv", argc, argv);
}

static bool run_aio_read(struct io *io, int argc, char **argv)
{
    return run_reading(io, &io_aio_read_command, "CP:qv", argc, argv);
}

const struct io_command io_read_command = {
    .name = "read",
    .alias = "r",
    .min_arguments = 2,
    .max_arguments = -1,
    .needs_file = true,
    .arguments = "[-Cqv] [-P pattern [-s off] [-l len]] off len",
    .summary = "reads a number of bytes at a specified offset",
    .help = " -C  print one line for programs: bytes,ops,time,bytes/sec,ops/sec\n"
            " -l  how many bytes the pattern covers (with -P; default: all after -s)\n"
            " -P  compare what was read with this byte\n"
            " -q  print nothing but errors\n"
            " -s  where the pattern begins, from off (with -P)\n"
            " -v  print the bytes\n",
    .run = run_read,
};

#define SEVERAL_READ_HELP                                                                          \
    " Several lengths are one range.\n"                                                            \
    " -C  print one line for programs: bytes,ops,time,bytes/sec,ops/sec\n"                         \
    " -P  compare what was read with this byte\n"                                                  \
    " -q  print nothing but errors\n"                                                              \
    " -v  print the bytes\n"

const struct io_command io_readv_command = {
    .name = "readv",
    .min_arguments = 2,
    .max_arguments = -1,
    .needs_file = true,
    .several_lengths = true,
    .arguments = "[-Cqv] [-P pattern] off len [len..]",
    .summary = "reads a number of bytes at a specified offset",
    .help = SEVERAL_READ_HELP,
    .run = run_readv,
};

const struct io_command io_aio_read_command = {
    .name = "aio_read",
    .min_arguments = 2,
    .max_arguments = -1,
    .needs_file = true,
    .several_lengths = true,
    .arguments = "[-Cqv] [-P pattern] off len [len..]",
    .summary = "reads as readv does, and waits for it",
    .help = SEVERAL_READ_HELP,
    .run = run_aio_read,
};

/* --- write ---------------------------------------------------------------------------------- */

/* Repeat the first n bytes of the buffer until it is full. */
static void repeat(uint8_t *buffer, size_t length, size_t n)
{
    for (size_t at = n; at < length; at += n)
        memcpy(buffer + at, buffer, length - at < n ? length - at : n);
}

/* Fill the buffer with a file's bytes, again and again. */
static bool fill_from_file(const struct transfer *t, uint8_t *buffer)
{
    FILE *file = fopen(t->source_file, "rb");
    size_t n = file ? fread(buffer, 1, (size_t)t->length, file) : 0;
    int error = !file || ferror(file) ? errno : 0;

    if (file)
        (void)fclose(file);
    if (n == 0) {
        fflush(stdout);
        print_escaped(stderr, t->source_file);
        fprintf(stderr, ": %s\n", error ? strerror(error) : "file is empty");
        return false;
    }
    repeat(buffer, (size_t)t->length, n);
    return true;
}

static enum q2_status write_zeros(struct io *io, const struct transfer *t)
{
    enum q2_status status = q2_disk_write_zeroes(io->image->disk, t->offset, t->length);

    /* Zeros first: where clusters cannot be given back it stays at that. */
    if (status == Q2_OK && t->unmap && !io->ignore_discard)
        status = q2_disk_discard(io->image->disk, t->offset, t->length);
    return status;
}

static bool write_range(struct io *io, const struct io_command *command, struct transfer *t,
                        const uint8_t *buffer)
{
    struct q2_disk *disk = io->image->disk;
    enum q2_status status;

    begin(t);
    if (t->zero)
        status = write_zeros(io, t);
    else if (t->compressed)
        status = io_write_compressed(disk, t->offset, buffer, (size_t)t->length);
    else
        status = q2_disk_write(disk, t->offset, buffer, (size_t)t->length);
    if (status == Q2_OK && t->flush)
        status = q2_disk_flush(disk);
    if (status != Q2_OK)
        return io_failed(io, command->name, status);
    report(t, "wrote");
    return true;
}

static bool is_sector(uint64_t value, const char *what)
{
    if (value % 512 == 0)
        return true;
    printf("%ju is not a sector-aligned value for '%s'\n", (uintmax_t)value, what);
    return false;
}

static bool check_write(const struct transfer *t, const char *length)
{
    if (t->flush && t->compressed)
        return say("-f and -b or -c cannot be specified at the same time");
    if (t->unmap && !t->zero)
        return say("-u requires -z to be specified");
    if (t->zero + t->has_pattern + (t->source_file != NULL) > 1)
        return say("Only one of -z, -P, and -s can be specified at the same time");
    if (!check_length(t, length, " without -n"))
        return false;
    return !t->compressed || (is_sector(t->offset, "offset") && is_sector(t->length, "count"));
}

static bool run_writing(struct io *io, const struct io_command *command, const char *letters,
                        int argc, char **argv)
{
    struct transfer t = {.pattern = 0xcd};
    uint8_t *buffer = NULL;
    bool done;

    if (!io_check_writable(io) || !parse(command, letters, take_write_flag, argc, argv, &t) ||
        !check_write(&t, argv[argc - 1]))
        return false;
    if (t.zero)
        return write_range(io, command, &t, NULL);
    buffer = buffer_new(&t);
    if (!buffer)
        return false;
    memset(buffer, t.pattern, (size_t)t.length);
    done = (!t.source_file || fill_from_file(&t, buffer)) && write_range(io, command, &t, buffer);
    free(buffer);
    return done;
}

static bool run_write(struct io *io, int argc, char **argv)
{
    return run_writing(io, &io_write_command, "cCfpP:qs:uz", argc, argv);
}

static bool run_writev(struct io *io, int argc, char **argv)
{
    return run_writing(io, &io_writev_command, "CfP:q", argc, argv);
}

static bool run_aio_write(struct io *io, int argc, char **argv)
{
    return run_writing(io, &io_aio_write_command, "CfP:quz", argc, argv);
}

const struct io_command io_write_command = {
    .name = "write",
    .alias = "w",
    .min_arguments = 2,
    .max_arguments = -1,
    .needs_file = true,
    .arguments = "[-cCfquz] [-P pattern | -s source_file] off len",
    .summary = "writes a number of bytes at a specified offset",
    .help = " -c  store compressed clusters\n"
            " -C  print one line for programs: bytes,ops,time,bytes/sec,ops/sec\n"
            " -f  make it durable before the command ends\n"
            " -P  write this byte (default 0xcd)\n"
            " -q  print nothing but errors\n"
            " -s  write the bytes of a file, again and again\n"
            " -u  give whole clusters back (with -z)\n"
            " -z  write zeros, without storing them where that is possible\n",
    .run = run_write,
};

const struct io_command io_writev_command = {
    .name = "writev",
    .min_arguments = 2,
    .max_arguments = -1,
    .needs_file = true,
    .several_lengths = true,
    .arguments = "[-Cfq] [-P pattern] off len [len..]",
    .summary = "writes a number of bytes at a specified offset",
    .help = " Several lengths are one range.\n"
            " -C  print one line for programs: bytes,ops,time,bytes/sec,ops/sec\n"
            " -f  make it durable before the command ends\n"
            " -P  write this byte (default 0xcd)\n"
            " -q  print nothing but errors\n",
    .run = run_writev,
};

const struct io_command io_aio_write_command = {
    .name = "aio_write",
    .min_arguments = 2,
    .max_arguments = -1,
    .needs_file = true,
    .several_lengths = true,
    .arguments = "[-Cfquz] [-P pattern] off len [len..]",
    .summary = "writes as writev does, and waits for it",
    .help = " Several lengths are one range.\n"
            " -C  print one line for programs: bytes,ops,time,bytes/sec,ops/sec\n"
            " -f  make it durable before the command ends\n"
            " -P  write this byte (default 0xcd)\n"
            " -q  print nothing but errors\n"
            " -u  give whole clusters back (with -z)\n"
            " -z  write zeros, without storing them where that is possible\n",
    .run = run_aio_write,
};

/* --- discard, flush ------------------------------------------------------------------------- */

static bool run_discard(struct io *io, int argc, char **argv)
{
    struct transfer t = {0};

    if (!io_check_writable(io) ||
        !parse(&io_discard_command, "Cq", take_read_flag, argc, argv, &t) ||
        !check_length(&t, argv[argc - 1], ""))
        return false;
    begin(&t);
    if (!io->ignore_discard && q2_disk_discard(io->image->disk, t.offset, t.length) != Q2_OK)
        return io_failed(io, "discard", q2_disk_fault(io->image->disk)->status);
    report(&t, "discard");
    return true;
}

const struct io_command io_discard_command = {
    .name = "discard",
    .alias = "d",
    .min_arguments = 2,
    .max_arguments = -1,
    .needs_file = true,
    .arguments = "[-Cq] off len",
    .summary = "discards a number of bytes at a specified offset",
    .help = " Only whole clusters inside the range are given back.\n"
            " -C  print one line for programs: bytes,ops,time,bytes/sec,ops/sec\n"
            " -q  print nothing but errors\n",
    .run = run_discard,
};

static bool run_flush(struct io *io, int argc, char **argv)
{
    (void)argc, (void)argv;
    io->broken |= io->writable && !image_flush(io->image);
    return !io->broken;
}

const struct io_command io_flush_command = {
    .name = "flush",
    .alias = "f",
    .needs_file = true,
    .arguments = "",
    .summary = "makes all that was written durable",
    .run = run_flush,
};

/* Every command has waited already, so only the flush is left. */
const struct io_command io_aio_flush_command = {
    .name = "aio_flush",
    .needs_file = true,
    .arguments = "",
    .summary = "waits for all requests, and makes all that was written durable",
    .run = run_flush,
};
