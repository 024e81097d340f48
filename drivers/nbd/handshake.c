/* The handshake of an NBD session: fixed newstyle.  (NBD protocol, "Protocol phases")
 *
 * May call protocol.c and the stream of the session. Invariant: the data of an option is read
 * whole, whatever it is, or the session ends. So the next option is found.
 */
#include <string.h>

#include "session.h"

uint32_t nbd_export_flags(const struct nbd_export *export)
{
    uint32_t flags = NBD_FLAG_HAS_FLAGS | NBD_FLAG_SEND_FLUSH | NBD_FLAG_CAN_MULTI_CONN;

    if (export->read_only)
        return flags | NBD_FLAG_READ_ONLY;
    return flags | NBD_FLAG_SEND_FUA | NBD_FLAG_SEND_TRIM | NBD_FLAG_SEND_WRITE_ZEROES;
}

static uint32_t flags_of(const struct nbd_session *session)
{
    return nbd_export_flags(session->export) | (session->structured ? NBD_FLAG_SEND_DF : 0);
}

static bool receive(struct nbd_session *session, void *buffer, size_t length)
{
    return session->stream->receive(session->stream, buffer, length);
}

static bool send_bytes(struct nbd_session *session, const void *buffer, size_t length)
{
    return session->stream->send(session->stream, buffer, length, NULL, 0);
}

static bool reply(struct nbd_session *session, uint32_t option, uint32_t type, const void *data,
                  uint32_t length)
{
    uint8_t head[NBD_OPTION_REPLY_SIZE];

    nbd_encode_option_reply(head, option, type, length);
    return session->stream->send(session->stream, head, sizeof(head), data, length);
}

/* An error with a text for people. */
static bool reply_error(struct nbd_session *session, uint32_t option, uint32_t type,
                        const char *text)
{
    return reply(session, option, type, text, (uint32_t)strlen(text));
}

/* Data of an option that is being taken apart. */
struct data {
    const uint8_t *at;
    size_t left;
    bool bad;
};

static const uint8_t *take(struct data *data, size_t length)
{
    const uint8_t *at = data->at;

    if (data->bad || length > data->left) {
        data->bad = true;
        return NULL;
    }
    data->at += length;
    data->left -= length;
    return at;
}

static uint32_t take_number(struct data *data, size_t width)
{
    const uint8_t *at = take(data, width);

    return at ? (uint32_t)nbd_get(at, width) : 0;
}

/* A name with its length before it; true if it is the name of our one export, the empty one. */
static bool take_our_name(struct data *data)
{
    uint32_t length = take_number(data, 4);

    return take(data, length) && length == 0;
}

static bool reply_info_export(struct nbd_session *session, uint32_t option)
{
    uint8_t info[12], *to = info;

    to = nbd_put(to, NBD_INFO_EXPORT, 2);
    to = nbd_put(to, session->export->size, 8);
    (void)nbd_put(to, flags_of(session), 2);
    return reply(session, option, NBD_REP_INFO, info, sizeof(info));
}

/* Any alignment is good; 4 KiB is what file systems like. */
static bool reply_info_block_size(struct nbd_session *session, uint32_t option)
{
    uint8_t info[14], *to = info;

    to = nbd_put(to, NBD_INFO_BLOCK_SIZE, 2);
    to = nbd_put(to, 1, 4);
    to = nbd_put(to, 4096, 4);
    (void)nbd_put(to, NBD_MAX_PAYLOAD, 4);
    return reply(session, option, NBD_REP_INFO, info, sizeof(info));
}

/* NBD_OPT_INFO and NBD_OPT_GO. ret_go: the client gets what it wants to know and begins. */
static bool answer_info(struct nbd_session *session, uint32_t option, struct data *data,
                        bool *ret_go)
{
    bool ours = take_our_name(data), wants_block_size = false;
    uint32_t nb = take_number(data, 2);

    for (uint32_t i = 0; i < nb && !data->bad; i++)
        wants_block_size |= take_number(data, 2) == NBD_INFO_BLOCK_SIZE;
    if (data->bad || data->left > 0)
        return reply_error(session, option, NBD_REP_ERR_INVALID, "malformed option");
    if (!ours)
        return reply_error(session, option, NBD_REP_ERR_UNKNOWN,
                           "there is one export, with an empty name");
    *ret_go = option == NBD_OPT_GO;
    return reply_info_export(session, option) &&
           (!wants_block_size || reply_info_block_size(session, option)) &&
           reply(session, option, NBD_REP_ACK, NULL, 0);
}

static bool query_matches(const uint8_t *query, size_t length, bool list)
{
    static const char name[] = "base:allocation";

    if (length == sizeof(name) - 1 && memcmp(query, name, length) == 0)
        return true;
    return list && length == 5 && memcmp(query, "base:", 5) == 0;
}

static bool reply_context(struct nbd_session *session, uint32_t option)
{
    static const char name[] = "base:allocation";
    uint8_t context[4 + sizeof(name) - 1];

    (void)nbd_put(context, option == NBD_OPT_SET_META_CONTEXT ? NBD_CONTEXT_ID : 0, 4);
    memcpy(context + 4, name, sizeof(name) - 1);
    return reply(session, option, NBD_REP_META_CONTEXT, context, sizeof(context));
}

/* NBD_OPT_LIST_META_CONTEXT and NBD_OPT_SET_META_CONTEXT. */
static bool answer_context(struct nbd_session *session, uint32_t option, struct data *data)
{
    bool list = option == NBD_OPT_LIST_META_CONTEXT;
    bool ours = take_our_name(data);
    uint32_t nb = take_number(data, 4);
    bool wanted = list && nb == 0;

    for (uint32_t i = 0; i < nb && !data->bad; i++) {
        uint32_t length = take_number(data, 4);
        const uint8_t *query = take(data, length);

        wanted |= query && query_matches(query, length, list);
    }
    if (!list)
        session->base_allocation = false;
    if (data->bad || data->left > 0 || (!list && !session->structured))
        return reply_error(session, option, NBD_REP_ERR_INVALID,
                           "malformed option, or structured replies were not agreed on");
    if (!ours)
        return reply_error(session, option, NBD_REP_ERR_UNKNOWN,
                           "there is one export, with an empty name");
    if (!list)
        session->base_allocation = wanted;
    return (!wanted || reply_context(session, option)) &&
           reply(session, option, NBD_REP_ACK, NULL, 0);
}

static bool answer_list(struct nbd_session *session, struct data *data)
{
    static const uint8_t empty_name[4];

    if (data->left > 0)
        return reply_error(session, NBD_OPT_LIST, NBD_REP_ERR_INVALID, "malformed option");
    return reply(session, NBD_OPT_LIST, NBD_REP_SERVER, empty_name, sizeof(empty_name)) &&
           reply(session, NBD_OPT_LIST, NBD_REP_ACK, NULL, 0);
}

static bool answer_structured(struct nbd_session *session, struct data *data)
{
    if (data->left > 0)
        return reply_error(session, NBD_OPT_STRUCTURED_REPLY, NBD_REP_ERR_INVALID,
                           "malformed option");
    session->structured = true;
    return reply(session, NBD_OPT_STRUCTURED_REPLY, NBD_REP_ACK, NULL, 0);
}

/* NBD_OPT_EXPORT_NAME has no error reply, so the session with a client that asks for another export
 * is ended. */
static bool answer_export_name(struct nbd_session *session, struct data *data, bool *ret_go)
{
    uint8_t answer[NBD_EXPORT_NAME_REPLY_SIZE + NBD_EXPORT_NAME_ZEROES] = {0}, *to = answer;

    if (data->left > 0)
        return false;
    to = nbd_put(to, session->export->size, 8);
    (void)nbd_put(to, flags_of(session), 2);
    *ret_go = true;
    return send_bytes(session, answer,
                      session->no_zeroes ? NBD_EXPORT_NAME_REPLY_SIZE : sizeof(answer));
}

static bool answer(struct nbd_session *session, uint32_t option, uint32_t length, bool *ret_go)
{
    struct data data = {.at = session->buffer, .left = length};

    switch (option) {
    case NBD_OPT_EXPORT_NAME:
        return answer_export_name(session, &data, ret_go);
    case NBD_OPT_ABORT:
        (void)reply(session, option, NBD_REP_ACK, NULL, 0);
        return false;
    case NBD_OPT_LIST:
        return answer_list(session, &data);
    case NBD_OPT_INFO:
    case NBD_OPT_GO:
        return answer_info(session, option, &data, ret_go);
    case NBD_OPT_STRUCTURED_REPLY:
        return answer_structured(session, &data);
    case NBD_OPT_LIST_META_CONTEXT:
    case NBD_OPT_SET_META_CONTEXT:
        return answer_context(session, option, &data);
    default:
        return reply(session, option, NBD_REP_ERR_UNSUP, NULL, 0);
    }
}

/* Read the data of an option and drop it. false: the client is gone, or sends more than any client
 * needs. */
static bool skip(struct nbd_session *session, uint32_t length)
{
    if (length > NBD_MAX_PAYLOAD)
        return false;
    while (length > 0) {
        uint32_t n = length < session->buffer_size ? length : (uint32_t)session->buffer_size;

        if (!receive(session, session->buffer, n))
            return false;
        length -= n;
    }
    return true;
}

static bool next_option(struct nbd_session *session, bool *ret_go)
{
    uint8_t head[NBD_OPTION_SIZE];
    uint32_t option, length;

    if (!receive(session, head, sizeof(head)) || !nbd_decode_option(head, &option, &length))
        return false;
    if (length > NBD_MAX_OPTION_LENGTH)
        return option != NBD_OPT_EXPORT_NAME && skip(session, length) &&
               reply_error(session, option, NBD_REP_ERR_TOO_BIG, "the option is too long");
    return (length == 0 || receive(session, session->buffer, length)) &&
           answer(session, option, length, ret_go);
}

bool nbd_handshake(struct nbd_session *session)
{
    uint8_t greeting[NBD_GREETING_SIZE], client[NBD_CLIENT_FLAGS_SIZE];
    uint32_t flags;
    bool go = false;

    nbd_encode_greeting(greeting);
    if (!send_bytes(session, greeting, sizeof(greeting)) ||
        !receive(session, client, sizeof(client)))
        return false;
    flags = (uint32_t)nbd_get(client, sizeof(client));
    if ((flags & ~(NBD_FLAG_FIXED_NEWSTYLE | NBD_FLAG_NO_ZEROES)) != 0)
        return false;
    session->no_zeroes = (flags & NBD_FLAG_NO_ZEROES) != 0;
    for (size_t i = 0; i < NBD_MAX_OPTIONS && !go; i++) {
        if (!next_option(session, &go))
            return false;
    }
    return go;
}
