/* The hand-off record: one encoding of each content, both ways.
 *
 * Calls judge.c for what values may be, sha256.c for the checksum. Invariants: the decoder reads
 * nothing outside the bytes given, the encoder writes nothing outside the buffer; what one makes
 * the other takes.
 */
#include "q2_handoff.h"

#include "core/base/memory.h"
#include "core/base/text.h"
#include "judge.h"
#include "core/base/sha256.h"

#define MAGIC            "MCHNDOFF"
#define CHECKSUM_OFFSET  16u
#define NO_STRING        0xffffu
#define EXTENT_SIZE      16u
#define SAMPLE_DISK_SIZE (8u + Q2_HANDOFF_DIGEST_LENGTH)

/* SHA-256 of a record with zeros in place of the checksum. */
static void checksum(const uint8_t *record, size_t length, uint8_t ret_digest[Q2_SHA256_LENGTH])
{
    static const uint8_t zeros[Q2_SHA256_LENGTH];
    struct q2_sha256 hash;

    q2_sha256_init(&hash);
    q2_sha256_add(&hash, record, CHECKSUM_OFFSET);
    q2_sha256_add(&hash, zeros, sizeof(zeros));
    q2_sha256_add(&hash, record + CHECKSUM_OFFSET + Q2_SHA256_LENGTH,
                  length - CHECKSUM_OFFSET - Q2_SHA256_LENGTH);
    q2_sha256_end(&hash, ret_digest);
}

/* ---- Writing ---- */

/* Where the encoder is. After an overflow nothing is written any more. */
struct out {
    uint8_t *buffer;
    size_t size, length;
    bool overflow;
};

static void put(struct out *out, const void *bytes, size_t length)
{
    if (out->overflow || length > out->size - out->length) {
        out->overflow = true;
        return;
    }
    memcpy(out->buffer + out->length, bytes, length);
    out->length += length;
}

static void put_number(struct out *out, uint64_t value, size_t width)
{
    uint8_t bytes[8];

    for (size_t i = 0; i < width; i++)
        bytes[i] = (uint8_t)(value >> (8 * i));
    put(out, bytes, width);
}

static void put_u32(struct out *out, uint32_t value)
{
    put_number(out, value, 4);
}

static void put_u64(struct out *out, uint64_t value)
{
    put_number(out, value, 8);
}

static void put_string(struct out *out, const char *string)
{
    size_t length = string ? q2_text_length(string) : NO_STRING;

    put_number(out, length, 2);
    if (string)
        put(out, string, length + 1);
}

static void put_head(struct out *out, const struct q2_handoff *handoff)
{
    static const uint8_t no_checksum[Q2_SHA256_LENGTH];
    const struct q2_handoff_disk *disk = &handoff->disk;

    put(out, MAGIC, 8);
    put_u32(out, Q2_HANDOFF_VERSION);
    put_u32(out, 0); /* the length; set at the end */
    put(out, no_checksum, sizeof(no_checksum));
    put_u32(out, disk->scheme);
    put_u32(out, disk->mbr_signature);
    put(out, disk->partition_guid, sizeof(disk->partition_guid));
    put_u64(out, disk->start);
    put_u64(out, disk->size);
    put_u32(out, disk->sector_size);
    put_u32(out, disk->volume_id);
    put_u32(out, disk->volume_id_offset);
    put_u32(out, handoff->mode);
    put_u32(out, handoff->lane);
    put_u32(out, handoff->format);
    put_u32(out, handoff->names);
    put_u32(out, handoff->backing_format);
    put_u64(out, handoff->overlay_size);
    put_u64(out, handoff->room_mark);
    put_u32(out, handoff->nb_files);
    put_u32(out, handoff->nb_keys);
    put_u32(out, handoff->nb_backing_files);
    put_u32(out, handoff->guest_sector_size);
    put_string(out, handoff->snapshot);
    put_string(out, handoff->data_file);
    for (uint32_t i = 0; i < handoff->nb_backing_files; i++)
        put_string(out, handoff->backing_files[i]);
}

static void put_file(struct out *out, const struct q2_handoff_file *file)
{
    put_u32(out, file->role);
    put_u32(out, file->layer);
    put_u64(out, file->size);
    put_u32(out, file->nb_extents);
    put_u32(out, file->nb_samples);
    put_string(out, file->path);
    for (uint32_t i = 0; i < file->nb_extents; i++) {
        put_u64(out, file->extents[i].volume_offset);
        put_u64(out, file->extents[i].length);
    }
    for (uint32_t i = 0; i < file->nb_samples; i++) {
        put_u64(out, file->samples[i].offset);
        put(out, file->samples[i].digest, Q2_HANDOFF_DIGEST_LENGTH);
    }
}

static void put_key(struct out *out, const struct q2_handoff_key *key)
{
    put_u32(out, key->file);
    put_u32(out, key->crypt_method);
    put_u32(out, key->length);
    put(out, key->bytes, key->length);
}

static bool text_fits(const char *text)
{
    return !text || q2_text_length(text) <= Q2_MAX_PATH_LENGTH;
}

/* The head of the record was judged: the number of backing files is small enough. */
static bool texts_fit(const struct q2_handoff *handoff)
{
    bool fit = text_fits(handoff->snapshot) && text_fits(handoff->data_file);

    for (uint32_t i = 0; i < handoff->nb_backing_files; i++)
        fit = fit && text_fits(handoff->backing_files[i]);
    return fit;
}

/* Everything that encoding must refuse. */
static enum q2_status judge_all(const struct q2_handoff *handoff, const char **ret_what)
{
    enum q2_status status = q2_handoff_judge_head(handoff, Q2_ERR_ARGUMENT, ret_what);

    if (status == Q2_OK && !texts_fit(handoff)) {
        *ret_what = "a name is too long";
        status = Q2_ERR_LIMIT;
    }
    for (uint32_t i = 0; status == Q2_OK && i < handoff->nb_files; i++)
        status = q2_handoff_judge_file(handoff, i, Q2_ERR_ARGUMENT, ret_what);
    for (uint32_t i = 0; status == Q2_OK && i < handoff->nb_keys; i++)
        status = q2_handoff_judge_key(handoff, i, Q2_ERR_ARGUMENT, ret_what);
    return status;
}

enum q2_status q2_handoff_encode(const struct q2_handoff *handoff, void *buffer, size_t size,
                                 size_t *ret_length, const char **ret_what)
{
    struct out out = {.buffer = buffer, .size = size};
    struct out length_field = {.buffer = (uint8_t *)buffer + 12, .size = 4};
    enum q2_status status = judge_all(handoff, ret_what);

    if (status != Q2_OK)
        return status;
    put_head(&out, handoff);
    for (uint32_t i = 0; i < handoff->nb_files; i++)
        put_file(&out, &handoff->files[i]);
    for (uint32_t i = 0; i < handoff->nb_keys; i++)
        put_key(&out, &handoff->keys[i]);
    if (out.overflow || out.length > Q2_HANDOFF_MAX_SIZE) {
        *ret_what = "the record does not fit into its buffer";
        return Q2_ERR_LIMIT;
    }
    put_u32(&length_field, (uint32_t)out.length);
    checksum(out.buffer, out.length, out.buffer + CHECKSUM_OFFSET);
    *ret_length = out.length;
    return Q2_OK;
}

/* ---- Reading ---- */

/* Where the decoder is. After a fault every number reads as 0 and every string as absent. */
struct in {
    const uint8_t *at;
    size_t left;
    enum q2_status status;
    const char *what;
};

static void fail(struct in *in, enum q2_status status, const char *what)
{
    if (in->status == Q2_OK) {
        in->status = status;
        in->what = what;
    }
}

/* The next bytes, or NULL. */
static const uint8_t *take(struct in *in, size_t length)
{
    const uint8_t *at = in->at;

    if (length > in->left)
        fail(in, Q2_ERR_BAD_HEADER, "a part of the record reaches past its end");
    if (in->status != Q2_OK)
        return NULL;
    in->at += length;
    in->left -= length;
    return at;
}

static uint64_t take_number(struct in *in, size_t width)
{
    const uint8_t *bytes = take(in, width);
    uint64_t value = 0;

    for (size_t i = 0; bytes && i < width; i++)
        value |= (uint64_t)bytes[i] << (8 * i);
    return value;
}

static uint32_t take_u32(struct in *in)
{
    return (uint32_t)take_number(in, 4);
}

static uint64_t take_u64(struct in *in)
{
    return take_number(in, 8);
}

static const char *take_string(struct in *in)
{
    size_t length = (size_t)take_number(in, 2);
    const char *string;

    if (length == NO_STRING)
        return NULL;
    if (length > Q2_MAX_PATH_LENGTH)
        fail(in, Q2_ERR_LIMIT, "a name is too long");
    string = (const char *)take(in, length + 1);
    for (size_t i = 0; string && i <= length; i++) {
        if ((string[i] == '\0') != (i == length)) {
            fail(in, Q2_ERR_BAD_HEADER, "a name has no end where it should");
            return NULL;
        }
    }
    return string;
}

static void take_disk(struct in *in, struct q2_handoff_disk *disk)
{
    const uint8_t *guid;

    disk->scheme = take_u32(in);
    disk->mbr_signature = take_u32(in);
    guid = take(in, sizeof(disk->partition_guid));
    if (guid)
        memcpy(disk->partition_guid, guid, sizeof(disk->partition_guid));
    disk->start = take_u64(in);
    disk->size = take_u64(in);
    disk->sector_size = take_u32(in);
    disk->volume_id = take_u32(in);
    disk->volume_id_offset = take_u32(in);
}

static void take_head(struct in *in, struct q2_handoff *handoff)
{
    take_disk(in, &handoff->disk);
    handoff->mode = take_u32(in);
    handoff->lane = take_u32(in);
    handoff->format = take_u32(in);
    handoff->names = take_u32(in);
    handoff->backing_format = take_u32(in);
    handoff->overlay_size = take_u64(in);
    handoff->room_mark = take_u64(in);
    handoff->nb_files = take_u32(in);
    handoff->nb_keys = take_u32(in);
    handoff->nb_backing_files = take_u32(in);
    handoff->guest_sector_size = take_u32(in);
    handoff->snapshot = take_string(in);
    handoff->data_file = take_string(in);
    if (handoff->nb_backing_files > Q2_HANDOFF_MAX_BACKING_FILES)
        fail(in, Q2_ERR_LIMIT, "too many backing files");
    for (uint32_t i = 0; in->status == Q2_OK && i < handoff->nb_backing_files; i++)
        handoff->backing_files[i] = take_string(in);
    if (in->status == Q2_OK)
        in->status = q2_handoff_judge_head(handoff, Q2_ERR_BAD_HEADER, &in->what);
}

/* Arrays that are filled file by file. */
struct room {
    struct q2_handoff_memory memory;
    size_t nb_extents, nb_samples;
};

static void take_extents(struct in *in, struct q2_handoff_file *file, struct room *room)
{
    struct q2_file_extent *extents = room->memory.extents + room->nb_extents;
    uint64_t at = 0;

    if (file->nb_extents > room->memory.max_extents - room->nb_extents) {
        fail(in, Q2_ERR_LIMIT, "the files are in too many pieces");
        return;
    }
    for (uint32_t i = 0; in->status == Q2_OK && i < file->nb_extents; i++) {
        extents[i].file_offset = at;
        extents[i].volume_offset = take_u64(in);
        extents[i].length = take_u64(in);
        at += extents[i].length; /* wraps only in a map that is refused */
    }
    file->extents = extents;
    room->nb_extents += file->nb_extents;
}

static void take_samples(struct in *in, struct q2_handoff_file *file, struct room *room)
{
    struct q2_handoff_sample *samples = room->memory.samples + room->nb_samples;

    if (file->nb_samples > room->memory.max_samples - room->nb_samples) {
        fail(in, Q2_ERR_LIMIT, "too many samples");
        return;
    }
    for (uint32_t i = 0; in->status == Q2_OK && i < file->nb_samples; i++) {
        const uint8_t *digest;

        samples[i].offset = take_u64(in);
        digest = take(in, Q2_HANDOFF_DIGEST_LENGTH);
        if (digest)
            memcpy(samples[i].digest, digest, Q2_HANDOFF_DIGEST_LENGTH);
    }
    file->samples = samples;
    room->nb_samples += file->nb_samples;
}

static void take_file(struct in *in, struct q2_handoff *handoff, uint32_t index, struct room *room)
{
    struct q2_handoff_file *file = &handoff->files[index];

    file->role = take_u32(in);
    file->layer = take_u32(in);
    file->size = take_u64(in);
    file->nb_extents = take_u32(in);
    file->nb_samples = take_u32(in);
    file->path = take_string(in);
    if (!file->path)
        fail(in, Q2_ERR_BAD_HEADER, "a file without a path");
    take_extents(in, file, room);
    take_samples(in, file, room);
    if (in->status == Q2_OK)
        in->status = q2_handoff_judge_file(handoff, index, Q2_ERR_BAD_HEADER, &in->what);
}

static void take_key(struct in *in, struct q2_handoff *handoff, uint32_t index)
{
    struct q2_handoff_key *key = &handoff->keys[index];

    key->file = take_u32(in);
    key->crypt_method = take_u32(in);
    key->length = take_u32(in);
    key->bytes = take(in, key->length);
    if (in->status == Q2_OK)
        in->status = q2_handoff_judge_key(handoff, index, Q2_ERR_BAD_HEADER, &in->what);
}

enum q2_status q2_handoff_peek(const void *bytes, size_t *ret_length, const char **ret_what)
{
    struct in in = {.at = bytes, .left = Q2_HANDOFF_PEEK_SIZE};
    const uint8_t *magic = take(&in, 8);
    uint32_t version = take_u32(&in), length = take_u32(&in);

    if (memcmp(magic, MAGIC, 8) != 0) {
        *ret_what = "no hand-off record";
        return Q2_ERR_BAD_MAGIC;
    }
    if (version != Q2_HANDOFF_VERSION) {
        *ret_what = "a record of another version; firmware and guest need the same metalcow";
        return Q2_ERR_VERSION;
    }
    if (length < Q2_HANDOFF_HEADER_SIZE || length > Q2_HANDOFF_MAX_SIZE) {
        *ret_what = "the record's length is impossible";
        return Q2_ERR_LIMIT;
    }
    *ret_length = length;
    return Q2_OK;
}

/* Is it one whole record whose checksum is right? */
static enum q2_status check_frame(const uint8_t *bytes, size_t length, const char **ret_what)
{
    uint8_t digest[Q2_SHA256_LENGTH];
    size_t record_length;
    enum q2_status status;

    *ret_what = "the record is cut off";
    if (length < Q2_HANDOFF_PEEK_SIZE)
        return Q2_ERR_TRUNCATED;
    status = q2_handoff_peek(bytes, &record_length, ret_what);
    if (status != Q2_OK)
        return status;
    if (record_length > length)
        return Q2_ERR_TRUNCATED;
    *ret_what = "there are bytes after the record";
    if (record_length < length)
        return Q2_ERR_BAD_HEADER;
    checksum(bytes, length, digest);
    *ret_what = "the record's checksum is wrong";
    return memcmp(digest, bytes + CHECKSUM_OFFSET, sizeof(digest)) == 0 ? Q2_OK : Q2_ERR_BAD_HEADER;
}

enum q2_status q2_handoff_decode(const void *bytes, size_t length,
                                 const struct q2_handoff_memory *memory,
                                 struct q2_handoff *ret_handoff, const char **ret_what)
{
    enum q2_status status = check_frame(bytes, length, ret_what);
    struct in in = {.at = bytes, .left = length};
    struct room room = {.memory = *memory};

    if (status != Q2_OK)
        return status;
    memset(ret_handoff, 0, sizeof(*ret_handoff));
    (void)take(&in, CHECKSUM_OFFSET + Q2_SHA256_LENGTH);
    take_head(&in, ret_handoff);
    for (uint32_t i = 0; in.status == Q2_OK && i < ret_handoff->nb_files; i++)
        take_file(&in, ret_handoff, i, &room);
    for (uint32_t i = 0; in.status == Q2_OK && i < ret_handoff->nb_keys; i++)
        take_key(&in, ret_handoff, i);
    if (in.left > 0)
        fail(&in, Q2_ERR_BAD_HEADER, "there are bytes after the last part of the record");
    *ret_what = in.what;
    return in.status;
}

void q2_handoff_wipe_keys(void *bytes, const struct q2_handoff *handoff)
{
    for (uint32_t i = 0; i < handoff->nb_keys; i++) {
        const struct q2_handoff_key *key = &handoff->keys[i];
        volatile uint8_t *to = (uint8_t *)bytes + (key->bytes - (const uint8_t *)bytes);

        for (uint32_t n = 0; n < key->length; n++)
            to[n] = 0;
    }
}
