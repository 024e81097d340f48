/* Reading encrypted guest data.  (qcow2: header field crypt_method) */
#ifndef Q2_CORE_ENCRYPTED_H
#define Q2_CORE_ENCRYPTED_H

#include "image.h"
#include "window.h"

/* Read and decrypt.
 *
 * image        its cipher is set
 * windows      the disk's
 * extent       DATA; the range is inside image->data
 * buffer       gets extent->length bytes; undefined after an error
 *
 * Q2_ERR_TRUNCATED  the file ends inside a sector that is needed
 * Q2_ERR_IO ...     the source failed
 */
enum q2_status q2_encrypted_read(const struct q2_image *image, struct q2_windows *windows,
                                 const struct q2_extent *extent, uint8_t *buffer);

/* The number that the IV of a sector is made from: by its guest offset for AES-CBC of early images,
 * by its host offset for LUKS. */
static inline uint64_t q2_encrypted_iv_sector(const struct q2_image *image, uint64_t guest_offset,
                                              uint64_t host_offset)
{
    bool by_guest = image->header.crypt_method == Q2_CRYPT_AES;

    return (by_guest ? guest_offset : host_offset) / Q2_CIPHER_SECTOR_SIZE;
}

#endif
