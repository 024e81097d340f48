/* What the fuzzers of core/ share: files in memory that end in zeros, an opener over two of them, a
 * codec that costs nothing, and judges of what comes back.
 *
 * A judge aborts: libFuzzer keeps the input.
 */
#ifndef METALCOW_TESTS_FUZZ_DISK_H
#define METALCOW_TESTS_FUZZ_DISK_H

#include <stdlib.h>
#include <string.h>

#include "q2_disk.h"
#include "q2_line.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static inline void require(bool ok)
{
    if (!ok)
        abort();
}

/* ---- files ---- */

/* size bytes, of which the first `held` are the input's; the rest is zeros, so that small inputs
 * make large files. */
struct fuzz_file {
    struct q2_source source;
    const uint8_t *bytes;
    uint64_t held;
    uint64_t nb_reads;
};

static inline enum q2_status fuzz_read_at(struct q2_source *source, uint64_t offset, void *buffer,
                                          size_t length)
{
    const struct fuzz_file *file = (const struct fuzz_file *)source;
    uint64_t here = offset < file->held ? file->held - offset : 0;

    require(length > 0 && offset <= source->size && length <= source->size - offset);
    ((struct fuzz_file *)source)->nb_reads++;
    here = here < length ? here : length;
    memset(buffer, 0, length);
    if (here > 0)
        memcpy(buffer, file->bytes + offset, here);
    return Q2_OK;
}

static const struct q2_source_ops fuzz_source_ops = {.read_at = fuzz_read_at};

static inline void fuzz_file_init(struct fuzz_file *file, const char *path, const uint8_t *bytes,
                                  size_t held, uint64_t size, uint64_t identity)
{
    *file = (struct fuzz_file){
        .source = {.ops = &fuzz_source_ops,
                   .path = path,
                   .size = size > held ? size : held,
                   .identity = {1, identity},
                   .io_align = 1},
        .bytes = bytes,
        .held = held,
    };
}

/* Opens the same bytes for every name, as a new file each time, until there are too many. */
#define FUZZ_MAX_OPEN (2 * Q2_MAX_LAYERS)

struct fuzz_opener {
    struct q2_opener opener;
    const uint8_t *bytes;
    size_t held;
    struct fuzz_file files[FUZZ_MAX_OPEN];
    uint32_t nb_opened, nb_open;
};

static inline enum q2_status fuzz_open(struct q2_opener *opener, const char *path, bool writable,
                                       struct q2_source **ret_source)
{
    struct fuzz_opener *fuzz = (struct fuzz_opener *)opener;
    struct fuzz_file *file;

    require(!writable && strlen(path) <= Q2_MAX_PATH_LENGTH);
    if (path[0] == 'N' || fuzz->nb_opened == FUZZ_MAX_OPEN)
        return Q2_ERR_NOT_FOUND;
    file = &fuzz->files[fuzz->nb_opened++];
    fuzz_file_init(file, "img/next", fuzz->bytes, fuzz->held, 0, 2 + fuzz->nb_opened);
    fuzz->nb_open++;
    *ret_source = &file->source;
    return Q2_OK;
}

static inline void fuzz_close(struct q2_opener *opener, struct q2_source *source)
{
    struct fuzz_opener *fuzz = (struct fuzz_opener *)opener;

    require(source->ops == &fuzz_source_ops && fuzz->nb_open > 0);
    source->ops = NULL; /* closed once */
    fuzz->nb_open--;
}

static const struct q2_opener_ops fuzz_opener_ops = {.open = fuzz_open, .close = fuzz_close};

/* ---- codec: the stream's bytes, again and again; what begins with an odd byte is broken ---- */

static inline enum q2_status fuzz_decode(struct q2_codec *codec, const void *input,
                                         size_t input_length, void *output, size_t cluster_size)
{
    const uint8_t *from = input;
    uint8_t *to = output;

    (void)codec;
    require(input_length > 0 && input_length <= Q2_COMPRESSED_BUFFER_SIZE);
    require(cluster_size >= 512 && cluster_size <= Q2_MAX_CLUSTER_SIZE);
    if (from[0] % 2 == 1)
        return Q2_ERR_BAD_COMPRESSED;
    for (size_t i = 0; i < cluster_size; i++)
        to[i] = from[i % input_length];
    return Q2_OK;
}

static const struct q2_codec_ops fuzz_codec_ops = {.decode = fuzz_decode};
static struct q2_codec fuzz_codec = {.ops = &fuzz_codec_ops};

/* ---- judges ---- */

/* A fault belongs to the status that was returned, and reads as one line of printable text. */
static inline void judge_fault(const struct q2_fault *fault, enum q2_status status)
{
    char text[2048];
    size_t length;

    require(fault->status == status && status != Q2_OK && (unsigned)status < Q2_NB_STATUS);
    require(memchr(fault->file, 0, sizeof(fault->file)) != NULL);
    require(memchr(fault->detail, 0, sizeof(fault->detail)) != NULL);
    length = q2_fault_format(fault, text, sizeof(text));
    require(length < sizeof(text) && strlen(text) == length && length > 0);
    for (size_t i = 0; i < length; i += text[i] == '\\' ? 1 : q2_printable_length(text + i))
        require(text[i] == '\\' || q2_printable_length(text + i) > 0);
}

static inline void *fuzz_workspace(void)
{
    static void *workspace;

    if (!workspace)
        workspace = aligned_alloc(Q2_WORKSPACE_ALIGN, Q2_WORKSPACE_SIZE);
    require(workspace != NULL);
    return workspace;
}

/* Numbers out of the input, for what is to be asked. */
static inline uint64_t fuzz_number(const uint8_t *data, size_t size, size_t at)
{
    uint64_t value = 0;

    for (size_t i = 0; i < 8; i++)
        value = value << 8 | (at + i < size ? data[at + i] : 0);
    return value;
}

#endif
