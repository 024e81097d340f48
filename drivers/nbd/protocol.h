/* The NBD protocol's messages: numbers, and bytes to structs and back.  (NBD protocol,
 * "doc/proto.md" of the NetworkBlockDevice project)
 *
 * Pure functions: no I/O, no state. All numbers are big-endian on the wire.
 */
#ifndef Q2_DRIVERS_NBD_PROTOCOL_H
#define Q2_DRIVERS_NBD_PROTOCOL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "q2_status.h"

/* Handshake: server's greeting and the flags of both sides. */
#define NBD_GREETING_MAGIC         0x4e42444d41474943ull /* "NBDMAGIC" */
#define NBD_OPTION_MAGIC           0x49484156454f5054ull /* "IHAVEOPT" */
#define NBD_OPTION_REPLY_MAGIC     0x0003e889045565a9ull
#define NBD_FLAG_FIXED_NEWSTYLE    (1u << 0)
#define NBD_FLAG_NO_ZEROES         (1u << 1)
#define NBD_GREETING_SIZE          18u
#define NBD_CLIENT_FLAGS_SIZE      4u
#define NBD_OPTION_SIZE            16u
#define NBD_OPTION_REPLY_SIZE      20u
#define NBD_EXPORT_NAME_REPLY_SIZE 10u
#define NBD_EXPORT_NAME_ZEROES     124u

enum nbd_option {
    NBD_OPT_EXPORT_NAME = 1,
    NBD_OPT_ABORT = 2,
    NBD_OPT_LIST = 3,
    NBD_OPT_INFO = 6,
    NBD_OPT_GO = 7,
    NBD_OPT_STRUCTURED_REPLY = 8,
    NBD_OPT_LIST_META_CONTEXT = 9,
    NBD_OPT_SET_META_CONTEXT = 10,
};

#define NBD_REP_ACK          1u
#define NBD_REP_SERVER       2u
#define NBD_REP_INFO         3u
#define NBD_REP_META_CONTEXT 4u
#define NBD_REP_ERROR        (1u << 31)
#define NBD_REP_ERR_UNSUP    (NBD_REP_ERROR | 1u)
#define NBD_REP_ERR_INVALID  (NBD_REP_ERROR | 3u)
#define NBD_REP_ERR_UNKNOWN  (NBD_REP_ERROR | 6u)
#define NBD_REP_ERR_TOO_BIG  (NBD_REP_ERROR | 9u)

#define NBD_INFO_EXPORT     0u
#define NBD_INFO_BLOCK_SIZE 3u

/* Transmission flags. */
#define NBD_FLAG_HAS_FLAGS         (1u << 0)
#define NBD_FLAG_READ_ONLY         (1u << 1)
#define NBD_FLAG_SEND_FLUSH        (1u << 2)
#define NBD_FLAG_SEND_FUA          (1u << 3)
#define NBD_FLAG_SEND_TRIM         (1u << 5)
#define NBD_FLAG_SEND_WRITE_ZEROES (1u << 6)
#define NBD_FLAG_SEND_DF           (1u << 7)
#define NBD_FLAG_CAN_MULTI_CONN    (1u << 8)

/* Requests and replies. */
#define NBD_REQUEST_MAGIC          0x25609513u
#define NBD_SIMPLE_REPLY_MAGIC     0x67446698u
#define NBD_STRUCTURED_REPLY_MAGIC 0x668e33efu
#define NBD_REQUEST_SIZE           28u
#define NBD_SIMPLE_REPLY_SIZE      16u
#define NBD_CHUNK_SIZE             20u
#define NBD_EXTENT_SIZE            8u

/* The longest payload of a request or reply that clients may assume. */
#define NBD_MAX_PAYLOAD (32u * 1024 * 1024)

enum nbd_command {
    NBD_CMD_READ = 0,
    NBD_CMD_WRITE = 1,
    NBD_CMD_DISC = 2,
    NBD_CMD_FLUSH = 3,
    NBD_CMD_TRIM = 4,
    NBD_CMD_WRITE_ZEROES = 6,
    NBD_CMD_BLOCK_STATUS = 7,
};

#define NBD_CMD_FLAG_FUA     (1u << 0)
#define NBD_CMD_FLAG_NO_HOLE (1u << 1)
#define NBD_CMD_FLAG_DF      (1u << 2)
#define NBD_CMD_FLAG_REQ_ONE (1u << 3)

#define NBD_CHUNK_FLAG_DONE (1u << 0)

#define NBD_CHUNK_NONE         0u
#define NBD_CHUNK_OFFSET_DATA  1u
#define NBD_CHUNK_OFFSET_HOLE  2u
#define NBD_CHUNK_BLOCK_STATUS 5u
#define NBD_CHUNK_ERROR        ((1u << 15) | 1u)

/* Flags of a block status descriptor in context base:allocation. */
#define NBD_STATE_HOLE (1u << 0)
#define NBD_STATE_ZERO (1u << 1)

enum nbd_error {
    NBD_SUCCESS = 0,
    NBD_EPERM = 1,
    NBD_EIO = 5,
    NBD_ENOMEM = 12,
    NBD_EINVAL = 22,
    NBD_ENOSPC = 28,
    NBD_EOVERFLOW = 75,
    NBD_ENOTSUP = 95,
};

struct nbd_request {
    uint16_t flags, command;
    uint64_t cookie;
    uint64_t offset; /* bytes */
    uint32_t length; /* bytes */
};

/* Write a number of 1 to 8 bytes; returns where the next one goes. */
uint8_t *nbd_put(uint8_t *to, uint64_t value, size_t width);
uint64_t nbd_get(const uint8_t *from, size_t width);

void nbd_encode_greeting(uint8_t bytes[NBD_GREETING_SIZE]);

/* False: these bytes begin no option. */
bool nbd_decode_option(const uint8_t bytes[NBD_OPTION_SIZE], uint32_t *ret_option,
                       uint32_t *ret_length);

/* The header before length bytes of a reply to an option. */
void nbd_encode_option_reply(uint8_t bytes[NBD_OPTION_REPLY_SIZE], uint32_t option, uint32_t type,
                             uint32_t length);

/* False: these bytes are no request. */
bool nbd_decode_request(const uint8_t bytes[NBD_REQUEST_SIZE], struct nbd_request *ret_request);

void nbd_encode_simple_reply(uint8_t bytes[NBD_SIMPLE_REPLY_SIZE], enum nbd_error error,
                             uint64_t cookie);

/* The header of a chunk with length bytes of payload. */
void nbd_encode_chunk(uint8_t bytes[NBD_CHUNK_SIZE], uint32_t flags, uint32_t type, uint64_t cookie,
                      uint32_t length);

/* What a client is told for a status of the engine. */
enum nbd_error nbd_error_of(enum q2_status status);

#endif
