/* Converting into a qcow2 image, plain or compressed.
 *
 * May call the engine and packer.c. Invariant: a new image does not open as one before it is
 * complete, because its magic is held back until all else is durable. An image that failed is
 * removed.
 */
#include <stdlib.h>
#include <string.h>

#include "make_image.h"
#include "tools/metalcow/base/bitmaps.h"
#include "tools/metalcow/base/output.h"
#include "packer.h"
#include "target.h"

#define CHUNK_SIZE   ((size_t)2 << 20)
#define PACKED_CHUNK ((size_t)256 << 10)
#define BUFFER_ALIGN 4096u

struct qcow2_target {
    struct target target; /* first: the target's address is this struct's */
    struct target_options options;
    struct made_files made;
    struct image *image;
    struct packer *packer; /* NULL: plain clusters */
    uint8_t *buffer;       /* plain clusters */
    bool reads_zero;       /* what is not written reads as zeros */
    bool external;         /* has a data file */
};

static struct qcow2_target *qcow2_of(struct target *target)
{
    return (struct qcow2_target *)target;
}

static bool judge(const struct qcow2_target *qcow2, enum q2_status status)
{
    if (status != Q2_OK)
        image_print_fault(qcow2->image);
    return status == Q2_OK;
}

/* Clusters that the output has there are given back, as by qemu-img. */
static bool write_zeroes(struct qcow2_target *qcow2, uint64_t at, uint64_t length)
{
    struct q2_disk *disk = qcow2->image->disk;

    return judge(qcow2, q2_disk_write_zeroes(disk, at, length)) &&
           judge(qcow2, q2_disk_discard(disk, at, length));
}

static bool skips_zeros(const struct qcow2_target *qcow2)
{
    return qcow2->options.sparse_size > 0 && qcow2->reads_zero;
}

/* --- plain clusters ------------------------------------------------------------------------ */

static uint8_t *plain_buffer(struct target *target)
{
    return qcow2_of(target)->buffer;
}

static bool write_plain(struct qcow2_target *qcow2, uint64_t at, const uint8_t *bytes,
                        size_t length)
{
    return judge(qcow2, q2_disk_write(qcow2->image->disk, at, bytes, length));
}

static bool plain_write(struct target *target, uint64_t at, size_t length)
{
    struct qcow2_target *qcow2 = qcow2_of(target);
    const uint8_t *bytes = qcow2->buffer;

    if (qcow2->options.sparse_size == 0)
        return write_plain(qcow2, at, bytes, length);
    while (length > 0) {
        bool zero = false, done = true;
        size_t n = target_piece(bytes, length, target->unit, &zero);

        if (!zero)
            done = write_plain(qcow2, at, bytes, n);
        else if (!skips_zeros(qcow2))
            done = write_zeroes(qcow2, at, n);
        if (!done)
            return false;
        bytes += n;
        at += n;
        length -= n;
    }
    return true;
}

/* Zeros that shall take place are written like data. */
static bool fill_zeros(struct qcow2_target *qcow2, uint64_t at, uint64_t length)
{
    while (length > 0) {
        size_t n = length < qcow2->target.chunk ? (size_t)length : qcow2->target.chunk;
        uint8_t *buffer = qcow2->target.ops->buffer(&qcow2->target);

        if (!buffer)
            return false;
        memset(buffer, 0, n);
        if (!qcow2->target.ops->write(&qcow2->target, at, n))
            return false;
        at += n;
        length -= n;
    }
    return true;
}

static bool qcow2_zeros(struct target *target, uint64_t at, uint64_t length)
{
    struct qcow2_target *qcow2 = qcow2_of(target);

    if (skips_zeros(qcow2))
        return true;
    if (qcow2->options.sparse_size == 0)
        return fill_zeros(qcow2, at, length);
    /* In guest order, so that the image does not depend on how far the packer is. */
    return (!qcow2->packer || packer_drain(qcow2->packer)) && write_zeroes(qcow2, at, length);
}

/* --- compressed clusters ------------------------------------------------------------------- */

static uint8_t *packed_buffer(struct target *target)
{
    return packer_buffer(qcow2_of(target)->packer);
}

static bool packed_write(struct target *target, uint64_t at, size_t length)
{
    packer_submit(qcow2_of(target)->packer, at, length);
    return true;
}

/* Compressed clusters must be in the image file itself. (qcow2: "External Data Files") */
static bool refuse_compression(const struct qcow2_target *qcow2)
{
    fputs("metalcow: ", stderr);
    print_escaped(stderr, qcow2->options.path);
    fputs(": an image with an external data file has no compressed clusters; leave out -c\n",
          stderr);
    return false;
}

/* A stream takes the place of a whole cluster. What an output that is longer than the input has in
 * the rest of the input's last cluster stays, so that cluster is not compressed. */
static bool has_more(const struct qcow2_target *qcow2, const struct packed *packed)
{
    uint64_t end = packed->at + packed->length, rest = q2_disk_size(qcow2->image->disk) - end;

    return packed->length < qcow2->target.unit && rest >= 512; /* less fills the last sector up */
}

static bool store(void *context, const struct packed *packed)
{
    struct qcow2_target *qcow2 = context;
    enum q2_status status;

    if (packed->zero && skips_zeros(qcow2))
        return true;
    if (packed->zero)
        return write_zeroes(qcow2, packed->at, packed->length);
    if (qcow2->external)
        return refuse_compression(qcow2);
    if (!packed->stream || has_more(qcow2, packed))
        return write_plain(qcow2, packed->at, packed->bytes, packed->length);
    status = q2_disk_write_compressed(qcow2->image->disk, packed->at, packed->stream,
                                      packed->stream_length);
    return status == Q2_ERR_UNSUPPORTED ? refuse_compression(qcow2) : judge(qcow2, status);
}

/* --- the end ------------------------------------------------------------------------------- */

static bool release_magic(struct qcow2_target *qcow2)
{
    enum q2_status status = q2_source_posix_release(&qcow2->image->file);

    if (status != Q2_OK)
        print_status(qcow2->options.path, status);
    return status == Q2_OK;
}

static bool qcow2_finish(struct target *target)
{
    struct qcow2_target *qcow2 = qcow2_of(target);

    if (qcow2->packer && !packer_drain(qcow2->packer))
        return false;
    if (qcow2->options.bitmaps && !bitmaps_copy(qcow2->options.inputs->images[0], qcow2->image))
        return false;
    if (!judge(qcow2, q2_disk_flush(qcow2->image->disk)))
        return false;
    return qcow2->options.skip_create || release_magic(qcow2);
}

static void qcow2_close(struct target *target, bool done)
{
    struct qcow2_target *qcow2 = qcow2_of(target);

    packer_free(qcow2->packer);
    image_close(qcow2->image);
    if (!done && qcow2->options.skip_create)
        print_fault(qcow2->options.path,
                    &(struct q2_fault){.status = Q2_ERR_IO, .what = "incomplete, and left so"});
    else if (!done)
        make_image_undo(qcow2->options.path, &qcow2->made);
    free(qcow2->buffer);
    free(qcow2);
}

static const struct target_ops plain_ops = {
    .buffer = plain_buffer,
    .write = plain_write,
    .zeros = qcow2_zeros,
    .finish = qcow2_finish,
    .close = qcow2_close,
};

static const struct target_ops packed_ops = {
    .buffer = packed_buffer,
    .write = packed_write,
    .zeros = qcow2_zeros,
    .finish = qcow2_finish,
    .close = qcow2_close,
};

/* --- the beginning ------------------------------------------------------------------------- */

static bool make(struct qcow2_target *qcow2)
{
    const struct target_options *options = &qcow2->options;

    options->creation->image.virtual_size = options->inputs->size;
    options->creation->hold = true;
    options->creation->cache = options->cache;
    return make_image(options->path, Q2_FORMAT_QCOW2, options->creation, options->inputs->images,
                      options->inputs->nb, &qcow2->made);
}

/* Open what was made, or was there; the user has named every file. */
static bool open_image(struct qcow2_target *qcow2)
{
    struct image_options options = qcow2->options.opens_by;
    struct q2_layer_info info;
    struct q2_fault fault;

    options.format = FORMAT_QCOW2;
    options.names = Q2_NAMES_ANY;
    options.writable = true;
    options.cache = qcow2->options.cache;
    options.held = qcow2->options.skip_create ? NULL : qcow2->made.held;
    options.known = qcow2->options.creation->opens_with;
    options.known_length = qcow2->options.creation->opens_with_length;
    qcow2->image = image_try_open(qcow2->options.path, &options, false, &fault);
    if (!qcow2->image) {
        if (fault.status != Q2_OK && !(fault.status == Q2_ERR_BUSY &&
                                       target_path_is_input(&qcow2->options, qcow2->options.path)))
            print_fault(qcow2->options.path, &fault);
        return false;
    }
    q2_disk_layer_info(qcow2->image->disk, 0, &info);
    if (target_is_input(&qcow2->options, info.source) ||
        target_is_input(&qcow2->options, info.data_source))
        return false;
    if (q2_disk_size(qcow2->image->disk) < qcow2->options.inputs->size) {
        print_fault(qcow2->options.path,
                    &(struct q2_fault){.status = Q2_ERR_NO_SPACE,
                                       .what = "the output is smaller than the disk"});
        return false;
    }
    return true;
}

/* What the target reads as where nothing is written. An output that exists may have a backing file
 * that is not the input's: only -B says that they share it. */
static void look_below(struct qcow2_target *qcow2, bool has_backing)
{
    bool is_new = !qcow2->options.skip_create;
    struct q2_layer_info below;

    qcow2->target.shares_backing = has_backing && (is_new || qcow2->options.keeps_backing);
    qcow2->reads_zero = (is_new && !has_backing) || qcow2->options.target_is_zero;
    qcow2->target.blank_from = UINT64_MAX;
    if (is_new && has_backing && q2_disk_nb_layers(qcow2->image->disk) > 1) {
        q2_disk_layer_info(qcow2->image->disk, 1, &below);
        qcow2->target.blank_from = below.virtual_size;
    }
}

/* Chunks, units, buffers, threads: what depends on the opened image. */
static bool prepare(struct qcow2_target *qcow2)
{
    const struct target_options *options = &qcow2->options;
    struct q2_layer_info info;
    size_t cluster_size;

    q2_disk_layer_info(qcow2->image->disk, 0, &info);
    cluster_size = (size_t)1 << info.header->cluster_bits;
    qcow2->external = info.data_source != info.source;
    look_below(qcow2, info.backing_file[0] != '\0');
    qcow2->target.unit = cluster_size;
    if (!options->compressed) {
        qcow2->target.unit = q2_header_unit(info.header);
        qcow2->target.ops = &plain_ops;
        qcow2->target.chunk = CHUNK_SIZE;
        qcow2->buffer = aligned_alloc(BUFFER_ALIGN, CHUNK_SIZE);
        return qcow2->buffer != NULL;
    }
    qcow2->target.ops = &packed_ops;
    qcow2->target.chunk = cluster_size > PACKED_CHUNK ? cluster_size : PACKED_CHUNK;
    qcow2->packer = packer_new(&(struct packer_options){
        .nb_threads = options->nb_threads,
        .cluster_size = cluster_size,
        .chunk_size = qcow2->target.chunk,
        .compression_type = info.header->compression_type,
        .find_zeros = options->sparse_size > 0,
        .store = store,
        .context = qcow2,
    });
    return qcow2->packer != NULL;
}

struct target *target_qcow2_open(const struct target_options *options)
{
    struct qcow2_target *qcow2;

    qcow2 = calloc(1, sizeof(*qcow2));
    if (!qcow2) {
        fputs("metalcow: out of memory\n", stderr);
        return NULL;
    }
    qcow2->options = *options;
    if (!options->skip_create && !make(qcow2))
        goto free_target;
    if (!open_image(qcow2))
        goto remove_files;
    if (!prepare(qcow2)) {
        fputs("metalcow: out of memory\n", stderr);
        goto remove_files;
    }
    return &qcow2->target;
remove_files:
    packer_free(qcow2->packer);
    image_close(qcow2->image);
    make_image_undo(options->path, &qcow2->made);
    free(qcow2->buffer);
free_target:
    free(qcow2);
    return NULL;
}
