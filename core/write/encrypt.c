/* Encrypting guest data before it is written: whole sectors, in place in the engine's buffer.
 *
 * May call the cipher.
 */
#include "encrypt.h"

#include "core/read/encrypted.h"

void q2_sectors_encrypt(const struct q2_image *image, uint64_t guest_offset, uint64_t host_offset,
                        uint8_t *buffer, size_t length)
{
    image->cipher->ops->encrypt(
        image->cipher, q2_encrypted_iv_sector(image, guest_offset, host_offset), buffer, length);
}
