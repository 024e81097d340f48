/* Erase Block: its one function makes a request of its arguments.  (UEFI 2.10, 13.12)
 *
 * Top of the data path beside block_io.c, which checks and serves the requests.
 */
#include "erase_block.h"

#include <stddef.h>

#include "erase.h"

/* Both protocols' tokens are an event and a status. */
_Static_assert(sizeof(struct q2_efi_erase_block_token) == sizeof(EFI_BLOCK_IO2_TOKEN) &&
                   offsetof(struct q2_efi_erase_block_token, TransactionStatus) ==
                       offsetof(EFI_BLOCK_IO2_TOKEN, TransactionStatus),
               "a token of Erase Block is one of Block I/O 2");

static EFI_STATUS EFIAPI erase_blocks(struct q2_efi_erase_block_protocol *This, UINT32 MediaId,
                                      EFI_LBA LBA, struct q2_efi_erase_block_token *Token,
                                      UINTN Size)
{
    const struct q2_block_request request = {Q2_BLOCK_ERASE, MediaId, LBA, Size, NULL};

    return q2_block_io_request(((struct q2_erase_block *)This)->block_io, &request,
                               (EFI_BLOCK_IO2_TOKEN *)(void *)Token);
}

void q2_erase_block_init(struct q2_erase_block *erase_block, struct q2_block_io *block_io)
{
    const EFI_BLOCK_IO_MEDIA *media = &block_io->media;
    uint64_t nb_blocks = q2_disk_erase_granule(block_io->disk) / media->BlockSize;

    if (nb_blocks > media->LastBlock + 1) /* the disk is smaller than one cluster */
        nb_blocks = media->LastBlock + 1;
    *erase_block = (struct q2_erase_block){
        .protocol =
            {
                .Revision = Q2_EFI_ERASE_BLOCK_PROTOCOL_REVISION,
                .EraseLengthGranularity = nb_blocks > 1 ? (UINT32)nb_blocks : 1,
                .EraseBlocks = erase_blocks,
            },
        .block_io = block_io,
    };
}
