/* EFI_ERASE_BLOCK_PROTOCOL of a disk that can be written.  (UEFI 2.10, 13.12)
 *
 * A face of the requests of block_io.h. Every erased block reads as zeros afterwards, whole
 * granules and parts of them alike; a whole granule costs no write of data. Tokens: see
 * block_io2.h.
 *
 * gnu-efi does not have this protocol, so it is declared here.
 */
#ifndef Q2_DRIVERS_ERASE_BLOCK_H
#define Q2_DRIVERS_ERASE_BLOCK_H

#include "block_io.h"

#define Q2_EFI_ERASE_BLOCK_PROTOCOL_GUID                                                           \
    {                                                                                              \
        0x95a9a93e, 0xa86e, 0x4926,                                                                \
        {                                                                                          \
            0xaa, 0xef, 0x99, 0x18, 0xe7, 0x72, 0xd9, 0x87                                         \
        }                                                                                          \
    }
#define Q2_EFI_ERASE_BLOCK_PROTOCOL_REVISION ((2u << 16) | 60u)

struct q2_efi_erase_block_token {
    EFI_EVENT Event;
    EFI_STATUS TransactionStatus;
};

struct q2_efi_erase_block_protocol {
    UINT64 Revision;
    UINT32 EraseLengthGranularity; /* logical blocks */
    EFI_STATUS(EFIAPI *EraseBlocks)
    (struct q2_efi_erase_block_protocol *This, UINT32 MediaId, EFI_LBA LBA,
     struct q2_efi_erase_block_token *Token, UINTN Size);
};

/* The caller's memory; it must not move while the protocol is installed. */
struct q2_erase_block {
    struct q2_efi_erase_block_protocol protocol; /* first */
    struct q2_block_io *block_io;
};

/* Make the protocol of a disk whose Block I/O is made; nothing is installed. The granularity is
 * what metadata alone can say to be zeros: a cluster, or a subcluster; a block of a raw image. */
void q2_erase_block_init(struct q2_erase_block *erase_block, struct q2_block_io *block_io);

#endif
