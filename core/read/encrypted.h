/* Encrypted guest data.  (qcow2: header field crypt_method)
 *
 * Called by core/read/disk.c and write.c; calls window.c and the cipher.
 */
#ifndef Q2_CORE_ENCRYPTED_H
#define Q2_CORE_ENCRYPTED_H

#include "image.h"
#include "window.h"

/* Read and decrypt.
 *
 * image        its cipher is set
 * windows      the disk's
 * extent       DATA; the range lies inside image->data
 * buffer       gets extent->length bytes; undefined after an error
 *
 * Q2_ERR_TRUNCATED  the file ends inside a sector that is needed
 * Q2_ERR_IO ...     the source failed
 */
enum q2_status q2_encrypted_read(const struct q2_image *image, struct q2_windows *windows,
                                 const struct q2_extent *extent, uint8_t *buffer);

/* Encrypt what is going to be written, in place.
 *
 * guest_offset, host_offset  of the buffer's first byte, multiples of Q2_CIPHER_SECTOR_SIZE
 * length                     the same
 */
void q2_encrypt(const struct q2_image *image, uint64_t guest_offset, uint64_t host_offset,
                uint8_t *buffer, size_t length);

#endif
