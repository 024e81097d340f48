/* A disk below the block protocols, and the firmware around it: for the tests of each protocol.
 *
 * The firmware is a struct of three functions that keep the TPL, count signals, and count what EDK2
 * would stop the machine for. The disk is a raw image whose source gives a pattern or a set status.
 */
#ifndef METALCOW_TESTS_BLOCK_RIG_H
#define METALCOW_TESTS_BLOCK_RIG_H

#include <stdalign.h>
#include <stdlib.h>

#include "drivers/efi/block_io.h"
#include "drivers/efi/block_io2.h"
#include "drivers/efi/erase_block.h"
#include "tests/support/t.h"

#define DISK_SIZE (64u * 512)
#define MEDIA_ID  7u

/* The firmware: the TPL, and how often somebody broke its rules. */
static EFI_TPL tpl;
static unsigned tpl_errors;

static inline EFI_TPL EFIAPI raise_tpl(EFI_TPL new_tpl)
{
    EFI_TPL old = tpl;

    if (new_tpl < tpl)
        tpl_errors++;
    tpl = new_tpl;
    return old;
}

static inline VOID EFIAPI restore_tpl(EFI_TPL old_tpl)
{
    if (old_tpl > tpl)
        tpl_errors++;
    tpl = old_tpl;
}

/* A token under watch: what it said when its event was signalled. */
static EFI_BLOCK_IO2_TOKEN *watched;
static EFI_STATUS watched_status;

/* Events are counters; a signal at another TPL than TPL_CALLBACK is not what a request does. */
static inline EFI_STATUS EFIAPI signal_event(EFI_EVENT event)
{
    ++*(unsigned *)event;
    if (watched && watched->Event == event)
        watched_status = watched->TransactionStatus;
    if (tpl != TPL_CALLBACK)
        tpl_errors++;
    return EFI_SUCCESS;
}

static EFI_BOOT_SERVICES services = {
    .RaiseTPL = raise_tpl, .RestoreTPL = restore_tpl, .SignalEvent = signal_event};

/* The source: counts calls, notes their TPL, may fail or call back into Block I/O. */
struct pattern {
    struct q2_source source;
    enum q2_status status;
    unsigned nb_calls;
    EFI_TPL tpl;
    EFI_BLOCK_IO_PROTOCOL *reenter; /* read this during the next read */
    EFI_STATUS reenter_status;
    uint8_t *written; /* the disk's bytes, if it can be written */
    enum q2_status flush_status;
    unsigned nb_flushes;
};

static inline uint8_t pattern_at(uint64_t offset)
{
    return (uint8_t)(offset / 512 + offset);
}

static inline enum q2_status pattern_read_at(struct q2_source *source, uint64_t offset,
                                             void *buffer, size_t length)
{
    struct pattern *pattern = (struct pattern *)source;
    static alignas(16) uint8_t other[512];

    pattern->nb_calls++;
    pattern->tpl = tpl;
    if (pattern->reenter) {
        EFI_BLOCK_IO_PROTOCOL *protocol = pattern->reenter;
        pattern->reenter = NULL;
        pattern->reenter_status = protocol->ReadBlocks(protocol, MEDIA_ID, 0, sizeof(other), other);
    }
    for (size_t i = 0; i < length; i++)
        ((uint8_t *)buffer)[i] = pattern_at(offset + i);
    return pattern->status;
}

static inline enum q2_status pattern_write_at(struct q2_source *source, uint64_t offset,
                                              const void *buffer, size_t length)
{
    struct pattern *pattern = (struct pattern *)source;
    static alignas(16) uint8_t other[512];

    pattern->nb_calls++;
    pattern->tpl = tpl;
    if (pattern->reenter) {
        EFI_BLOCK_IO_PROTOCOL *protocol = pattern->reenter;
        pattern->reenter = NULL;
        pattern->reenter_status =
            protocol->WriteBlocks(protocol, MEDIA_ID, 0, sizeof(other), other);
    }
    if (pattern->status == Q2_OK)
        memcpy(pattern->written + offset, buffer, length);
    return pattern->status;
}

static inline enum q2_status pattern_flush(struct q2_source *source)
{
    struct pattern *pattern = (struct pattern *)source;

    pattern->nb_flushes++;
    pattern->tpl = tpl;
    return pattern->flush_status;
}

static const struct q2_source_ops pattern_ops = {
    .read_at = pattern_read_at, .write_at = pattern_write_at, .flush = pattern_flush};

/* A raw image names no files. */
static struct q2_opener no_files;

/* A disk on a pattern, and its Block I/O. */
struct rig {
    unsigned nb_written; /* the event */
    struct pattern pattern;
    void *workspace;
    struct q2_disk *disk;
    struct q2_block_io block_io;
    struct q2_block_io2 block_io2;
    struct q2_erase_block erase_block;
    enum q2_status init_status;
};

static inline void rig_open_as(struct rig *rig, uint64_t size, uint32_t block_size,
                               uint32_t io_align, bool writable)
{
    const struct q2_disk_options options = {.format = Q2_FORMAT_RAW, .writable = writable};
    const struct q2_block_io_options block_options = {.block_size = block_size,
                                                      .io_align = io_align,
                                                      .media_id = MEDIA_ID,
                                                      .written = &rig->nb_written};
    struct q2_fault fault;

    *rig = (struct rig){.pattern = {.source = {.ops = &pattern_ops,
                                               .path = "/img/pattern.raw",
                                               .size = size,
                                               .identity = {1, 1},
                                               .io_align = 1,
                                               .writable = writable}}};
    rig->pattern.written = writable ? calloc(1, size) : NULL;
    tpl = TPL_APPLICATION;
    tpl_errors = 0;
    rig->workspace = aligned_alloc(Q2_WORKSPACE_ALIGN, Q2_WORKSPACE_SIZE);
    T_CHECK_U64(
        q2_disk_open(rig->workspace, &rig->pattern.source, &no_files, &options, &fault, &rig->disk),
        Q2_OK);
    rig->init_status = q2_block_io_init(&rig->block_io, rig->disk, &services, &block_options);
    q2_block_io2_init(&rig->block_io2, &rig->block_io);
    if (rig->init_status == Q2_OK)
        q2_erase_block_init(&rig->erase_block, &rig->block_io);
}

static inline void rig_open(struct rig *rig, uint64_t size, uint32_t block_size, uint32_t io_align)
{
    rig_open_as(rig, size, block_size, io_align, false);
}

static inline void rig_close(struct rig *rig)
{
    free(rig->pattern.written);
    T_CHECK_U64(tpl_errors, 0);
    T_CHECK_U64(tpl, TPL_APPLICATION);
    q2_disk_close(rig->disk);
    free(rig->workspace);
}

static inline EFI_STATUS rig_read(struct rig *rig, EFI_LBA LBA, UINTN BufferSize, VOID *Buffer)
{
    EFI_BLOCK_IO_PROTOCOL *protocol = &rig->block_io.protocol;

    return protocol->ReadBlocks(protocol, MEDIA_ID, LBA, BufferSize, Buffer);
}

/* What is wrong with a request, as bits in the order of the checks. */
enum mistake {
    NO_MEDIA = 1 << 0,
    OTHER_MEDIA = 1 << 1,
    WRITE_TO_READ_ONLY = 1 << 2,
    NULL_BUFFER = 1 << 3,
    NO_SIZE = 1 << 4,
    ODD_SIZE = 1 << 5,
    PAST_END = 1 << 6,
    MISALIGNED = 1 << 7,
    NB_MISTAKES = 8,
};

/* A request of two blocks at the disk's end with these mistakes; sets the medium to match.
 * IoAlign is 16. */
static inline struct q2_block_request mistaken_request(struct rig *rig, unsigned mistakes,
                                                       enum q2_block_kind kind)
{
    static alignas(16) uint8_t buffer[1024];
    struct q2_block_request request = {.kind = kind, .MediaId = MEDIA_ID, .LBA = 62};

    rig->block_io.media.MediaPresent = !(mistakes & NO_MEDIA);
    rig->block_io.media.ReadOnly = (mistakes & WRITE_TO_READ_ONLY) != 0;
    request.MediaId += (mistakes & OTHER_MEDIA) ? 1 : 0;
    request.LBA += (mistakes & PAST_END) ? 2 : 0;
    request.BufferSize = (mistakes & ODD_SIZE) ? 1023 : 1024;
    request.BufferSize = (mistakes & NO_SIZE) ? 0 : request.BufferSize;
    request.Buffer = (mistakes & MISALIGNED) ? buffer + 8 : buffer;
    request.Buffer = (mistakes & NULL_BUFFER) ? NULL : request.Buffer;
    return request;
}

#endif
