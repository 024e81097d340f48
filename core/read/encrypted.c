/* Reading encrypted guest data: whole sectors go straight into the caller's buffer, the pieces at
 * both ends go through one sector on the stack.
 *
 * May call window.c, the cipher, range.h and mem*. Invariant: no byte that was not decrypted is
 * returned with Q2_OK.
 */
#include "encrypted.h"

#include "core/base/memory.h"
#include "core/base/range.h"

/* The number that the IV of a sector of an extent is made from. */
static uint64_t extent_sector(const struct q2_image *image, const struct q2_extent *extent,
                              uint64_t host_offset)
{
    return q2_encrypted_iv_sector(image, extent->guest_offset + (host_offset - extent->host_offset),
                                  host_offset);
}

/* Part of one sector, from host_offset on; length stays inside it. */
static enum q2_status read_part(const struct q2_image *image, struct q2_windows *windows,
                                const struct q2_extent *extent, uint64_t host_offset,
                                uint8_t *buffer, size_t length)
{
    struct q2_source *source = image->data;
    uint64_t within = host_offset % Q2_CIPHER_SECTOR_SIZE;
    uint8_t sector[Q2_CIPHER_SECTOR_SIZE];
    enum q2_status status;

    if (!q2_range_fits(host_offset - within, sizeof(sector), source->size))
        return Q2_ERR_TRUNCATED;
    status = q2_windows_read(windows, source, host_offset - within, sector, sizeof(sector));
    if (status != Q2_OK)
        return status;
    image->cipher->ops->decrypt(image->cipher, extent_sector(image, extent, host_offset), sector,
                                sizeof(sector));
    memcpy(buffer, sector + within, length);
    return Q2_OK;
}

static enum q2_status read_whole(const struct q2_image *image, struct q2_windows *windows,
                                 const struct q2_extent *extent, uint64_t host_offset,
                                 uint8_t *buffer, size_t length)
{
    enum q2_status status = q2_windows_read(windows, image->data, host_offset, buffer, length);

    if (status == Q2_OK)
        image->cipher->ops->decrypt(image->cipher, extent_sector(image, extent, host_offset),
                                    buffer, length);
    return status;
}

enum q2_status q2_encrypted_read(const struct q2_image *image, struct q2_windows *windows,
                                 const struct q2_extent *extent, uint8_t *buffer)
{
    uint64_t at = extent->host_offset, left = extent->length;

    while (left > 0) {
        uint64_t within = at % Q2_CIPHER_SECTOR_SIZE;
        uint64_t n = q2_min_u64(left, Q2_CIPHER_SECTOR_SIZE - within);
        enum q2_status status;

        if (within == 0 && left >= Q2_CIPHER_SECTOR_SIZE) {
            n = left & ~(uint64_t)(Q2_CIPHER_SECTOR_SIZE - 1);
            status = read_whole(image, windows, extent, at, buffer, (size_t)n);
        } else {
            status = read_part(image, windows, extent, at, buffer, (size_t)n);
        }
        if (status != Q2_OK)
            return status;
        at += n;
        buffer += n;
        left -= n;
    }
    return Q2_OK;
}
