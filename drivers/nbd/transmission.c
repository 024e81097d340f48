/* The requests of an NBD session.  (NBD protocol, "Transmission phase")
 *
 * May call protocol.c and export.h. Invariants: the payload of a write is received whole before its
 * reply, so that the next request is found; no reply says success before the export did; every
 * range that reaches the export is inside it.
 */
#include "session.h"

static bool send_both(struct nbd_session *session, const void *head, size_t head_length,
                      const void *payload, size_t payload_length)
{
    return session->stream->send(session->stream, head, head_length, payload, payload_length);
}

static size_t piece_of(const struct nbd_session *session, uint64_t length)
{
    return length < session->buffer_size ? (size_t)length : session->buffer_size;
}

static bool send_chunk(struct nbd_session *session, const struct nbd_request *request,
                       uint32_t flags, uint32_t type, const void *payload, uint32_t length)
{
    uint8_t head[NBD_CHUNK_SIZE];

    nbd_encode_chunk(head, flags, type, request->cookie, length);
    return send_both(session, head, sizeof(head), payload, length);
}

static bool send_error_chunk(struct nbd_session *session, const struct nbd_request *request,
                             enum nbd_error error)
{
    uint8_t payload[6] = {0}; /* and no text */

    (void)nbd_put(payload, error, 4);
    return send_chunk(session, request, NBD_CHUNK_FLAG_DONE, NBD_CHUNK_ERROR, payload,
                      sizeof(payload));
}

/* A simple reply, and the data that it answers a read with. */
static bool reply_simple(struct nbd_session *session, const struct nbd_request *request,
                         enum nbd_error error, const void *data, size_t length)
{
    uint8_t head[NBD_SIMPLE_REPLY_SIZE];

    nbd_encode_simple_reply(head, error, request->cookie);
    return send_both(session, head, sizeof(head), data, length);
}

/* The reply to everything that sends no data back. Structured replies are only demanded where there
 * is data, or an error in its place. */
static bool reply(struct nbd_session *session, const struct nbd_request *request,
                  enum nbd_error error)
{
    bool has_data = request->command == NBD_CMD_READ || request->command == NBD_CMD_BLOCK_STATUS;

    if (session->structured && has_data) {
        if (error != NBD_SUCCESS)
            return send_error_chunk(session, request, error);
        return send_chunk(session, request, NBD_CHUNK_FLAG_DONE, NBD_CHUNK_NONE, NULL, 0);
    }
    return reply_simple(session, request, error, NULL, 0);
}

/* ---- Reading ---- */

/* One piece of a structured reply: data, or a hole that may be longer than the buffer. */
static bool send_data_chunk(struct nbd_session *session, const struct nbd_request *request,
                            uint64_t offset, uint64_t length, bool hole)
{
    uint8_t head[NBD_CHUNK_SIZE + 12], *to = head + NBD_CHUNK_SIZE;
    size_t head_size = NBD_CHUNK_SIZE + (hole ? 12u : 8u);

    to = nbd_put(to, offset, 8);
    (void)nbd_put(to, length, 4);
    nbd_encode_chunk(head, 0, hole ? NBD_CHUNK_OFFSET_HOLE : NBD_CHUNK_OFFSET_DATA, request->cookie,
                     (uint32_t)(hole ? 12 : 8 + length));
    return send_both(session, head, head_size, session->buffer, hole ? 0 : (size_t)length);
}

/* What the next chunk of a read is. */
struct part {
    uint64_t length;
    bool hole;
};

static enum q2_status next_part(struct nbd_session *session, const struct nbd_request *request,
                                uint64_t offset, uint64_t left, struct part *ret_part)
{
    struct nbd_export *export = session->export;
    uint32_t flags = 0;
    uint64_t length = left;
    enum q2_status status = Q2_OK;

    if ((request->flags & NBD_CMD_FLAG_DF) == 0)
        status = export->ops->status(export, offset, left, &length, &flags);
    if (status != Q2_OK)
        return status;
    ret_part->hole = (flags & NBD_STATE_ZERO) != 0;
    ret_part->length = ret_part->hole ? length : piece_of(session, length);
    if (!ret_part->hole)
        return export->ops->read(export, offset, session->buffer, (size_t)ret_part->length);
    return Q2_OK;
}

static bool read_structured(struct nbd_session *session, const struct nbd_request *request)
{
    uint64_t offset = request->offset, left = request->length;

    while (left > 0) {
        struct part part;
        enum q2_status status = next_part(session, request, offset, left, &part);

        if (status != Q2_OK)
            return send_error_chunk(session, request, nbd_error_of(status));
        if (!send_data_chunk(session, request, offset, part.length, part.hole))
            return false;
        offset += part.length;
        left -= part.length;
    }
    return reply(session, request, NBD_SUCCESS);
}

/* Read a range piece by piece; each one is sent if `send` says so. */
static enum q2_status read_pieces(struct nbd_session *session, const struct nbd_request *request,
                                  bool send, bool *ret_sent)
{
    struct nbd_export *export = session->export;
    uint64_t offset = request->offset, left = request->length;

    *ret_sent = true;
    while (left > 0 && *ret_sent) {
        size_t n = piece_of(session, left);
        enum q2_status status = export->ops->read(export, offset, session->buffer, n);

        if (status != Q2_OK)
            return status;
        if (send)
            *ret_sent = send_both(session, session->buffer, n, NULL, 0);
        offset += n;
        left -= n;
    }
    return Q2_OK;
}

/* A simple reply says before its data that all of it can be read. So what does not fit into the
 * buffer is read twice; if it cannot be read the second time, the session ends. */
static bool read_simple(struct nbd_session *session, const struct nbd_request *request)
{
    bool fits = request->length <= session->buffer_size, sent;
    enum q2_status status = read_pieces(session, request, false, &sent);

    if (status != Q2_OK)
        return reply(session, request, nbd_error_of(status));
    if (fits)
        return reply_simple(session, request, NBD_SUCCESS, session->buffer, request->length);
    return reply(session, request, NBD_SUCCESS) &&
           read_pieces(session, request, true, &sent) == Q2_OK && sent;
}

static bool serve_read(struct nbd_session *session, const struct nbd_request *request)
{
    if (request->length > NBD_MAX_PAYLOAD)
        return reply(session, request, NBD_EOVERFLOW);
    if (!session->structured)
        return read_simple(session, request);
    if ((request->flags & NBD_CMD_FLAG_DF) != 0 && request->length > session->buffer_size)
        return reply(session, request, NBD_EOVERFLOW);
    return read_structured(session, request);
}

/* ---- Changing ---- */

static enum q2_status flush(struct nbd_session *session)
{
    struct nbd_export *export = session->export;

    return export->read_only ? Q2_OK : export->ops->flush(export);
}

static bool reply_changed(struct nbd_session *session, const struct nbd_request *request,
                          enum q2_status status)
{
    if (status == Q2_OK && (request->flags & NBD_CMD_FLAG_FUA) != 0)
        status = flush(session);
    return reply(session, request, nbd_error_of(status));
}

/* Receive the payload; write it unless there is an error already. */
static bool serve_write(struct nbd_session *session, const struct nbd_request *request,
                        enum nbd_error error)
{
    struct nbd_export *export = session->export;
    uint64_t offset = request->offset, left = request->length;
    enum q2_status status = Q2_OK;

    if (request->length > NBD_MAX_PAYLOAD)
        return false;
    while (left > 0) {
        size_t n = piece_of(session, left);

        if (!session->stream->receive(session->stream, session->buffer, n))
            return false;
        if (error == NBD_SUCCESS && status == Q2_OK)
            status = export->ops->write(export, offset, session->buffer, n);
        offset += n;
        left -= n;
    }
    if (error != NBD_SUCCESS)
        return reply(session, request, error);
    return reply_changed(session, request, status);
}

static bool serve_write_zeroes(struct nbd_session *session, const struct nbd_request *request)
{
    struct nbd_export *export = session->export;
    enum q2_status status = export->ops->write_zeroes(export, request->offset, request->length);

    return reply_changed(session, request, status);
}

static bool serve_trim(struct nbd_session *session, const struct nbd_request *request)
{
    struct nbd_export *export = session->export;
    enum q2_status status = export->ops->trim(export, request->offset, request->length);

    return reply_changed(session, request, status);
}

/* ---- Block status ---- */

/* Descriptors under construction, neighbours of one kind put together. */
struct descriptors {
    uint8_t *bytes;
    size_t nb;
    uint64_t length; /* of the last one */
    uint32_t flags;
};

static void put_descriptor(struct descriptors *descriptors)
{
    uint8_t *to = descriptors->bytes + descriptors->nb++ * NBD_EXTENT_SIZE;

    to = nbd_put(to, descriptors->length, 4);
    (void)nbd_put(to, descriptors->flags, 4);
}

static enum q2_status describe(struct nbd_session *session, const struct nbd_request *request,
                               struct descriptors *descriptors)
{
    struct nbd_export *export = session->export;
    size_t max = (request->flags & NBD_CMD_FLAG_REQ_ONE) != 0 ? 1 : NBD_MAX_EXTENTS;
    uint64_t offset = request->offset, left = request->length;

    while (left > 0) {
        uint64_t length;
        uint32_t flags;
        enum q2_status status = export->ops->status(export, offset, left, &length, &flags);

        if (status != Q2_OK) /* what comes before it can be told */
            return descriptors->length > 0 ? Q2_OK : status;
        if (descriptors->length > 0 && flags != descriptors->flags) {
            if (descriptors->nb + 1 == max)
                return Q2_OK;
            put_descriptor(descriptors);
            descriptors->length = 0;
        }
        descriptors->flags = flags;
        descriptors->length += length;
        offset += length;
        left -= length;
    }
    return Q2_OK;
}

static bool serve_block_status(struct nbd_session *session, const struct nbd_request *request)
{
    struct descriptors descriptors = {.bytes = session->buffer + 4};
    enum q2_status status;

    if (!session->base_allocation)
        return reply(session, request, NBD_EINVAL);
    status = describe(session, request, &descriptors);
    if (status != Q2_OK)
        return reply(session, request, nbd_error_of(status));
    put_descriptor(&descriptors);
    (void)nbd_put(session->buffer, NBD_CONTEXT_ID, 4);
    return send_chunk(session, request, NBD_CHUNK_FLAG_DONE, NBD_CHUNK_BLOCK_STATUS,
                      session->buffer, (uint32_t)(4 + descriptors.nb * NBD_EXTENT_SIZE));
}

/* ---- Requests ---- */

/* What a command may carry and does. */
struct command_row {
    uint32_t flags; /* that it may have */
    bool has_range;
    bool changes;
};

static const struct command_row command_rows[] = {
    [NBD_CMD_READ] = {NBD_CMD_FLAG_FUA | NBD_CMD_FLAG_DF, true, false},
    [NBD_CMD_WRITE] = {NBD_CMD_FLAG_FUA, true, true},
    [NBD_CMD_FLUSH] = {NBD_CMD_FLAG_FUA, false, false},
    [NBD_CMD_TRIM] = {NBD_CMD_FLAG_FUA, true, true},
    [NBD_CMD_WRITE_ZEROES] = {NBD_CMD_FLAG_FUA | NBD_CMD_FLAG_NO_HOLE, true, true},
    [NBD_CMD_BLOCK_STATUS] = {NBD_CMD_FLAG_FUA | NBD_CMD_FLAG_REQ_ONE, true, false},
};
#define NB_COMMANDS (sizeof(command_rows) / sizeof(command_rows[0]))

/* What is wrong with a request before it is looked at any closer. */
static enum nbd_error judge(const struct nbd_session *session, const struct nbd_request *request)
{
    uint64_t size = session->export->size;
    const struct command_row *row;

    if (request->command >= NB_COMMANDS)
        return NBD_EINVAL;
    row = &command_rows[request->command];
    if ((request->flags & ~row->flags) != 0 ||
        ((request->flags & NBD_CMD_FLAG_DF) != 0 && !session->structured))
        return NBD_EINVAL;
    if (row->changes && session->export->read_only)
        return NBD_EPERM;
    if (!row->has_range)
        return NBD_SUCCESS;
    if (request->length == 0)
        return NBD_EINVAL;
    if (request->offset > size || request->length > size - request->offset)
        return row->changes ? NBD_ENOSPC : NBD_EINVAL;
    return NBD_SUCCESS;
}

/* Serve one request; false ends the session. */
static bool serve(struct nbd_session *session, const struct nbd_request *request)
{
    enum nbd_error error = judge(session, request);

    if (request->command == NBD_CMD_DISC)
        return false;
    if (request->command == NBD_CMD_WRITE)
        return serve_write(session, request, error);
    if (error != NBD_SUCCESS)
        return reply(session, request, error);
    switch (request->command) {
    case NBD_CMD_READ:
        return serve_read(session, request);
    case NBD_CMD_FLUSH:
        return reply(session, request, nbd_error_of(flush(session)));
    case NBD_CMD_TRIM:
        return serve_trim(session, request);
    case NBD_CMD_WRITE_ZEROES:
        return serve_write_zeroes(session, request);
    case NBD_CMD_BLOCK_STATUS:
        return serve_block_status(session, request);
    default: /* 5, which is no command of ours and has a row of zeros */
        return reply(session, request, NBD_EINVAL);
    }
}

static bool receive_request(struct nbd_session *session, struct nbd_request *ret_request)
{
    uint8_t bytes[NBD_REQUEST_SIZE];

    if (session->stream->await)
        session->stream->await(session->stream);
    return session->stream->receive(session->stream, bytes, sizeof(bytes)) &&
           nbd_decode_request(bytes, ret_request);
}

void nbd_transmission(struct nbd_session *session)
{
    struct nbd_request request;

    while (receive_request(session, &request) && serve(session, &request)) {
    }
}

void nbd_serve_client(struct nbd_stream *stream, struct nbd_export *export, void *buffer,
                      size_t buffer_size)
{
    struct nbd_session session = {
        .stream = stream, .export = export, .buffer = buffer, .buffer_size = buffer_size};

    if (nbd_handshake(&session))
        nbd_transmission(&session);
}

void nbd_serve_requests(struct nbd_stream *stream, struct nbd_export *export, void *buffer,
                        size_t buffer_size)
{
    struct nbd_session session = {
        .stream = stream, .export = export, .buffer = buffer, .buffer_size = buffer_size};

    nbd_transmission(&session);
}
