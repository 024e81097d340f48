/* drivers/nbd/: what a client gets for what it sends, byte by byte; clients that break the
 * protocol; a client that stops after every single byte.
 *
 * The stream is a script in memory: all that the client sends, and a place for what comes back.
 */
#include "drivers/nbd/session.h"

#include <stdlib.h>

#include "tests/support/t.h"

#define DISK_SIZE   (256u * 1024)
#define BUFFER_SIZE NBD_MIN_BUFFER_SIZE
#define MAX_TALK    (1u << 20)

/* ---- A stream that is a script, and an export that is an array ---- */

struct script {
    struct nbd_stream stream;
    uint8_t in[MAX_TALK], out[MAX_TALK];
    size_t in_length, in_at, out_length, out_at;
};

static struct script script;
static uint8_t disk[DISK_SIZE];
static uint8_t session_buffer[BUFFER_SIZE];
static unsigned nb_flushes, nb_changes;
static enum q2_status next_status; /* of the next call of the export; Q2_OK after it */

static bool script_receive(struct nbd_stream *stream, void *buffer, size_t length)
{
    (void)stream;
    if (length > script.in_length - script.in_at)
        return false;
    memcpy(buffer, script.in + script.in_at, length);
    script.in_at += length;
    return true;
}

static bool put_out(const void *bytes, size_t length)
{
    if (length > MAX_TALK - script.out_length)
        return false;
    if (length > 0)
        memcpy(script.out + script.out_length, bytes, length);
    script.out_length += length;
    return true;
}

static bool script_send(struct nbd_stream *stream, const void *head, size_t head_length,
                        const void *payload, size_t payload_length)
{
    (void)stream;
    return put_out(head, head_length) && put_out(payload, payload_length);
}

static enum q2_status taken_status(void)
{
    enum q2_status status = next_status;

    next_status = Q2_OK;
    return status;
}

static enum q2_status array_read(struct nbd_export *export, uint64_t offset, void *buffer,
                                 size_t length)
{
    T_CHECK(offset + length <= export->size && length > 0);
    memcpy(buffer, disk + offset, length);
    return taken_status();
}

static enum q2_status array_write(struct nbd_export *export, uint64_t offset, const void *buffer,
                                  size_t length)
{
    enum q2_status status = taken_status();

    T_CHECK(!export->read_only && offset + length <= export->size && length > 0);
    if (status == Q2_OK)
        memcpy(disk + offset, buffer, length);
    nb_changes++;
    return status;
}

static enum q2_status array_zero(struct nbd_export *export, uint64_t offset, uint64_t length)
{
    T_CHECK(!export->read_only && offset + length <= export->size && length > 0);
    memset(disk + offset, 0, (size_t)length);
    nb_changes++;
    return taken_status();
}

static enum q2_status array_flush(struct nbd_export *export)
{
    T_CHECK(!export->read_only);
    nb_flushes++;
    return taken_status();
}

/* Data and holes of 4 KiB take turns; the second half is data. */
static enum q2_status array_status(struct nbd_export *export, uint64_t offset, uint64_t max_length,
                                   uint64_t *ret_length, uint32_t *ret_flags)
{
    uint64_t length = 4096 - offset % 4096;

    T_CHECK(offset + max_length <= export->size && max_length > 0);
    *ret_length = length < max_length ? length : max_length;
    *ret_flags =
        offset < DISK_SIZE / 2 && (offset / 4096) % 2 == 1 ? NBD_STATE_HOLE | NBD_STATE_ZERO : 0;
    return taken_status();
}

static const struct nbd_export_ops array_ops = {
    .read = array_read,
    .write = array_write,
    .write_zeroes = array_zero,
    .trim = array_zero,
    .flush = array_flush,
    .status = array_status,
};

static struct nbd_export export;

/* ---- What the client says ---- */

static void begin(bool read_only)
{
    script = (struct script){.stream = {.receive = script_receive, .send = script_send}};
    export = (struct nbd_export){.ops = &array_ops, .size = DISK_SIZE, .read_only = read_only};
    for (size_t i = 0; i < DISK_SIZE; i++)
        disk[i] = i < DISK_SIZE / 2 && (i / 4096) % 2 == 1 ? 0 : (uint8_t)(i % 251 + 1);
    nb_flushes = nb_changes = 0;
    next_status = Q2_OK;
}

static void say(const void *bytes, size_t length)
{
    memcpy(script.in + script.in_length, bytes, length);
    script.in_length += length;
}

static void say_number(uint64_t value, size_t width)
{
    uint8_t bytes[8];

    (void)nbd_put(bytes, value, width);
    say(bytes, width);
}

static void say_option(uint32_t option, const void *data, uint32_t length)
{
    say_number(NBD_OPTION_MAGIC, 8);
    say_number(option, 4);
    say_number(length, 4);
    if (length > 0)
        say(data, length);
}

static void say_request(uint32_t command, uint32_t flags, uint64_t offset, uint32_t length)
{
    say_number(NBD_REQUEST_MAGIC, 4);
    say_number(flags, 2);
    say_number(command, 2);
    say_number(0x1122334455667788, 8);
    say_number(offset, 8);
    say_number(length, 4);
}

/* Greeting, client flags, structured replies and a context if asked for, NBD_OPT_GO. */
static void say_hello(bool structured)
{
    static const uint8_t go[6];
    static const uint8_t context[] = "\0\0\0\0\0\0\0\1\0\0\0\17base:allocation";

    say_number(NBD_FLAG_FIXED_NEWSTYLE | NBD_FLAG_NO_ZEROES, 4);
    if (structured) {
        say_option(NBD_OPT_STRUCTURED_REPLY, NULL, 0);
        say_option(NBD_OPT_SET_META_CONTEXT, context, sizeof(context) - 1);
    }
    say_option(NBD_OPT_GO, go, sizeof(go));
}

static void run(void)
{
    nbd_serve_client(&script.stream, &export, session_buffer, sizeof(session_buffer));
}

/* ---- What comes back ---- */

static uint64_t hear(size_t width)
{
    uint64_t value = 0;

    if (T_CHECK(script.out_length - script.out_at >= width)) {
        value = nbd_get(script.out + script.out_at, width);
        script.out_at += width;
    }
    return value;
}

static void hear_option_reply(uint32_t option, uint32_t type)
{
    uint64_t length;

    T_CHECK_U64(hear(8), NBD_OPTION_REPLY_MAGIC);
    T_CHECK_U64(hear(4), option);
    T_CHECK_U64(hear(4), type);
    length = hear(4);
    if (T_CHECK(length <= script.out_length - script.out_at))
        script.out_at += length;
}

static void hear_greeting(void)
{
    T_CHECK_U64(hear(8), NBD_GREETING_MAGIC);
    T_CHECK_U64(hear(8), NBD_OPTION_MAGIC);
    T_CHECK_U64(hear(2), NBD_FLAG_FIXED_NEWSTYLE | NBD_FLAG_NO_ZEROES);
}

static void hear_hello(bool structured)
{
    hear_greeting();
    if (structured) {
        hear_option_reply(NBD_OPT_STRUCTURED_REPLY, NBD_REP_ACK);
        hear_option_reply(NBD_OPT_SET_META_CONTEXT, NBD_REP_META_CONTEXT);
        hear_option_reply(NBD_OPT_SET_META_CONTEXT, NBD_REP_ACK);
    }
    hear_option_reply(NBD_OPT_GO, NBD_REP_INFO);
    hear_option_reply(NBD_OPT_GO, NBD_REP_ACK);
}

static void hear_simple(uint32_t error)
{
    T_CHECK_U64(hear(4), NBD_SIMPLE_REPLY_MAGIC);
    T_CHECK_U64(hear(4), error);
    T_CHECK_U64(hear(8), 0x1122334455667788);
}

static uint32_t hear_chunk(uint32_t flags, uint32_t type)
{
    T_CHECK_U64(hear(4), NBD_STRUCTURED_REPLY_MAGIC);
    T_CHECK_U64(hear(2), flags);
    T_CHECK_U64(hear(2), type);
    T_CHECK_U64(hear(8), 0x1122334455667788);
    return (uint32_t)hear(4);
}

static void hear_disk(uint64_t offset, size_t length)
{
    if (T_CHECK(script.out_length - script.out_at >= length))
        T_CHECK(memcmp(script.out + script.out_at, disk + offset, length) == 0);
    script.out_at += length;
}

static void hear_end(void)
{
    T_CHECK_U64(script.out_at, script.out_length);
}

/* ---- Cases ---- */

static void test_handshake_go_tells_size_and_flags(void)
{
    static const struct {
        const char *name;
        bool read_only;
        uint32_t want;
    } rows[] = {
        {"writable", false, 1 | 4 | 8 | 32 | 64 | 256},
        {"read-only", true, 1 | 2 | 4 | 256},
    };

    for (size_t i = 0; i < 2; i++) {
        t_row(rows[i].name);
        begin(rows[i].read_only);
        say_hello(false);
        run();
        hear_greeting();
        T_CHECK_U64(hear(8), NBD_OPTION_REPLY_MAGIC);
        T_CHECK_U64(hear(4), NBD_OPT_GO);
        T_CHECK_U64(hear(4), NBD_REP_INFO);
        T_CHECK_U64(hear(4), 12);
        T_CHECK_U64(hear(2), NBD_INFO_EXPORT);
        T_CHECK_U64(hear(8), DISK_SIZE);
        T_CHECK_U64(hear(2), rows[i].want);
        hear_option_reply(NBD_OPT_GO, NBD_REP_ACK);
        hear_end();
    }
}

static void test_handshake_export_name_begins(void)
{
    begin(false);
    say_number(NBD_FLAG_FIXED_NEWSTYLE, 4); /* without NO_ZEROES */
    say_option(NBD_OPT_EXPORT_NAME, NULL, 0);
    say_request(NBD_CMD_READ, 0, 0, 512);
    run();
    hear_greeting();
    T_CHECK_U64(hear(8), DISK_SIZE);
    T_CHECK_U64(hear(2), 1 | 4 | 8 | 32 | 64 | 256);
    script.out_at += NBD_EXPORT_NAME_ZEROES;
    hear_simple(0);
    hear_disk(0, 512);
    hear_end();
}

/* Each is answered, and the next option is understood. */
static void test_handshake_options_are_answered(void)
{
    static const struct {
        const char *name;
        uint32_t option;
        const char *data;
        uint32_t length;
        uint32_t want[3];
    } rows[] = {
        {"list", NBD_OPT_LIST, NULL, 0, {NBD_REP_SERVER, NBD_REP_ACK}},
        {"list with data", NBD_OPT_LIST, "x", 1, {NBD_REP_ERR_INVALID}},
        {"TLS", 5, NULL, 0, {NBD_REP_ERR_UNSUP}},
        {"extended headers", 11, NULL, 0, {NBD_REP_ERR_UNSUP}},
        {"garbage", 0xdeadbeef, "garbage", 7, {NBD_REP_ERR_UNSUP}},
        {"info", NBD_OPT_INFO, "\0\0\0\0\0\1\0\3", 8, {NBD_REP_INFO, NBD_REP_INFO, NBD_REP_ACK}},
        {"info of another", NBD_OPT_INFO, "\0\0\0\1x\0\0", 7, {NBD_REP_ERR_UNKNOWN}},
        {"info cut off", NBD_OPT_INFO, "\0\0\0\0\0", 5, {NBD_REP_ERR_INVALID}},
        {"info, name too long", NBD_OPT_INFO, "\377\377\377\377\0\0", 6, {NBD_REP_ERR_INVALID}},
        {"info, bytes after", NBD_OPT_INFO, "\0\0\0\0\0\0x", 7, {NBD_REP_ERR_INVALID}},
        {"info, many", NBD_OPT_INFO, "\0\0\0\0\377\377\0\3", 8, {NBD_REP_ERR_INVALID}},
        {"structured with data", NBD_OPT_STRUCTURED_REPLY, "x", 1, {NBD_REP_ERR_INVALID}},
        {"list contexts",
         NBD_OPT_LIST_META_CONTEXT,
         "\0\0\0\0\0\0\0\0",
         8,
         {NBD_REP_META_CONTEXT, NBD_REP_ACK}},
        {"list namespace",
         NBD_OPT_LIST_META_CONTEXT,
         "\0\0\0\0\0\0\0\1\0\0\0\5base:",
         17,
         {NBD_REP_META_CONTEXT, NBD_REP_ACK}},
        {"list another",
         NBD_OPT_LIST_META_CONTEXT,
         "\0\0\0\0\0\0\0\1\0\0\0\5qemu:",
         17,
         {NBD_REP_ACK}},
        {"set before structured",
         NBD_OPT_SET_META_CONTEXT,
         "\0\0\0\0\0\0\0\0",
         8,
         {NBD_REP_ERR_INVALID}},
        {"contexts cut off",
         NBD_OPT_LIST_META_CONTEXT,
         "\0\0\0\0\0\0\0\2\0\0\0\5qemu:",
         17,
         {NBD_REP_ERR_INVALID}},
    };

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        t_row(rows[i].name);
        begin(false);
        say_number(NBD_FLAG_FIXED_NEWSTYLE | NBD_FLAG_NO_ZEROES, 4);
        say_option(rows[i].option, rows[i].data, rows[i].length);
        say_option(NBD_OPT_ABORT, NULL, 0);
        say_option(NBD_OPT_LIST, NULL, 0); /* nobody hears it */
        run();
        hear_greeting();
        for (size_t n = 0; n < 3 && rows[i].want[n] != 0; n++)
            hear_option_reply(rows[i].option, rows[i].want[n]);
        hear_option_reply(NBD_OPT_ABORT, NBD_REP_ACK);
        hear_end();
        T_CHECK_U64(script.in_length - script.in_at, NBD_OPTION_SIZE);
    }
}

static void test_handshake_long_option_is_skipped(void)
{
    static uint8_t data[NBD_MAX_OPTION_LENGTH + 1];

    begin(false);
    say_number(NBD_FLAG_FIXED_NEWSTYLE | NBD_FLAG_NO_ZEROES, 4);
    say_option(NBD_OPT_INFO, data, sizeof(data));
    say_option(NBD_OPT_ABORT, NULL, 0);
    run();
    hear_greeting();
    hear_option_reply(NBD_OPT_INFO, NBD_REP_ERR_TOO_BIG);
    hear_option_reply(NBD_OPT_ABORT, NBD_REP_ACK);
    hear_end();
}

static void test_handshake_broken_client_is_left(void)
{
    static const uint8_t go[6];

    begin(false); /* flags that nobody knows */
    say_number(1u << 2, 4);
    say_option(NBD_OPT_GO, go, sizeof(go));
    run();
    hear_greeting();
    hear_end();

    begin(false); /* no option magic */
    say_number(NBD_FLAG_FIXED_NEWSTYLE, 4);
    say("IHAVEOPX\0\0\0\7\0\0\0\0", 16);
    run();
    hear_greeting();
    hear_end();

    begin(false); /* an option of 4 GiB */
    say_number(NBD_FLAG_FIXED_NEWSTYLE, 4);
    say_number(NBD_OPTION_MAGIC, 8);
    say_number(NBD_OPT_INFO, 4);
    say_number(0xffffffff, 4);
    run();
    hear_greeting();
    hear_end();

    begin(false); /* options without end */
    say_number(NBD_FLAG_FIXED_NEWSTYLE, 4);
    for (size_t i = 0; i < NBD_MAX_OPTIONS + 5; i++)
        say_option(99, NULL, 0);
    run();
    T_CHECK_U64(script.in_length - script.in_at, 5 * NBD_OPTION_SIZE);
}

static void test_simple_reads_and_writes(void)
{
    uint8_t payload[1024];

    memset(payload, 0xa5, sizeof(payload));
    begin(false);
    say_hello(false);
    say_request(NBD_CMD_READ, 0, 100, 8192);
    say_request(NBD_CMD_WRITE, 0, 1000, sizeof(payload));
    say(payload, sizeof(payload));
    say_request(NBD_CMD_READ, 0, 512, 4096);
    say_request(NBD_CMD_READ, 0, 0, BUFFER_SIZE * 2 + 7); /* in pieces */
    run();
    hear_hello(false);
    hear_simple(0);
    script.out_at += 8192; /* partly overwritten since */
    hear_simple(0);
    hear_simple(0);
    hear_disk(512, 4096);
    T_CHECK_U64(disk[1000], 0xa5);
    hear_simple(0);
    hear_disk(0, BUFFER_SIZE * 2 + 7);
    hear_end();
}

static void test_flush_and_fua_reach_the_export(void)
{
    static const struct {
        const char *name;
        uint32_t command, flags;
        unsigned want_flushes, want_changes;
    } rows[] = {
        {"flush", NBD_CMD_FLUSH, 0, 1, 0},
        {"zeroes", NBD_CMD_WRITE_ZEROES, 0, 0, 1},
        {"zeroes, no hole", NBD_CMD_WRITE_ZEROES, NBD_CMD_FLAG_NO_HOLE, 0, 1},
        {"zeroes, FUA", NBD_CMD_WRITE_ZEROES, NBD_CMD_FLAG_FUA, 1, 1},
        {"trim, FUA", NBD_CMD_TRIM, NBD_CMD_FLAG_FUA, 1, 1},
        {"write", NBD_CMD_WRITE, 0, 0, 1},
        {"write, FUA", NBD_CMD_WRITE, NBD_CMD_FLAG_FUA, 1, 1},
    };
    static const uint8_t payload[512];

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        t_row(rows[i].name);
        begin(false);
        say_hello(false);
        say_request(rows[i].command, rows[i].flags, 512, 512);
        if (rows[i].command == NBD_CMD_WRITE)
            say(payload, sizeof(payload));
        run();
        hear_hello(false);
        hear_simple(0);
        hear_end();
        T_CHECK_U64(nb_flushes, rows[i].want_flushes);
        T_CHECK_U64(nb_changes, rows[i].want_changes);
    }
}

static void test_bad_requests_change_nothing(void)
{
    static const struct {
        const char *name;
        uint32_t command, flags;
        uint64_t offset;
        uint32_t length, want;
        bool read_only;
    } rows[] = {
        {"read past the end", NBD_CMD_READ, 0, DISK_SIZE - 512, 513, NBD_EINVAL, false},
        {"read far outside", NBD_CMD_READ, 0, ~0ull, 512, NBD_EINVAL, false},
        {"read that wraps", NBD_CMD_READ, 0, ~511ull, 1024, NBD_EINVAL, false},
        {"read of nothing", NBD_CMD_READ, 0, 0, 0, NBD_EINVAL, false},
        {"read with DF", NBD_CMD_READ, NBD_CMD_FLAG_DF, 0, 512, NBD_EINVAL, false},
        {"read with unknown flag", NBD_CMD_READ, 1u << 9, 0, 512, NBD_EINVAL, false},
        {"write past the end", NBD_CMD_WRITE, 0, DISK_SIZE - 512, 513, NBD_ENOSPC, false},
        {"write that wraps", NBD_CMD_WRITE, 0, ~511ull, 1024, NBD_ENOSPC, false},
        {"write with unknown flag", NBD_CMD_WRITE, 1u << 9, 0, 512, NBD_EINVAL, false},
        {"trim past the end", NBD_CMD_TRIM, 0, 0, 0xffffffff, NBD_ENOSPC, false},
        {"zeroes past the end", NBD_CMD_WRITE_ZEROES, 0, DISK_SIZE, 1, NBD_ENOSPC, false},
        {"fast zeroes", NBD_CMD_WRITE_ZEROES, 1u << 4, 0, 512, NBD_EINVAL, false},
        {"block status without context", NBD_CMD_BLOCK_STATUS, 0, 0, 512, NBD_EINVAL, false},
        {"command 5", 5, 0, 0, 512, NBD_EINVAL, false},
        {"command 65535", 65535, 0, 0, 512, NBD_EINVAL, false},
        {"write to read-only", NBD_CMD_WRITE, 0, 0, 512, NBD_EPERM, true},
        {"trim of read-only", NBD_CMD_TRIM, 0, 0, 512, NBD_EPERM, true},
        {"zeroes to read-only", NBD_CMD_WRITE_ZEROES, 0, 0, 512, NBD_EPERM, true},
    };
    static const uint8_t payload[1024];

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        t_row(rows[i].name);
        begin(rows[i].read_only);
        say_hello(false);
        say_request(rows[i].command, rows[i].flags, rows[i].offset, rows[i].length);
        if (rows[i].command == NBD_CMD_WRITE)
            say(payload, rows[i].length);
        say_request(NBD_CMD_READ, 0, 0, 512); /* the session goes on */
        say_request(NBD_CMD_DISC, 0, 0, 0);
        run();
        hear_hello(false);
        hear_simple(rows[i].want);
        hear_simple(0);
        hear_disk(0, 512);
        hear_end();
        T_CHECK_U64(nb_changes, 0);
        T_CHECK_U64(script.in_at, script.in_length);
    }
}

static void test_requests_that_cannot_be_followed_end_the_session(void)
{
    begin(false); /* a payload of more than 32 MiB */
    say_hello(false);
    say_request(NBD_CMD_WRITE, 0, 0, NBD_MAX_PAYLOAD + 1);
    say_request(NBD_CMD_FLUSH, 0, 0, 0);
    run();
    hear_hello(false);
    hear_end();
    T_CHECK_U64(nb_changes, 0);

    begin(false); /* no magic */
    say_hello(false);
    say("garbage garbage garbage garb", NBD_REQUEST_SIZE);
    say_request(NBD_CMD_FLUSH, 0, 0, 0);
    run();
    hear_hello(false);
    hear_end();
    T_CHECK_U64(nb_flushes, 0);
}

static void test_too_long_read_is_refused(void)
{
    begin(false);
    export.size = 1ull << 40;
    say_hello(false);
    say_request(NBD_CMD_READ, 0, 0, NBD_MAX_PAYLOAD + 1);
    run();
    hear_hello(false);
    hear_simple(NBD_EOVERFLOW);
    hear_end();
}

static void test_errors_of_the_export_are_told(void)
{
    static const struct {
        const char *name;
        enum q2_status status;
        uint32_t command, flags, want;
    } rows[] = {
        {"full", Q2_ERR_NO_SPACE, NBD_CMD_WRITE, 0, NBD_ENOSPC},
        {"latched", Q2_ERR_READ_ONLY, NBD_CMD_WRITE, 0, NBD_EPERM},
        {"medium gone", Q2_ERR_NO_MEDIA, NBD_CMD_READ, 0, NBD_EIO},
        {"broken table", Q2_ERR_BAD_L2, NBD_CMD_READ, 0, NBD_EIO},
        {"flush fails", Q2_ERR_IO, NBD_CMD_FLUSH, 0, NBD_EIO},
        {"zeroes fail", Q2_ERR_NO_SPACE, NBD_CMD_WRITE_ZEROES, NBD_CMD_FLAG_FUA, NBD_ENOSPC},
    };
    static const uint8_t payload[512];

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        t_row(rows[i].name);
        begin(false);
        say_hello(false);
        say_request(rows[i].command, rows[i].flags, 512, 512);
        if (rows[i].command == NBD_CMD_WRITE)
            say(payload, sizeof(payload));
        next_status = rows[i].status;
        run();
        hear_hello(false);
        hear_simple(rows[i].want);
        hear_end();
        T_CHECK_U64(nb_flushes, rows[i].command == NBD_CMD_FLUSH ? 1 : 0);
    }
}

static void test_structured_read_shows_holes(void)
{
    begin(false);
    say_hello(true);
    say_request(NBD_CMD_READ, 0, 2048, 8192);
    say_request(NBD_CMD_READ, NBD_CMD_FLAG_DF, 2048, 8192);
    say_request(NBD_CMD_READ, NBD_CMD_FLAG_DF, 0, BUFFER_SIZE + 1);
    run();
    hear_hello(true);
    T_CHECK_U64(hear_chunk(0, NBD_CHUNK_OFFSET_DATA), 8 + 2048);
    T_CHECK_U64(hear(8), 2048);
    hear_disk(2048, 2048);
    T_CHECK_U64(hear_chunk(0, NBD_CHUNK_OFFSET_HOLE), 12);
    T_CHECK_U64(hear(8), 4096);
    T_CHECK_U64(hear(4), 4096);
    T_CHECK_U64(hear_chunk(0, NBD_CHUNK_OFFSET_DATA), 8 + 2048);
    T_CHECK_U64(hear(8), 8192);
    hear_disk(8192, 2048);
    T_CHECK_U64(hear_chunk(NBD_CHUNK_FLAG_DONE, NBD_CHUNK_NONE), 0);
    T_CHECK_U64(hear_chunk(0, NBD_CHUNK_OFFSET_DATA), 8 + 8192);
    T_CHECK_U64(hear(8), 2048);
    hear_disk(2048, 8192);
    T_CHECK_U64(hear_chunk(NBD_CHUNK_FLAG_DONE, NBD_CHUNK_NONE), 0);
    T_CHECK_U64(hear_chunk(NBD_CHUNK_FLAG_DONE, NBD_CHUNK_ERROR), 6);
    T_CHECK_U64(hear(4), NBD_EOVERFLOW);
    T_CHECK_U64(hear(2), 0);
    hear_end();
}

static void test_structured_read_error_comes_as_a_chunk(void)
{
    begin(false);
    say_hello(true);
    say_request(NBD_CMD_READ, 0, DISK_SIZE / 2, 512);
    next_status = Q2_ERR_IO;
    run();
    hear_hello(true);
    T_CHECK_U64(hear_chunk(NBD_CHUNK_FLAG_DONE, NBD_CHUNK_ERROR), 6);
    T_CHECK_U64(hear(4), NBD_EIO);
    T_CHECK_U64(hear(2), 0);
    hear_end();
}

static void hear_descriptor(uint32_t length, uint32_t flags)
{
    T_CHECK_U64(hear(4), length);
    T_CHECK_U64(hear(4), flags);
}

static void test_block_status_joins_neighbours(void)
{
    begin(false);
    say_hello(true);
    say_request(NBD_CMD_BLOCK_STATUS, 0, DISK_SIZE / 2 - 8192, 8192 + 65536);
    say_request(NBD_CMD_BLOCK_STATUS, NBD_CMD_FLAG_REQ_ONE, 100, 65536);
    run();
    hear_hello(true);
    T_CHECK_U64(hear_chunk(NBD_CHUNK_FLAG_DONE, NBD_CHUNK_BLOCK_STATUS), 4 + 3 * 8);
    T_CHECK_U64(hear(4), NBD_CONTEXT_ID);
    hear_descriptor(4096, 0);
    hear_descriptor(4096, NBD_STATE_HOLE | NBD_STATE_ZERO);
    hear_descriptor(65536, 0);
    T_CHECK_U64(hear_chunk(NBD_CHUNK_FLAG_DONE, NBD_CHUNK_BLOCK_STATUS), 4 + 8);
    T_CHECK_U64(hear(4), NBD_CONTEXT_ID);
    hear_descriptor(3996, 0);
    hear_end();
}

/* A client that goes away anywhere ends its session and nothing else. */
static void test_client_that_stops_after_every_byte(void)
{
    static const uint8_t payload[700] = {1};
    static uint8_t talk[4096];
    size_t length;

    begin(false);
    say_hello(true);
    say_request(NBD_CMD_READ, 0, 0, 512);
    say_request(NBD_CMD_WRITE, NBD_CMD_FLAG_FUA, 512, sizeof(payload));
    say(payload, sizeof(payload));
    say_request(NBD_CMD_BLOCK_STATUS, 0, 0, 65536);
    length = script.in_length;
    memcpy(talk, script.in, length);
    for (size_t n = 0; n < length; n++) {
        begin(false);
        say(talk, n);
        run();
        T_CHECK(script.in_at <= n);
        T_CHECK(nb_changes <= 1);
    }
}

/* ---- Waiting for a request ---- */

static struct {
    size_t received, answered; /* bytes */
} waits[8];
static size_t nb_waits;

static void note_wait(struct nbd_stream *stream)
{
    (void)stream;
    T_CHECK(nb_waits < sizeof(waits) / sizeof(waits[0]));
    waits[nb_waits].received = script.in_at;
    waits[nb_waits++].answered = script.out_length;
}

static void test_stream_is_told_before_each_request(void)
{
    static const uint8_t payload[BUFFER_SIZE + 512] = {1}; /* is received in two pieces */
    static const struct {
        size_t received, answered;
    } want[] = {
        {0, 0},
        {NBD_REQUEST_SIZE, NBD_SIMPLE_REPLY_SIZE + 512},
        {2 * NBD_REQUEST_SIZE + sizeof(payload), 2 * NBD_SIMPLE_REPLY_SIZE + 512},
        {3 * NBD_REQUEST_SIZE + sizeof(payload), 3 * NBD_SIMPLE_REPLY_SIZE + 512},
    };

    begin(false);
    script.stream.await = note_wait;
    nb_waits = 0;
    say_request(NBD_CMD_READ, 0, 0, 512);
    say_request(NBD_CMD_WRITE, 0, 0, sizeof(payload));
    say(payload, sizeof(payload));
    say_request(NBD_CMD_FLUSH, 0, 0, 0);
    nbd_serve_requests(&script.stream, &export, session_buffer, BUFFER_SIZE);
    T_CHECK_U64(nb_waits, 4);
    for (size_t i = 0; i < 4; i++) {
        T_CHECK_U64(waits[i].received, want[i].received);
        T_CHECK_U64(waits[i].answered, want[i].answered);
    }
}

int main(void)
{
    T_RUN(test_handshake_go_tells_size_and_flags);
    T_RUN(test_handshake_export_name_begins);
    T_RUN(test_handshake_options_are_answered);
    T_RUN(test_handshake_long_option_is_skipped);
    T_RUN(test_handshake_broken_client_is_left);
    T_RUN(test_simple_reads_and_writes);
    T_RUN(test_flush_and_fua_reach_the_export);
    T_RUN(test_bad_requests_change_nothing);
    T_RUN(test_requests_that_cannot_be_followed_end_the_session);
    T_RUN(test_too_long_read_is_refused);
    T_RUN(test_errors_of_the_export_are_told);
    T_RUN(test_structured_read_shows_holes);
    T_RUN(test_structured_read_error_comes_as_a_chunk);
    T_RUN(test_block_status_joins_neighbours);
    T_RUN(test_client_that_stops_after_every_byte);
    T_RUN(test_stream_is_told_before_each_request);
    return t_done();
}
