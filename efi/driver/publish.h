/* A disk that the firmware sees: an opened image with a handle, a device path, Block I/O, Block I/O
 * 2 and, if it can be written, Erase Block.
 *
 * The agent of its opens is the driver's binding handle.
 */
#ifndef METALCOW_EFI_PUBLISH_H
#define METALCOW_EFI_PUBLISH_H

#include "drivers/efi/block_io2.h"
#include "drivers/efi/erase_block.h"
#include "efi/image/attach.h"

/* Does not move while it is published. */
struct mc_published {
    EFI_HANDLE handle; /* the disk's; NULL if it is not published */
    EFI_HANDLE volume;
    EFI_GUID *held; /* the protocol of the volume that the driver has open */
    EFI_HANDLE agent;
    EFI_DEVICE_PATH *device_path; /* pool memory */
    struct q2_block_io block_io;
    struct q2_block_io2 block_io2;
    struct q2_block_queue queue; /* open if the volume has Block I/O 2 */
    struct q2_erase_block erase_block;
    bool has_erase_block; /* the disk could be written when it was published */
    EFI_EVENT turned; /* the medium has gone or turned read-only; NULL: no event could be made */
    bool is_turning;  /* the layers above are being told; the disk cannot be taken away */
    bool is_leaving;  /* it is being taken away, or is away */
};

/* Publish an image as a child of its volume.
 *
 * agent     the driver's binding handle, which has the volume open BY_DRIVER
 * instance  0 to 255, for the device path: unlike that of any other disk of the same image
 * media_id  unlike that of any disk before
 * written   signalled after writes, as drivers/efi/block_io.h says; NULL: none
 * read      signalled after reads, as drivers/efi/read_watch.h says; NULL: none
 * fault     filled on any error
 *
 * After an error the disk is not published; but if handle is not NULL, the firmware did not let go
 * of it, and nothing of it may be freed.
 *
 * Q2_ERR_UNSUPPORTED  the volume has no device path
 * Q2_ERR_LIMIT        no memory
 * Q2_ERR_BUSY         the firmware does not take the disk
 * other errors        of q2_block_io_init()
 */
enum q2_status mc_publish(struct mc_published *published, const struct mc_image *image,
                          EFI_HANDLE agent, unsigned int instance, uint32_t media_id,
                          EFI_EVENT written, EFI_EVENT read, struct q2_fault *fault);

/* Take the disk away from the firmware: drivers on it are stopped, its handle vanishes; block_io
 * stays usable for whoever looks after the disk, and mc_publish_again() or mc_published_close()
 * must follow. On an error the firmware did not let go; the disk is as it was.
 *
 * EFI_DEVICE_ERROR  reads that are on their way do not end, or the drivers above are just being
 *                   told that the medium is gone or has turned read-only
 * EFI_ACCESS_DENIED ...  what the firmware gave
 */
EFI_STATUS mc_unpublish(struct mc_published *published);

/* Undo mc_unpublish(): the same disk, at the same path, on a new handle, not connected.
 *
 * EFI_OUT_OF_RESOURCES ...  what the firmware gave; the disk stays away */
EFI_STATUS mc_publish_again(struct mc_published *published);

/* Give back what a disk that is not published still has. Does nothing if it never was published. */
void mc_published_close(struct mc_published *published);

#endif
