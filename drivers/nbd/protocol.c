/* The NBD protocol's messages.
 *
 * May call nothing. Invariant: an encoder writes exactly the bytes of its array, and a decoder
 * reads no others.
 */
#include "protocol.h"

uint8_t *nbd_put(uint8_t *to, uint64_t value, size_t width)
{
    for (size_t i = 0; i < width; i++)
        to[i] = (uint8_t)(value >> (8 * (width - 1 - i)));
    return to + width;
}

uint64_t nbd_get(const uint8_t *from, size_t width)
{
    uint64_t value = 0;

    for (size_t i = 0; i < width; i++)
        value = value << 8 | from[i];
    return value;
}

void nbd_encode_greeting(uint8_t bytes[NBD_GREETING_SIZE])
{
    bytes = nbd_put(bytes, NBD_GREETING_MAGIC, 8);
    bytes = nbd_put(bytes, NBD_OPTION_MAGIC, 8);
    (void)nbd_put(bytes, NBD_FLAG_FIXED_NEWSTYLE | NBD_FLAG_NO_ZEROES, 2);
}

bool nbd_decode_option(const uint8_t bytes[NBD_OPTION_SIZE], uint32_t *ret_option,
                       uint32_t *ret_length)
{
    if (nbd_get(bytes, 8) != NBD_OPTION_MAGIC)
        return false;
    *ret_option = (uint32_t)nbd_get(bytes + 8, 4);
    *ret_length = (uint32_t)nbd_get(bytes + 12, 4);
    return true;
}

void nbd_encode_option_reply(uint8_t bytes[NBD_OPTION_REPLY_SIZE], uint32_t option, uint32_t type,
                             uint32_t length)
{
    bytes = nbd_put(bytes, NBD_OPTION_REPLY_MAGIC, 8);
    bytes = nbd_put(bytes, option, 4);
    bytes = nbd_put(bytes, type, 4);
    (void)nbd_put(bytes, length, 4);
}

bool nbd_decode_request(const uint8_t bytes[NBD_REQUEST_SIZE], struct nbd_request *ret_request)
{
    if (nbd_get(bytes, 4) != NBD_REQUEST_MAGIC)
        return false;
    ret_request->flags = (uint16_t)nbd_get(bytes + 4, 2);
    ret_request->command = (uint16_t)nbd_get(bytes + 6, 2);
    ret_request->cookie = nbd_get(bytes + 8, 8);
    ret_request->offset = nbd_get(bytes + 16, 8);
    ret_request->length = (uint32_t)nbd_get(bytes + 24, 4);
    return true;
}

void nbd_encode_simple_reply(uint8_t bytes[NBD_SIMPLE_REPLY_SIZE], enum nbd_error error,
                             uint64_t cookie)
{
    bytes = nbd_put(bytes, NBD_SIMPLE_REPLY_MAGIC, 4);
    bytes = nbd_put(bytes, error, 4);
    (void)nbd_put(bytes, cookie, 8);
}

void nbd_encode_chunk(uint8_t bytes[NBD_CHUNK_SIZE], uint32_t flags, uint32_t type, uint64_t cookie,
                      uint32_t length)
{
    bytes = nbd_put(bytes, NBD_STRUCTURED_REPLY_MAGIC, 4);
    bytes = nbd_put(bytes, flags, 2);
    bytes = nbd_put(bytes, type, 2);
    bytes = nbd_put(bytes, cookie, 8);
    (void)nbd_put(bytes, length, 4);
}

/* Statuses that have an error code of their own; all others are NBD_EIO. */
static const struct {
    enum q2_status status;
    enum nbd_error error;
} error_rows[] = {
    {Q2_OK, NBD_SUCCESS},          {Q2_ERR_READ_ONLY, NBD_EPERM},
    {Q2_ERR_NO_SPACE, NBD_ENOSPC}, {Q2_ERR_UNSUPPORTED, NBD_ENOTSUP},
    {Q2_ERR_RANGE, NBD_EINVAL},
};

enum nbd_error nbd_error_of(enum q2_status status)
{
    for (size_t i = 0; i < sizeof(error_rows) / sizeof(error_rows[0]); i++) {
        if (error_rows[i].status == status)
            return error_rows[i].error;
    }
    return NBD_EIO;
}
