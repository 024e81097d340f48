/* Encrypting guest data before it is written.  (qcow2: header field crypt_method) */
#ifndef Q2_CORE_ENCRYPT_H
#define Q2_CORE_ENCRYPT_H

#include "core/read/image.h"

/* Encrypt what is going to be written, in place.
 *
 * image                      its cipher is set
 * guest_offset, host_offset  of the buffer's first byte, multiples of Q2_CIPHER_SECTOR_SIZE
 * length                     a multiple of Q2_CIPHER_SECTOR_SIZE
 */
void q2_sectors_encrypt(const struct q2_image *image, uint64_t guest_offset, uint64_t host_offset,
                        uint8_t *buffer, size_t length);

#endif
