/* Scripts of operations on a disk, and what the guest must then read. */
#include "script.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SECTOR 512u

/* clang-format off */
#define W(...) {OP_WRITE, __VA_ARGS__}
#define Z(...) {OP_ZERO, __VA_ARGS__}
#define D(...) {OP_DISCARD, __VA_ARGS__}
#define C(...) {OP_COMPRESS, __VA_ARGS__}
#define S(n)   {OP_CREATE, n, 0, 0, 0, 0, 0}
#define A(n)   {OP_APPLY, n, 0, 0, 0, 0, 0}
#define X(n)   {OP_DELETE, n, 0, 0, 0, 0, 0}
#define F      {OP_FLUSH, 0, 0, 0, 0, 0, 0}
#define END    {OP_END, 0, 0, 0, 0, 0, 0}

/* Into nothing: partly, whole, over the end of an L2 table, into one that does not exist. */
static const struct op allocate[] = {
    W(8, 1, 0, 0, 0, 700), W(9, 0, 0, 2, 0, 0), F,
    W(9, 1, 5, 0, 2, 0), W(10, 3, 0, 2, 1, 0), F,
    W(BORDER - 3, 2, 0, 5, 0, 0), F,
    W(BORDER + 4, 0, 0, 0, 2, 0), W(16, 0, 0, 8, 0, 0), F, END};

/* Over what is there. */
static const struct op overwrite[] = {
    W(0, 1, 1, 0, 0, 600), W(1, 2, 0, 3, 0, 0), F,
    W(0, 0, 0, 8, 0, 0), F,
    W(7, 0, 0, 2, 0, 100), W(BORDER - 2, 1, 0, 0, 2, 0), F,
    W(2, 0, 0, 0, 1, 0), W(2, 1, 0, 0, 1, 0), W(3, 0, 3, 0, 0, 9), F, END};

/* Clusters given back, and taken again while the freeing waits and after it is done. */
static const struct op discard[] = {
    D(0, 0, 0, 4, 0, 0), W(1, 0, 300, 0, 1, 0), W(16, 0, 0, 3, 0, 0), F,
    D(1, 0, 0, 2, 0, 0), F,
    W(2, 1, 0, 3, 0, 0), D(4, 0, 0, 2, 0, 0), W(5, 2, 0, 0, 1, 0), F,
    D(BORDER - 2, 0, 0, 4, 0, 0), F, W(BORDER - 1, 3, 0, 1, 2, 0), F,
    D(0, 0, 0, 24, 0, 0), F, END};

static const struct op zeroes[] = {
    Z(0, 2, 0, 3, 1, 0), W(1, 1, 0, 0, 2, 0), F,
    Z(12, 0, 0, 3, 0, 0), W(13, 1, 0, 0, 1, 0), F,
    Z(BORDER - 2, 0, 0, 4, 0, 0), F, W(BORDER - 1, 1, 100, 1, 0, 0), F,
    Z(4, 1, 0, 0, 1, 0), D(5, 0, 0, 1, 0, 0), W(5, 1, 0, 0, 0, 512), F,
    Z(BORDER + 4, 0, 0, 1, 0, 0), W(BORDER + 4, 0, 0, 0, 1, 0), F, END};

/* New clusters in one run over the border between two slices or two L2 tables. */
static const struct op border[] = {
    D(BORDER - 2, 0, 0, 4, 0, 0), Z(BORDER - 2, 0, 0, 4, 0, 0), F,
    W(BORDER - 2, 1, 0, 3, 1, 0), F,
    D(BORDER - 2, 0, 0, 4, 0, 0), W(BORDER - 3, 3, 0, 1, 0, 0), Z(BORDER - 1, 0, 0, 3, 0, 0),
    W(BORDER - 1, 2, 0, 2, 0, 0), F, END};

/* Much at once between two flushes. */
static const struct op burst[] = {
    W(0, 3, 0, 0, 2, 0), W(8, 0, 0, 0, 1, 0), W(16, 1, 0, 0, 1, 0), D(2, 0, 0, 1, 0, 0),
    W(18, 2, 0, 0, 0, 512), Z(6, 0, 0, 1, 0, 0), W(6, 2, 0, 0, 1, 0),
    W(BORDER + 1, 1, 0, 0, 1, 0), F,
    D(0, 0, 0, 12, 0, 0), W(0, 0, 0, 12, 0, 0), F, END};

/* Streams that share host clusters: with others, with ones that go away, over everything. */
static const struct op compress[] = {
    C(22, 0, 0, 1, 0, 0), F, D(22, 0, 0, 1, 0, 0), F, W(20, 0, 0, 2, 0, 0), C(22, 0, 0, 2, 0, 0), F,
    C(8, 0, 0, 3, 0, 0), F, C(11, 0, 0, 2, 0, 0), C(0, 0, 0, 3, 0, 0), F,
    D(8, 0, 0, 2, 0, 0), C(8, 0, 0, 1, 0, 0), W(10, 1, 7, 0, 1, 0), F,
    C(BORDER - 3, 0, 0, 6, 0, 0), D(BORDER - 3, 0, 0, 6, 0, 0), F,
    C(BORDER - 1, 0, 0, 2, 0, 0), C(BORDER - 1, 0, 0, 2, 0, 0), C(16, 0, 0, 6, 0, 0), F,
    Z(16, 2, 0, 3, 0, 0), C(BORDER + 4, 0, 0, 2, 0, 0), F, END};

/* Two snapshots, with writes between that wait and that are durable; one applied, both deleted. */
static const struct op snapshots[] = {
    W(8, 1, 0, 0, 2, 0), S(1), W(0, 1, 0, 1, 0, 0), D(BORDER - 2, 0, 0, 2, 0, 0),
    S(2), W(2, 0, 0, 1, 0, 0), A(1), W(BORDER - 1, 2, 0, 1, 0, 0), F,
    X(2), W(1, 0, 0, 0, 1, 0), X(1), W(0, 2, 0, 0, 2, 0), F, END};
/* clang-format on */

const struct script scripts[] = {
    {"allocate", allocate}, {"overwrite", overwrite}, {"discard", discard},
    {"zeroes", zeroes},     {"border", border},       {"burst", burst},
    {"compress", compress}, {"random", NULL},         {"snapshots", snapshots},
};
const uint32_t nb_scripts = sizeof(scripts) / sizeof(scripts[0]);

/* --- operations ------------------------------------------------------------------------------ */

bool script_fits(const struct script *script, const struct geometry *geometry)
{
    for (const struct op *op = script->ops; op && op->kind != OP_END; op++) {
        if (op->kind == OP_COMPRESS && geometry->data != DATA_INSIDE)
            return false;
        if (op->kind == OP_CREATE && !geometry_has_snapshots(geometry))
            return false;
    }
    return true;
}

static uint64_t place(const struct subject *s, int32_t cluster, int32_t quarter, int32_t bytes)
{
    uint64_t start = cluster >= BORDER - 3 ? s->border : 0;
    int64_t within = cluster >= BORDER - 3 ? cluster - BORDER : cluster;

    return start + (uint64_t)(within * (int64_t)s->cluster_size) +
           (uint64_t)quarter * s->cluster_size / 4 + (uint64_t)bytes;
}

/* Cut an operation to the zone that it begins in. */
static void cut(const struct subject *s, struct guest_op *op)
{
    uint32_t zone = op->offset >= s->zone_start[1] ? 1 : 0;
    uint64_t end = s->zone_start[zone] + s->zone_length[zone];

    if (op->length > end - op->offset)
        op->length = end - op->offset;
}

struct guest_op script_random(const struct subject *s, uint64_t *seed)
{
    static const enum op_kind kinds[] = {OP_WRITE, OP_WRITE,   OP_WRITE, OP_WRITE,   OP_WRITE,
                                         OP_ZERO,  OP_DISCARD, OP_ZERO,  OP_DISCARD, OP_COMPRESS};
    uint32_t nb_kinds = s->geometry->data == DATA_INSIDE ? 10 : 9;
    struct guest_op op = {.kind = kinds[crash_random(seed) % nb_kinds]};
    uint32_t zone = crash_random(seed) % 3 == 0;
    uint64_t units[] = {1, SECTOR, s->cluster_size / 4, s->cluster_size};
    uint64_t unit = units[crash_random(seed) % 4];
    uint64_t most = crash_random(seed) % 8 == 0 ? 12 : 3;

    if (op.kind == OP_COMPRESS)
        unit = s->cluster_size;
    op.offset = s->zone_start[zone] + crash_random(seed) % s->zone_length[zone] / unit * unit;
    op.length = 1 + crash_random(seed) % (most * s->cluster_size);
    if (unit > 1)
        op.length = (op.length + unit - 1) / unit * unit;
    op.seed = crash_random(seed);
    cut(s, &op);
    return op;
}

uint32_t script_expand(const struct script *script, const struct subject *subject, uint64_t seed,
                       uint32_t nb_random, struct guest_op *ret_ops)
{
    uint32_t nb = 0;

    for (; script->ops && script->ops[nb].kind != OP_END; nb++) {
        const struct op *op = &script->ops[nb];
        ret_ops[nb] = (struct guest_op){
            .kind = op->kind,
            .offset = place(subject, op->cluster, op->quarter, op->bytes),
            .length = place(subject, op->nb_clusters, op->nb_quarters, op->nb_bytes),
            .seed = seed + nb,
        };
        if (op->kind >= OP_CREATE)
            ret_ops[nb] = (struct guest_op){.kind = op->kind, .snapshot = (uint32_t)op->cluster};
        cut(subject, &ret_ops[nb]);
    }
    for (; !script->ops && nb < nb_random; nb++) {
        if (crash_random(&seed) % 5 == 0)
            ret_ops[nb] = (struct guest_op){.kind = OP_FLUSH};
        else
            ret_ops[nb] = script_random(subject, &seed);
    }
    if (!script->ops)
        ret_ops[nb - 1] = (struct guest_op){.kind = OP_FLUSH};
    return nb;
}

/* Bytes that are never zero and depend on operation and place. */
static void pattern(uint64_t seed, uint8_t *bytes, uint64_t length)
{
    for (uint64_t i = 0; i < length; i += 8) {
        uint64_t word = crash_random(&seed) | 0x0101010101010101ull;
        memcpy(bytes + i, &word, length - i < 8 ? length - i : 8);
    }
}

/* A cluster of noise, up to a quarter, and one byte again and again. */
static size_t compressible(uint64_t seed, uint8_t *bytes, uint64_t size)
{
    size_t noise = 1 + (size_t)(seed * 2654435761u % (size / 4));

    pattern(seed, bytes, noise);
    memset(bytes + noise, (int)(1 + seed % 100), size - noise);
    return noise;
}

struct bits {
    uint8_t *bytes;
    size_t nb;
};

/* Huffman codes begin with their highest bit, everything else with its lowest. */
static void put_code(struct bits *to, uint32_t code, uint32_t nb)
{
    for (; nb-- > 0; to->nb++)
        to->bytes[to->nb / 8] |= (uint8_t)((code >> nb & 1) << to->nb % 8);
}

/* The same cluster as a raw deflate stream: the noise stored, the rest as matches of length 258 at
 * distance 1 with the fixed codes. Returns its length, less than size. */
static size_t deflate(uint64_t seed, uint8_t *scratch, uint64_t size, uint8_t *stream)
{
    size_t noise = compressible(seed, scratch, size), left = size - noise - 1;
    struct bits to = {.bytes = stream, .nb = (5 + noise) * 8};
    uint8_t head[5] = {0, (uint8_t)noise, (uint8_t)(noise >> 8), (uint8_t)~noise,
                       (uint8_t)(~noise >> 8)};
    uint32_t literal = 0x30u + scratch[size - 1];

    memset(stream, 0, size);
    memcpy(stream, head, sizeof(head));
    memcpy(stream + sizeof(head), scratch, noise);
    put_code(&to, 6, 3); /* the last block, fixed codes */
    put_code(&to, literal, 8);
    for (; left >= 258; left -= 258)
        put_code(&to, 0xc5u << 5, 13);
    for (; left > 0; left--)
        put_code(&to, literal, 8);
    put_code(&to, 0, 7);
    return (to.nb + 7) / 8;
}

static enum q2_status run_compress(const struct guest_op *op, struct q2_disk *disk, uint8_t *buffer)
{
    struct q2_layer_info info;
    uint64_t size;
    enum q2_status status = Q2_OK;

    q2_disk_layer_info(disk, 0, &info);
    size = 1ull << info.header->cluster_bits;
    for (uint64_t done = 0; done < op->length && status == Q2_OK; done += size) {
        size_t length = deflate(op->seed + done / size, buffer, size, buffer + size);
        status = q2_disk_write_compressed(disk, op->offset + done, buffer + size, length);
    }
    return status;
}

const char *snapshot_name(uint32_t number)
{
    static char name[16];

    (void)snprintf(name, sizeof(name), "s%u", number);
    return name;
}

enum q2_status op_run(const struct guest_op *op, struct q2_disk *disk, uint8_t *buffer)
{
    switch (op->kind) {
    case OP_WRITE:
        pattern(op->seed, buffer, op->length);
        return q2_disk_write(disk, op->offset, buffer, op->length);
    case OP_ZERO:
        return q2_disk_write_zeroes(disk, op->offset, op->length);
    case OP_DISCARD:
        return q2_disk_discard(disk, op->offset, op->length);
    case OP_COMPRESS:
        return run_compress(op, disk, buffer);
    case OP_CREATE:
        return q2_disk_snapshot_create(disk, snapshot_name(op->snapshot), 1, 2);
    case OP_APPLY:
        return q2_disk_snapshot_apply(disk, snapshot_name(op->snapshot));
    case OP_DELETE:
        return q2_disk_snapshot_delete(disk, snapshot_name(op->snapshot));
    case OP_FLUSH:
    case OP_END:
    default:
        return q2_disk_flush(disk);
    }
}

/* The guest bytes that change: a discard takes whole clusters only, and nothing where it could not
 * read as zeros. */
static void changed(const struct guest_op *op, const struct subject *s, uint64_t *ret_offset,
                    uint64_t *ret_length)
{
    uint64_t end = op->offset + op->length, start = op->offset;

    *ret_offset = op->offset;
    *ret_length = 0;
    if (op->kind == OP_FLUSH || op->kind == OP_CREATE || op->kind == OP_DELETE)
        return;
    if (op->kind == OP_DISCARD) {
        if (s->geometry->version_2 && s->base)
            return;
        start = (start + s->cluster_size - 1) / s->cluster_size * s->cluster_size;
        if (end != s->disk_size)
            end = end / s->cluster_size * s->cluster_size;
        if (start >= end)
            return;
    }
    *ret_offset = start;
    *ret_length = end - start;
}

uint64_t model_offset(const struct subject *s, uint64_t guest_offset)
{
    if (guest_offset >= s->zone_start[1])
        return s->zone_length[0] + (guest_offset - s->zone_start[1]);
    return guest_offset;
}

static void apply_compress(const struct guest_op *op, const struct subject *s, uint8_t *model)
{
    uint8_t *cluster = crash_memory(NULL, s->cluster_size);

    for (uint64_t done = 0; done < op->length; done += s->cluster_size) {
        uint64_t left = op->length - done;
        (void)compressible(op->seed + done / s->cluster_size, cluster, s->cluster_size);
        memcpy(model + done, cluster, left < s->cluster_size ? left : s->cluster_size);
    }
    free(cluster);
}

void op_apply(const struct guest_op *op, const struct subject *s, uint8_t *model)
{
    uint64_t offset, length;

    changed(op, s, &offset, &length);
    if (length == 0)
        return;
    if (op->kind == OP_WRITE)
        pattern(op->seed, model + model_offset(s, offset), length);
    else if (op->kind == OP_COMPRESS)
        apply_compress(op, s, model + model_offset(s, offset));
    else
        memset(model + model_offset(s, offset), 0, length);
}

void op_range(const struct guest_op *op, const struct subject *s, uint64_t *ret_start,
              uint64_t *ret_length)
{
    uint64_t offset, length, start, end;

    if (op->kind == OP_APPLY) {
        *ret_start = 0;
        *ret_length = s->model_size;
        return;
    }
    changed(op, s, &offset, &length);
    start = model_offset(s, offset) / SECTOR * SECTOR;
    end = (model_offset(s, offset) + length + SECTOR - 1) / SECTOR * SECTOR;
    *ret_start = start;
    *ret_length = length > 0 ? end - start : 0;
}

const char *op_text(const struct guest_op *op)
{
    static const char *const names[] = {"end",   "write",  "zero",  "discard", "compress",
                                        "flush", "create", "apply", "delete"};
    static char text[96];

    if (op->kind >= OP_CREATE)
        (void)snprintf(text, sizeof(text), "%s %s", names[op->kind], snapshot_name(op->snapshot));
    else
        (void)snprintf(text, sizeof(text), "%s 0x%" PRIx64 " 0x%" PRIx64, names[op->kind],
                       op->offset, op->length);
    return text;
}

/* --- the model --------------------------------------------------------------------------------*/

enum q2_status model_read(const struct subject *s, struct q2_disk *disk, uint8_t *bytes)
{
    enum q2_status status = q2_disk_read(disk, s->zone_start[0], bytes, s->zone_length[0]);

    if (status == Q2_OK)
        status = q2_disk_read(disk, s->zone_start[1], bytes + s->zone_length[0], s->zone_length[1]);
    return status;
}

void model_start(struct model *model, const struct subject *subject)
{
    memset(model, 0, sizeof(*model));
    model->subject = subject;
    model_restart(model);
}

void model_free(struct model *model)
{
    for (uint32_t i = 0; i < model->nb_buffers; i++)
        crash_buffer_give(model->versions[i], model->subject->model_size);
    model->nb_buffers = 0;
    model->nb_versions = 0;
}

static uint8_t *next_version(struct model *model)
{
    if (model->nb_versions == MODEL_MAX_VERSIONS) {
        printf("# too many versions\n");
        abort();
    }
    if (model->nb_versions == model->nb_buffers)
        model->versions[model->nb_buffers++] = crash_buffer_take(model->subject->model_size);
    return model->versions[model->nb_versions++];
}

void model_restart(struct model *model)
{
    model->nb_versions = 0;
    memset(model->snapshots, 0, sizeof(model->snapshots));
    memcpy(next_version(model), model->subject->initial, model->subject->model_size);
}

uint8_t *model_newest(const struct model *model)
{
    return model->versions[model->nb_versions - 1];
}

uint8_t *model_add(struct model *model)
{
    const uint8_t *newest = model_newest(model);
    uint8_t *bytes = next_version(model);

    memcpy(bytes, newest, model->subject->model_size);
    return bytes;
}

void model_do(struct model *model, const struct guest_op *op)
{
    uint8_t *bytes = model_add(model);

    if (op->kind == OP_CREATE)
        model->snapshots[op->snapshot].version = model->nb_versions - 1;
    else if (op->kind == OP_APPLY)
        memcpy(bytes, model->versions[model->snapshots[op->snapshot].version],
               model->subject->model_size);
    else
        op_apply(op, model->subject, bytes);
}

void model_snapshots_at(struct model *model, const struct guest_op *ops, uint32_t nb_ops,
                        const bool *failed, uint32_t at)
{
    for (uint32_t i = 0; i < nb_ops; i++) {
        struct model_snapshot *snapshot = &model->snapshots[ops[i].snapshot];
        bool sure = i < at && !(failed && failed[i]);

        if (ops[i].kind == OP_CREATE && i <= at)
            snapshot->presence = sure ? SNAPSHOT_PRESENT : SNAPSHOT_MAYBE;
        else if (ops[i].kind == OP_CREATE)
            snapshot->presence = SNAPSHOT_UNKNOWN;
        else if (ops[i].kind == OP_DELETE && i <= at)
            snapshot->presence = sure ? SNAPSHOT_ABSENT : SNAPSHOT_MAYBE;
    }
}

static bool sector_is_one_of(const struct model *model, uint32_t from, uint32_t to,
                             const uint8_t *bytes, uint64_t at)
{
    for (uint32_t i = to + 1; i-- > from;) {
        if (memcmp(bytes + at, model->versions[i] + at, SECTOR) == 0)
            return true;
    }
    return false;
}

uint64_t model_compare(const struct model *model, uint32_t from, uint32_t to, const uint8_t *bytes)
{
    for (uint64_t at = 0; at < model->subject->model_size; at += SECTOR) {
        if (!sector_is_one_of(model, from, to, bytes, at))
            return at;
    }
    return MODEL_SAME;
}
