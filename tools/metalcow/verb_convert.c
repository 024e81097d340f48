/* metalcow convert: the disk as a raw file, sparse where it is zero.
 *
 * The output is written in place, as qemu-img does; one that failed is left behind, and said to be
 * incomplete. Invariant: nothing is changed before the output is known to be none of the image's
 * own files.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "entries.h"
#include "output.h"
#include "progress.h"
#include "snapshots.h"
#include "verbs.h"
#include "zeros.h"

#define BUFFER_SIZE  ((size_t)2 << 20)
#define BUFFER_ALIGN 4096u
/* A shorter run of zeros is read like data: one large read costs less than many small ones. */
#define SKIP_LENGTH ((uint64_t)64 << 10)

static const struct flag flags[] = {
    FLAGS_COMMON,
    {'O', NULL, "FMT", "format of the output: raw (default)", FLAG_TEXT, FIELD(output_format)},
    FLAG_ROW_QUIET,
    FLAG_ROW_PROGRESS,
    {'n', NULL, NULL, "write into an output that exists, without emptying it", FLAG_SET,
     FIELD(skip_create)},
    {'S', NULL, "SIZE", "bytes of zeros in a row that become a hole (default 4k; 0: none)",
     FLAG_SIZE, FIELD(sparse_size)},
    {'l', NULL, "SNAPSHOT", "snapshot.id=ID,snapshot.name=NAME, or an id or name", FLAG_TEXT,
     FIELD(snapshot_param)},
    FLAG_ROW_SNAPSHOT,
    FLAGS_FILES,
    FLAG_ROW_CACHE('t'),
    FLAG_ROW_CACHE('T'),
    {'m', NULL, "NUMBER", "accepted; one thread reads", FLAG_IGNORED, 0},
    {'W', NULL, NULL, "accepted; writes are in order", FLAG_IGNORED, 0},
};

struct conversion {
    const char *path; /* of the output */
    struct image *image;
    struct entries entries;
    struct q2_source_posix output;
    uint64_t sparse_size; /* bytes; 0: no holes */
    uint8_t *buffer;
    bool is_file;    /* a regular file, which can have holes */
    bool reads_zero; /* what is not written reads as zeros */
    struct progress progress;
};

static bool fail(const struct conversion *conversion, enum q2_status status)
{
    print_status(conversion->path, status);
    return false;
}

static bool same_file(const struct q2_source *a, const struct q2_source *b)
{
    return a->identity[0] == b->identity[0] && a->identity[1] == b->identity[1];
}

/* Writing onto a file that is being read would destroy it. */
static bool is_input(const struct conversion *conversion)
{
    const struct q2_source *output = &conversion->output.source;

    for (uint32_t i = 0; i < q2_disk_nb_layers(conversion->image->disk); i++) {
        struct q2_layer_info info;

        q2_disk_layer_info(conversion->image->disk, i, &info);
        if (same_file(info.source, output) || same_file(info.data_source, output))
            return true;
    }
    return false;
}

/* Bring a regular file to length size, all holes. */
static enum q2_status empty_output(struct conversion *conversion, uint64_t size)
{
    int fd = conversion->output.fd;

    if (size > INT64_MAX)
        return Q2_ERR_NO_SPACE;
    if (ftruncate(fd, 0) != 0 || ftruncate(fd, (off_t)size) != 0)
        return q2_status_from_errno(errno);
    conversion->output.source.size = size;
    conversion->reads_zero = true;
    return Q2_OK;
}

static bool prepare_output(struct conversion *conversion, bool skip_create)
{
    uint64_t size = q2_disk_size(conversion->image->disk);
    struct stat stat;
    enum q2_status status;

    if (is_input(conversion)) {
        print_fault(conversion->path,
                    &(struct q2_fault){.status = Q2_ERR_BUSY,
                                       .what = "the output is one of the image's own files"});
        return false;
    }
    if (fstat(conversion->output.fd, &stat) != 0)
        return fail(conversion, q2_status_from_errno(errno));
    conversion->is_file = S_ISREG(stat.st_mode);
    if (conversion->is_file && !skip_create) {
        status = empty_output(conversion, size);
        return status == Q2_OK || fail(conversion, status);
    }
    if (conversion->output.source.size < size) {
        print_fault(conversion->path, &(struct q2_fault){.status = Q2_ERR_NO_SPACE,
                                                         .what = "the output is smaller than the "
                                                                 "disk"});
        return false;
    }
    return true;
}

/* Open the output without changing it. */
static bool open_output(struct conversion *conversion, bool skip_create)
{
    enum q2_status status = q2_source_posix_open(&conversion->output, conversion->path,
                                                 Q2_POSIX_WRITABLE | Q2_POSIX_BLOCK_DEVICES);

    if (status == Q2_ERR_NOT_FOUND && !skip_create)
        status = q2_source_posix_open(&conversion->output, conversion->path, Q2_POSIX_CREATE);
    return status == Q2_OK || fail(conversion, status);
}

static bool write_bytes(struct conversion *conversion, uint64_t at, const uint8_t *bytes,
                        size_t length)
{
    struct q2_source *output = &conversion->output.source;
    enum q2_status status = output->ops->write_at(output, at, bytes, length);

    return status == Q2_OK || fail(conversion, status);
}

/* Make the output read as zeros. */
static bool write_zeros(struct conversion *conversion, uint64_t at, uint64_t length)
{
    if (conversion->sparse_size > 0 && conversion->reads_zero)
        return true;
    if (conversion->sparse_size > 0 && conversion->is_file &&
        fallocate(conversion->output.fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)at,
                  (off_t)length) == 0)
        return true;
    memset(conversion->buffer, 0, length < BUFFER_SIZE ? (size_t)length : BUFFER_SIZE);
    while (length > 0) {
        size_t n = length < BUFFER_SIZE ? (size_t)length : BUFFER_SIZE;

        if (!write_bytes(conversion, at, conversion->buffer, n))
            return false;
        at += n;
        length -= n;
    }
    return true;
}

/* Length of the piece at bytes that is all zero, or all worth writing. */
static size_t find_piece(const uint8_t *bytes, size_t length, uint64_t unit, bool *ret_zero)
{
    size_t at = 0;

    while (at < length) {
        size_t n = length - at < unit ? length - at : (size_t)unit;
        bool zero = is_zero(bytes + at, n);

        if (at == 0)
            *ret_zero = zero;
        else if (zero != *ret_zero)
            break;
        at += n;
    }
    return at;
}

/* Write the buffer, leaving out what is zero. Where the output does not read as zeros by itself the
 * whole buffer is written: content first, holes are only a saving. */
static bool write_sparse(struct conversion *conversion, uint64_t at, size_t length)
{
    const uint8_t *bytes = conversion->buffer;

    if (conversion->sparse_size == 0 || !conversion->reads_zero)
        return write_bytes(conversion, at, bytes, length);
    while (length > 0) {
        bool zero = false;
        size_t n = find_piece(bytes, length, conversion->sparse_size, &zero);

        if (!zero && !write_bytes(conversion, at, bytes, n))
            return false;
        bytes += n;
        at += n;
        length -= n;
    }
    return true;
}

/* Copy what begins at at, until end at most. */
static bool copy_next(struct conversion *conversion, uint64_t at, uint64_t end,
                      uint64_t *ret_length)
{
    struct q2_disk *disk = conversion->image->disk;
    struct map_entry entry;
    size_t length;

    if (entries_next(&conversion->entries, at, end - at, &entry) != Q2_OK) {
        image_print_fault(conversion->image);
        return false;
    }
    if (entry.zero && (entry.length >= SKIP_LENGTH || entry.length == end - at)) {
        *ret_length = entry.length;
        return write_zeros(conversion, at, entry.length);
    }
    length = end - at < BUFFER_SIZE ? (size_t)(end - at) : BUFFER_SIZE;
    if (q2_disk_read(disk, at, conversion->buffer, length) != Q2_OK) {
        image_print_fault(conversion->image);
        return false;
    }
    *ret_length = length;
    return write_sparse(conversion, at, length);
}

static bool copy(struct conversion *conversion)
{
    uint64_t size = q2_disk_size(conversion->image->disk), at = 0, length;

    while (at < size) {
        if (!copy_next(conversion, at, size, &length))
            return false;
        at += length;
        progress_update(&conversion->progress, at, size);
    }
    return true;
}

static int convert(struct conversion *conversion, const struct arguments *arguments)
{
    bool done;

    if (!open_output(conversion, arguments->skip_create))
        return EXIT_ERROR;
    done = prepare_output(conversion, arguments->skip_create);
    if (done) {
        entries_begin(&conversion->entries, conversion->image);
        progress_begin(&conversion->progress, arguments->progress, arguments->quiet);
        done = copy(conversion);
        progress_end(&conversion->progress, done);
        if (!done)
            print_fault(conversion->path,
                        &(struct q2_fault){.status = Q2_ERR_IO, .what = "incomplete, and left so"});
    }
    q2_source_posix_close(&conversion->output);
    return done ? EXIT_SUCCESS : EXIT_ERROR;
}

static int run(const struct arguments *arguments)
{
    struct conversion conversion = {
        .path = arguments->operands[1],
        .sparse_size = arguments->sparse_size & ~UINT64_C(511),
    };
    int status = EXIT_ERROR;

    if (arguments->output_format && strcmp(arguments->output_format, "raw") != 0) {
        fputs("metalcow: the output format '", stderr);
        print_escaped(stderr, arguments->output_format);
        fputs("' is not supported; raw is\n", stderr);
        return EXIT_ERROR;
    }
    conversion.image = snapshots_open(arguments);
    if (!conversion.image)
        return EXIT_ERROR;
    conversion.buffer = aligned_alloc(BUFFER_ALIGN, BUFFER_SIZE);
    if (conversion.buffer)
        status = convert(&conversion, arguments);
    else
        fputs("metalcow: out of memory\n", stderr);
    free(conversion.buffer);
    image_close(conversion.image);
    return status;
}

const struct verb verb_convert = {
    .name = "convert",
    .operands = "FILE OUTPUT",
    .summary = "write the disk to a raw file",
    VERB_FLAGS(flags),
    .nb_operands = 2,
    .usage_status = EXIT_ERROR,
    .run = run,
};
