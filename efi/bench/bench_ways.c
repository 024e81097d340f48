/* The ways to the bytes of a turn.
 *
 * Invariant: a way takes what it must know from the plan, so that it does nothing but read.
 */
#include "bench.h"

#include "efi/arch/arch.h"
#include "efi/base/firmware.h"
#include "efi/place/file_system.h"

static EFI_STATUS read_request(struct mc_bench *bench, EFI_BLOCK_IO_PROTOCOL *block_io, size_t i)
{
    const EFI_BLOCK_IO_MEDIA *media = block_io->Media;

    return block_io->ReadBlocks(block_io, media->MediaId, bench->offsets[i] / media->BlockSize,
                                bench->request, bench->buffer);
}

static EFI_STATUS read_blocks(struct mc_bench *bench, EFI_BLOCK_IO_PROTOCOL *block_io, size_t nb)
{
    EFI_STATUS status = EFI_SUCCESS;

    for (size_t i = 0; i < nb && !EFI_ERROR(status); i++)
        status = read_request(bench, block_io, i);
    return status;
}

static bool always(const struct mc_bench *bench)
{
    (void)bench;
    return true;
}

static EFI_STATUS by_our_disk(struct mc_bench *bench, size_t nb)
{
    return read_blocks(bench, bench->ours, nb);
}

static bool has_beside(const struct mc_bench *bench)
{
    return bench->beside != NULL;
}

static EFI_STATUS by_beside(struct mc_bench *bench, size_t nb)
{
    return read_blocks(bench, bench->beside, nb);
}

static bool has_block_io2(const struct mc_bench *bench)
{
    return bench->ours2 != NULL;
}

static EFI_STATUS queued(struct mc_bench *bench, size_t nb)
{
    return mc_bench_queue(bench, nb, bench->request, MC_BENCH_MAX_QUEUED);
}

/* The bytes of large requests in queued requests of 64 KiB, as a file system makes them: as many on
 * their way as one large request has room for. More memory would be slower memory. */
#define QUEUED_LENGTH (64u * 1024)

static bool has_long_requests(const struct mc_bench *bench)
{
    return has_block_io2(bench) && bench->request > QUEUED_LENGTH;
}

static EFI_STATUS queued_64k(struct mc_bench *bench, size_t nb)
{
    return mc_bench_queue(bench, nb, QUEUED_LENGTH, bench->request / QUEUED_LENGTH);
}

/* The same by a caller that has few tokens and uses them in turns. */
static EFI_STATUS queued_64k_8(struct mc_bench *bench, size_t nb)
{
    return mc_bench_queue(bench, nb, QUEUED_LENGTH, 8);
}

/* Requests as long as the row's, and after each the events that shorter ones would have: how fast
 * requests of 64 KiB can be at best. */
static EFI_STATUS events_64k(struct mc_bench *bench, size_t nb)
{
    EFI_STATUS status = EFI_SUCCESS;

    for (size_t i = 0; i < nb && !EFI_ERROR(status); i++) {
        status = read_request(bench, bench->ours, i);
        if (!EFI_ERROR(status))
            status = mc_bench_events(bench, bench->request / QUEUED_LENGTH);
    }
    return status;
}

/* Read the plan's pieces one after the other, for nb requests. */
typedef EFI_STATUS piece_reader(struct mc_bench *bench, const struct mc_piece *piece, void *buffer);

static inline EFI_STATUS each_piece(struct mc_bench *bench, size_t nb, piece_reader *read)
{
    size_t left = nb * bench->request, within = 0;

    for (const struct mc_piece *piece = bench->plan.pieces; left > 0; piece++) {
        EFI_STATUS status = read(bench, piece, bench->buffer + within);
        if (EFI_ERROR(status))
            return status;
        left -= piece->length;
        within += piece->length;
        within = within == bench->request ? 0 : within;
    }
    return EFI_SUCCESS;
}

static bool is_all_data(const struct mc_bench *bench)
{
    return bench->plan.complete && bench->plan.nb_data == bench->plan.nb;
}

static bool is_planned(const struct mc_bench *bench)
{
    return bench->plan.complete;
}

static EFI_STATUS piece_by_disk_io(struct mc_bench *bench, const struct mc_piece *piece,
                                   void *buffer)
{
    EFI_DISK_IO_PROTOCOL *disk_io = bench->volume_disk_io;

    return disk_io->ReadDisk(disk_io, bench->volume_block_io->Media->MediaId, piece->volume_offset,
                             piece->length, buffer);
}

static EFI_STATUS piece_bare(struct mc_bench *bench, const struct mc_piece *piece, void *buffer)
{
    switch (piece->kind) {
    case Q2_EXTENT_DATA:
        return piece_by_disk_io(bench, piece, buffer);
    case Q2_EXTENT_COMPRESSED:
        return piece->codec->ops->decode(piece->codec, piece->stream, piece->stream_length, buffer,
                                         piece->length) == Q2_OK
                   ? EFI_SUCCESS
                   : EFI_VOLUME_CORRUPTED;
    case Q2_EXTENT_ZERO:
    case Q2_EXTENT_UNALLOCATED:
    default:
        __builtin_memset(buffer, 0, piece->length);
        return EFI_SUCCESS;
    }
}

static EFI_STATUS bare(struct mc_bench *bench, size_t nb)
{
    return each_piece(bench, nb, piece_bare);
}

static EFI_STATUS piece_by_block_io(struct mc_bench *bench, const struct mc_piece *piece,
                                    void *buffer)
{
    EFI_BLOCK_IO_PROTOCOL *block_io = bench->volume_block_io;

    return block_io->ReadBlocks(block_io, block_io->Media->MediaId,
                                piece->volume_offset / block_io->Media->BlockSize, piece->length,
                                buffer);
}

static EFI_STATUS by_block_io(struct mc_bench *bench, size_t nb)
{
    return each_piece(bench, nb, piece_by_block_io);
}

/* The handle of a piece's file, opened when it is first asked for. */
static struct mc_bench_file *open_file(struct mc_bench *bench, const struct q2_place_file *file)
{
    EFI_SIMPLE_FILE_SYSTEM_PROTOCOL *FileSystem = mc_protocol(bench->volume, &mc_file_system_guid);

    for (size_t i = 0; i < MC_BENCH_MAX_FILES; i++) {
        struct mc_bench_file *open = &bench->files[i];
        if (open->file == file)
            return open;
        if (open->file)
            continue;
        if (mc_file_system_open(FileSystem, file->source->path, EFI_FILE_MODE_READ, &open->File) !=
            Q2_OK)
            return NULL;
        open->file = file;
        return open;
    }
    return NULL;
}

void mc_bench_close_files(struct mc_bench *bench)
{
    for (size_t i = 0; i < MC_BENCH_MAX_FILES && bench->files[i].file; i++)
        (void)bench->files[i].File->Close(bench->files[i].File);
}

static EFI_STATUS piece_by_file(struct mc_bench *bench, const struct mc_piece *piece, void *buffer)
{
    struct mc_bench_file *open = open_file(bench, piece->file);
    UINTN length = piece->length;
    EFI_STATUS status = EFI_SUCCESS;

    if (!open)
        return EFI_NOT_FOUND;
    if (open->position != piece->file_offset)
        status = open->File->SetPosition(open->File, piece->file_offset);
    if (!EFI_ERROR(status))
        status = open->File->Read(open->File, &length, buffer);
    open->position = piece->file_offset + length;
    return EFI_ERROR(status) || length == piece->length ? status : EFI_END_OF_FILE;
}

static EFI_STATUS by_file(struct mc_bench *bench, size_t nb)
{
    return each_piece(bench, nb, piece_by_file);
}

static bool is_all_fill(const struct mc_bench *bench)
{
    return bench->plan.complete && bench->plan.nb_fill == bench->plan.nb;
}

static EFI_STATUS fill_by_firmware(struct mc_bench *bench, size_t nb)
{
    for (size_t i = 0; i < nb; i++)
        mc_firmware.BootServices->SetMem(bench->buffer, bench->request, 0);
    return EFI_SUCCESS;
}

static bool is_fill_of_arch(const struct mc_bench *bench)
{
    return MC_ARCH_HAS_FILL && is_all_fill(bench);
}

static EFI_STATUS fill_by_stos(struct mc_bench *bench, size_t nb)
{
    for (size_t i = 0; i < nb; i++)
        mc_arch_fill(bench->buffer, bench->request / 8);
    return EFI_SUCCESS;
}

const struct mc_bench_way mc_bench_ways[MC_BENCH_NB_WAYS] = {
    {"ours", always, by_our_disk, 1},
    {"beside", has_beside, by_beside, 1},
    {"bare", is_planned, bare, 1}, /* DiskIo, codec and memset() by turns */
    {"block-io", is_all_data, by_block_io, 1},
    {"file", is_all_data, by_file, 32},
    {"fill-firmware", is_all_fill, fill_by_firmware, 1},
    {"fill-stosq", is_fill_of_arch, fill_by_stos, 1},
    {"queued", has_block_io2, queued, 1},
    {"queued-64K", has_long_requests, queued_64k, 1},
    {"queued-64K-8", has_long_requests, queued_64k_8, 1},
    {"events-64K", has_long_requests, events_64k, 1},
};
