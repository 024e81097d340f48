/* Any bytes as what an NBD client sends: nothing reaches the export that it may not see, and the
 * session ends when the client's bytes do.
 *
 * The first byte chooses between a whole session (0 and 2: read-only or not) and the requests
 * alone.
 */
#include <stdlib.h>
#include <string.h>

#include "drivers/nbd/session.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define DISK_SIZE (256u * 1024)

static uint8_t disk[DISK_SIZE];
static uint8_t buffer[NBD_MIN_BUFFER_SIZE];
static const uint8_t *client;
static size_t client_left;

static void require(bool ok)
{
    if (!ok)
        abort();
}

static bool receive(struct nbd_stream *stream, void *to, size_t length)
{
    (void)stream;
    if (length > client_left)
        return false;
    memcpy(to, client, length);
    client += length;
    client_left -= length;
    return true;
}

/* Look at every byte, so that the sanitizer does. */
static void look_at(const uint8_t *from, size_t length)
{
    static volatile uint8_t sum;

    for (size_t i = 0; i < length; i++)
        sum = (uint8_t)(sum + from[i]);
}

static bool send_bytes(struct nbd_stream *stream, const void *head, size_t head_length,
                       const void *payload, size_t payload_length)
{
    (void)stream;
    look_at(head, head_length);
    look_at(payload, payload_length);
    return true;
}

static void require_range(struct nbd_export *export, uint64_t offset, uint64_t length)
{
    require(length > 0 && offset <= export->size && length <= export->size - offset);
}

static enum q2_status disk_read(struct nbd_export *export, uint64_t offset, void *to, size_t length)
{
    require_range(export, offset, length);
    memcpy(to, disk + offset, length);
    return offset % 4096 == 77 ? Q2_ERR_IO : Q2_OK;
}

static enum q2_status disk_write(struct nbd_export *export, uint64_t offset, const void *from,
                                 size_t length)
{
    require(!export->read_only);
    require_range(export, offset, length);
    memcpy(disk + offset, from, length);
    return offset % 4096 == 77 ? Q2_ERR_NO_SPACE : Q2_OK;
}

static enum q2_status disk_zero(struct nbd_export *export, uint64_t offset, uint64_t length)
{
    require(!export->read_only);
    require_range(export, offset, length);
    return Q2_OK;
}

static enum q2_status disk_flush(struct nbd_export *export)
{
    require(!export->read_only);
    return Q2_OK;
}

static enum q2_status disk_status(struct nbd_export *export, uint64_t offset, uint64_t max_length,
                                  uint64_t *ret_length, uint32_t *ret_flags)
{
    uint64_t length = 64 - offset % 64;

    require_range(export, offset, max_length);
    *ret_length = length < max_length ? length : max_length;
    *ret_flags = offset / 64 % 2 == 0 ? 0 : NBD_STATE_HOLE | NBD_STATE_ZERO;
    return offset % 4096 == 78 ? Q2_ERR_BAD_L2 : Q2_OK;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct nbd_export_ops ops = {disk_read, disk_write, disk_zero,
                                              disk_zero, disk_flush, disk_status};
    struct nbd_stream stream = {.receive = receive, .send = send_bytes};
    struct nbd_export export = {.ops = &ops, .size = DISK_SIZE};

    if (size == 0)
        return 0;
    export.read_only = data[0] % 4 >= 2;
    client = data + 1;
    client_left = size - 1;
    if (data[0] % 2 == 0)
        nbd_serve_client(&stream, &export, buffer, sizeof(buffer));
    else
        nbd_serve_requests(&stream, &export, buffer, sizeof(buffer));
    return 0;
}
