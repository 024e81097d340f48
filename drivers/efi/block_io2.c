/* Block I/O 2: each function makes a request of its arguments.  (UEFI 2.10, 13.10)
 *
 * Top of the data path beside block_io.c, which checks and serves the requests.
 */
#include "block_io2.h"

static struct q2_block_io *disk_of(EFI_BLOCK_IO2_PROTOCOL *This)
{
    return ((struct q2_block_io2 *)This)->block_io;
}

static EFI_STATUS EFIAPI read_blocks_ex(EFI_BLOCK_IO2_PROTOCOL *This, UINT32 MediaId, EFI_LBA LBA,
                                        EFI_BLOCK_IO2_TOKEN *Token, UINTN BufferSize, VOID *Buffer)
{
    const struct q2_block_request request = {Q2_BLOCK_READ, MediaId, LBA, BufferSize, Buffer};

    return q2_block_io_request(disk_of(This), &request, Token);
}

static EFI_STATUS EFIAPI write_blocks_ex(EFI_BLOCK_IO2_PROTOCOL *This, UINT32 MediaId, EFI_LBA LBA,
                                         EFI_BLOCK_IO2_TOKEN *Token, UINTN BufferSize, VOID *Buffer)
{
    const struct q2_block_request request = {Q2_BLOCK_WRITE, MediaId, LBA, BufferSize, Buffer};

    return q2_block_io_request(disk_of(This), &request, Token);
}

static EFI_STATUS EFIAPI flush_blocks_ex(EFI_BLOCK_IO2_PROTOCOL *This, EFI_BLOCK_IO2_TOKEN *Token)
{
    const struct q2_block_request request = {.kind = Q2_BLOCK_FLUSH};

    return q2_block_io_request(disk_of(This), &request, Token);
}

static EFI_STATUS EFIAPI reset_ex(EFI_BLOCK_IO2_PROTOCOL *This, BOOLEAN ExtendedVerification)
{
    (void)ExtendedVerification;
    return q2_block_io_reset(disk_of(This));
}

void q2_block_io2_init(struct q2_block_io2 *block_io2, struct q2_block_io *block_io)
{
    *block_io2 = (struct q2_block_io2){
        .protocol =
            {
                .Media = &block_io->media,
                .Reset = reset_ex,
                .ReadBlocksEx = read_blocks_ex,
                .WriteBlocksEx = write_blocks_ex,
                .FlushBlocksEx = flush_blocks_ex,
            },
        .block_io = block_io,
    };
}
