/* Measure the engine on the host, and bare loops over the same bytes beside it.
 *
 *   metalcow-bench disk IMAGE REQUEST           read everything through q2_disk_read()
 *   metalcow-bench bare IMAGE REQUEST           pread() what the image stores, no engine
 *   metalcow-bench codec IMAGE                  pread() each compressed stream and decode it
 *   metalcow-bench decode IMAGE                 decode only: the streams are in memory
 *   metalcow-bench pair IMAGE REQUEST           disk and codec in turns; two lines, disk first
 *   metalcow-bench random IMAGE COUNT           random 4 KiB, every L2 slice cached
 *   metalcow-bench bare-random IMAGE COUNT      pread() of the same 4 KiB
 *   metalcow-bench fill SIZE REQUEST            memset()
 *   metalcow-bench run BYTES COMMAND...         someone else's program

 *
 * Data goes into one buffer of REQUEST bytes and is forgotten. What a bare loop needs to know of
 * the image is collected before its clock starts. tools/bench/host.py drives it.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "drivers/codec/zlib.h"
#include "drivers/codec/zstd.h"
#include "meter.h"
#include "drivers/posix/opener.h"
#include "q2_disk.h"

#define RANDOM_LENGTH 4096u
#define KIB           1024u
#define PIECE         (1u << 20)
#define BARE_LENGTH   (256u * 1024) /* a multiple or a part of every cluster size */
#define NB_TURN       64u           /* clusters */

struct bench {
    struct q2_opener_posix opener;
    struct q2_codec_zlib zlib;
    struct q2_codec_zstd zstd;
    struct q2_source *source;
    struct q2_disk *disk;
    uint64_t size;
};

static struct bench bench;
static _Alignas(Q2_WORKSPACE_ALIGN) uint8_t workspace[Q2_WORKSPACE_SIZE];

static void die(const char *what)
{
    fprintf(stderr, "metalcow-bench: %s\n", what);
    exit(1);
}

static void *allocate(uint64_t length)
{
    void *memory = malloc((size_t)length);

    if (!memory)
        die("out of memory");
    return memory;
}

static void open_disk(const char *path)
{
    struct q2_disk_options options = {.names = Q2_NAMES_ANY};
    struct q2_fault fault = {.status = Q2_OK};
    struct q2_opener *opener = &bench.opener.opener;

    q2_opener_posix_init(&bench.opener);
    options.zlib = q2_codec_zlib_init(&bench.zlib);
    options.zstd = q2_codec_zstd_init(&bench.zstd);
    if (opener->ops->open(opener, path, false, &bench.source) != Q2_OK)
        die("cannot open the file");
    if (q2_disk_open(workspace, bench.source, opener, &options, &fault, &bench.disk) != Q2_OK)
        die(fault.what ? fault.what : "cannot open the image");
    bench.size = q2_disk_size(bench.disk);
}

/* Make the whole workspace resident, so that it can be subtracted from the peak: its KiB. */
static uint64_t workspace_kib(void)
{
    memset(workspace, 0, sizeof(workspace));
    return Q2_WORKSPACE_SIZE / KIB;
}

static uint64_t length_at(uint64_t offset, uint64_t request)
{
    return bench.size - offset < request ? bench.size - offset : request;
}

static int run_disk(const char *path, uint64_t request)
{
    struct meter meter;
    uint8_t *buffer = allocate(request);
    uint64_t held = workspace_kib();

    meter_start(&meter);
    open_disk(path);
    for (uint64_t at = 0; at < bench.size; at += request) {
        if (q2_disk_read(bench.disk, at, buffer, (size_t)length_at(at, request)) != Q2_OK)
            die("read failed");
    }
    meter_print(&meter, bench.size, held);
    free(buffer);
    return 0;
}

/* Every extent of the disk, in guest order. */
static struct q2_extent *collect(size_t *ret_nb)
{
    size_t room = 1024, nb = 0;
    struct q2_extent *extents = allocate(room * sizeof(*extents));

    for (uint64_t at = 0; at < bench.size; at += extents[nb - 1].length) {
        if (nb == room) {
            room *= 2;
            extents = realloc(extents, room * sizeof(*extents));
            if (!extents)
                die("out of memory");
        }
        if (q2_disk_map(bench.disk, at, bench.size - at, &extents[nb++]) != Q2_OK)
            die("map failed");
    }
    *ret_nb = nb;
    return extents;
}

/* A descriptor of our own for the file that an extent is stored in. */
static int descriptor(const struct q2_extent *extent)
{
    static int opened[Q2_MAX_LAYERS];
    struct q2_layer_info info;

    if (opened[extent->layer] == 0) {
        q2_disk_layer_info(bench.disk, extent->layer, &info);
        opened[extent->layer] = open(info.data_source->path, O_RDONLY);
    }
    return opened[extent->layer];
}

static void pread_all(int fd, void *buffer, uint64_t length, uint64_t offset)
{
    if (pread(fd, buffer, (size_t)length, (off_t)offset) != (ssize_t)length)
        die("pread failed");
}

static int run_bare(const char *path, uint64_t request)
{
    uint8_t *buffer = allocate(request);
    struct q2_extent *extents;
    struct meter meter;
    uint64_t total = 0;
    size_t nb;

    open_disk(path);
    extents = collect(&nb);
    meter_start(&meter);
    for (size_t i = 0; i < nb; i++) {
        if (extents[i].kind != Q2_EXTENT_DATA)
            continue;
        for (uint64_t at = 0; at < extents[i].length; at += request) {
            uint64_t left = extents[i].length - at;
            pread_all(descriptor(&extents[i]), buffer, left < request ? left : request,
                      extents[i].host_offset + at);
        }
        total += extents[i].length;
    }
    meter_print(&meter, total, 0);
    free(buffer);
    free(extents);
    return 0;
}

/* The stream of a compressed extent; the last one of a file may end early. */
static uint64_t stream_length(const struct q2_extent *extent)
{
    struct q2_layer_info info;
    uint64_t left;

    q2_disk_layer_info(bench.disk, extent->layer, &info);
    left = info.source->size - extent->host_offset;
    return left < extent->stream_length ? left : extent->stream_length;
}

static struct q2_codec *codec_of(const struct q2_extent *extent)
{
    struct q2_layer_info info;

    q2_disk_layer_info(bench.disk, extent->layer, &info);
    return info.header->compression_type == Q2_COMPRESSION_ZSTD ? &bench.zstd.codec
                                                                : &bench.zlib.codec;
}

/* Only the compressed ones, which are whole clusters. */
static size_t keep_compressed(struct q2_extent *extents, size_t nb)
{
    size_t kept = 0;

    for (size_t i = 0; i < nb; i++) {
        if (extents[i].kind == Q2_EXTENT_COMPRESSED)
            extents[kept++] = extents[i];
    }
    if (kept == 0)
        die("nothing is compressed");
    return kept;
}

/* Bytes of the file in memory, so that decoding alone can be measured. */
static uint8_t *file_in_memory(int fd)
{
    uint8_t *file = allocate(bench.source->size);

    for (uint64_t at = 0; at < bench.source->size; at += PIECE) {
        uint64_t left = bench.source->size - at;
        pread_all(fd, file + at, left < PIECE ? left : PIECE, at);
    }
    return file;
}

/* Read (unless the file is in memory) and decode some extents, with the least possible code, one
 * after the other, into a buffer as large as the one that the engine fills. */
static uint64_t decode_bare(const struct q2_extent *extents, size_t nb, uint8_t *file)
{
    static uint8_t input[Q2_COMPRESSED_BUFFER_SIZE], buffer[Q2_MAX_CLUSTER_SIZE];
    struct q2_codec *codec = codec_of(&extents[0]);
    int fd = descriptor(&extents[0]);
    uint64_t total = 0;

    for (size_t i = 0; i < nb; i++) {
        uint64_t length = stream_length(&extents[i]);
        uint8_t *stream = file ? file + extents[i].host_offset : input;
        if (!file)
            pread_all(fd, stream, length, extents[i].host_offset);
        if (codec->ops->decode(codec, stream, (size_t)length, buffer + total % BARE_LENGTH,
                               extents[i].length) != Q2_OK)
            die("decode failed");
        total += extents[i].length;
    }
    return total;
}

static int run_codec(const char *path, bool in_memory)
{
    struct q2_extent *extents;
    struct meter meter;
    uint8_t *file = NULL;
    uint64_t total;
    size_t nb;

    open_disk(path);
    extents = collect(&nb);
    nb = keep_compressed(extents, nb);
    if (in_memory)
        file = file_in_memory(descriptor(&extents[0]));
    meter_start(&meter);
    total = decode_bare(extents, nb, file);
    meter_print(&meter, total, 0);
    free(extents);
    return 0;
}

/* CPU time of reading a range through the engine. */
static double time_disk(uint64_t from, uint64_t end, uint8_t *buffer, uint64_t request)
{
    double start = meter_now();

    for (uint64_t at = from; at < end; at += request) {
        uint64_t length = end - at < request ? end - at : request;
        if (q2_disk_read(bench.disk, at, buffer, (size_t)length) != Q2_OK)
            die("read failed");
    }
    return meter_now() - start;
}

static double time_bare(const struct q2_extent *extents, size_t nb)
{
    double start = meter_now();

    (void)decode_bare(extents, nb, NULL);
    return meter_now() - start;
}

/* Engine and bare loop take turns, a few MiB at a time, and another one is first each time. With
 * longer turns, other work on the machine would hide a difference of one percent. */
static int run_pair(const char *path, uint64_t request)
{
    uint8_t *buffer = allocate(request);
    double ours = 0, bare = 0;
    struct q2_extent *extents;
    uint64_t total = 0;
    size_t nb, turn = 0;

    open_disk(path);
    extents = collect(&nb);
    nb = keep_compressed(extents, nb);
    for (size_t i = 0; i < nb; i += NB_TURN, turn++) {
        size_t n = nb - i < NB_TURN ? nb - i : NB_TURN;
        const struct q2_extent *last = &extents[i + n - 1];
        uint64_t from = extents[i].guest_offset, end = last->guest_offset + last->length;
        if (turn % 2 == 0)
            ours += time_disk(from, end, buffer, request);
        bare += time_bare(extents + i, n);
        if (turn % 2 == 1)
            ours += time_disk(from, end, buffer, request);
        total += end - from;
    }
    meter_print_sum(ours, total, 0);
    meter_print_sum(bare, total, 0);
    free(buffer);
    free(extents);
    return 0;
}

/* The next guest offset of a sequence that is the same in every run (xorshift64, seed 4). */
static uint64_t random_offset(uint64_t *x)
{
    *x ^= *x << 13;
    *x ^= *x >> 7;
    *x ^= *x << 17;
    return *x % (bench.size / RANDOM_LENGTH) * RANDOM_LENGTH;
}

/* Touch every L2 slice: 4 KiB of entries map at least 32 MiB where clusters have 64 KiB. */
static void warm(uint8_t *buffer)
{
    for (uint64_t at = 0; at < bench.size; at += 16u << 20) {
        if (q2_disk_read(bench.disk, at, buffer, RANDOM_LENGTH) != Q2_OK)
            die("read failed");
    }
}

static int run_random(const char *path, uint64_t count)
{
    uint8_t *buffer = allocate(RANDOM_LENGTH);
    uint64_t held = workspace_kib();
    struct meter meter;
    uint64_t x = 4;

    open_disk(path);
    warm(buffer);
    meter_start(&meter);
    for (uint64_t i = 0; i < count; i++) {
        if (q2_disk_read(bench.disk, random_offset(&x), buffer, RANDOM_LENGTH) != Q2_OK)
            die("read failed");
    }
    meter_print(&meter, count * RANDOM_LENGTH, held);
    free(buffer);
    return 0;
}

static int run_bare_random(const char *path, uint64_t count)
{
    uint8_t *buffer = allocate(RANDOM_LENGTH);
    struct q2_extent extent;
    uint64_t *offsets = allocate(count * sizeof(*offsets));
    struct meter meter;
    uint64_t x = 4;
    int fd = -1;

    open_disk(path);
    for (uint64_t i = 0; i < count; i++) {
        if (q2_disk_map(bench.disk, random_offset(&x), RANDOM_LENGTH, &extent) != Q2_OK ||
            extent.kind != Q2_EXTENT_DATA || extent.length != RANDOM_LENGTH)
            die("not plain data");
        offsets[i] = extent.host_offset;
        fd = descriptor(&extent);
    }
    meter_start(&meter);
    for (uint64_t i = 0; i < count; i++)
        pread_all(fd, buffer, RANDOM_LENGTH, offsets[i]);
    meter_print(&meter, count * RANDOM_LENGTH, 0);
    free(buffer);
    free(offsets);
    return 0;
}

static int run_fill(uint64_t size, uint64_t request)
{
    uint8_t *buffer = allocate(request);
    struct meter meter;

    meter_start(&meter);
    for (uint64_t at = 0; at < size; at += request) {
        memset(buffer, 0, (size_t)request);
        __asm__ volatile("" : : "r"(buffer) : "memory"); /* the next one would replace it */
    }
    meter_print(&meter, size, 0);
    free(buffer);
    return 0;
}

int main(int argc, char **argv)
{
    const char *mode = argc > 1 ? argv[1] : "";
    const char *subject = argc > 2 ? argv[2] : "";
    uint64_t number = argc > 3 ? strtoull(argv[3], NULL, 0) : 0;

    if (!strcmp(mode, "codec") || !strcmp(mode, "decode"))
        return run_codec(subject, !strcmp(mode, "decode"));
    if (!strcmp(mode, "run") && argc > 3)
        return meter_run(argv + 3, strtoull(subject, NULL, 0));
    if (number == 0)
        die("usage: see the head of tools/bench/host_bench.c");
    if (!strcmp(mode, "disk"))
        return run_disk(subject, number);

    if (!strcmp(mode, "pair"))
        return run_pair(subject, number);
    if (!strcmp(mode, "bare"))
        return run_bare(subject, number);
    if (!strcmp(mode, "random"))
        return run_random(subject, number);
    if (!strcmp(mode, "bare-random"))
        return run_bare_random(subject, number);
    if (!strcmp(mode, "fill"))
        return run_fill(strtoull(subject, NULL, 0), number);
    die("unknown mode");
    return 1;
}
