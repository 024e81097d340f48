/* Builds small qcow2 images in memory. */
#include "image_builder.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/format/extension.h"
#include "core/format/header.h"
#include "core/format/l2_entry.h"
#include "core/format/snapshot_entry.h"
#include "fake_codec.h"
#include "core/base/range.h"

#define CHECK(expr)                                                                                \
    do {                                                                                           \
        if (!(expr)) {                                                                             \
            printf("# %s:%d: image builder: %s\n", __FILE__, __LINE__, #expr);                     \
            abort();                                                                               \
        }                                                                                          \
    } while (0)

/* ---- numbers on disk ---- */

static void put_number(uint8_t *to, uint64_t value, size_t width)
{
    for (size_t i = 0; i < width; i++)
        to[i] = (uint8_t)(value >> (8 * (width - 1 - i)));
}

static uint64_t get_number(const uint8_t *from, size_t width)
{
    uint64_t value = 0;

    for (size_t i = 0; i < width; i++)
        value = value << 8 | from[i];
    return value;
}

void image_put(struct image *image, uint64_t offset, const void *bytes, size_t length)
{
    CHECK(q2_range_fits(offset, length, image->size));
    memcpy(image->bytes + offset, bytes, length);
}

void image_put64(struct image *image, uint64_t offset, uint64_t value)
{
    uint8_t bytes[8];

    put_number(bytes, value, 8);
    image_put(image, offset, bytes, 8);
}

void image_put32(struct image *image, uint64_t offset, uint32_t value)
{
    uint8_t bytes[4];

    put_number(bytes, value, 4);
    image_put(image, offset, bytes, 4);
}

uint64_t image_get64(const struct image *image, uint64_t offset)
{
    CHECK(offset <= image->size && 8 <= image->size - offset);
    return get_number(image->bytes + offset, 8);
}

/* ---- the header ---- */

struct field {
    const char *name;
    size_t offset, width;
};

#define FIELD(name)                                                                                \
    {                                                                                              \
#name, offsetof(struct q2_header_disk, name),                                              \
            sizeof(((struct q2_header_disk *)NULL)->name)                                          \
    }

static const struct field fields[] = {
    FIELD(magic),
    FIELD(version),
    FIELD(backing_file_offset),
    FIELD(backing_file_size),
    FIELD(cluster_bits),
    FIELD(size),
    FIELD(crypt_method),
    FIELD(l1_size),
    FIELD(l1_table_offset),
    FIELD(refcount_table_offset),
    FIELD(refcount_table_clusters),
    FIELD(nb_snapshots),
    FIELD(snapshots_offset),
    FIELD(incompatible_features),
    FIELD(compatible_features),
    FIELD(autoclear_features),
    FIELD(refcount_order),
    FIELD(header_length),
    FIELD(compression_type),
};

static const struct field *field_find(const char *name)
{
    for (size_t i = 0; i < sizeof(fields) / sizeof(fields[0]); i++) {
        if (strcmp(fields[i].name, name) == 0)
            return &fields[i];
    }
    CHECK(!"a field of the header");
    return NULL;
}

void image_field_set(struct image *image, const char *field, uint64_t value)
{
    const struct field *f = field_find(field);

    put_number(image->bytes + f->offset, value, f->width);
}

uint64_t image_field(const struct image *image, const char *field)
{
    const struct field *f = field_find(field);

    return get_number(image->bytes + f->offset, f->width);
}

/* ---- clusters and refcounts ---- */

uint64_t image_cluster_size(const struct image *image)
{
    return 1ull << image->spec.cluster_bits;
}

/* Byte of a refcount, and where in it the refcount begins if it is less than a byte. */
static uint8_t *refcount_at(const struct image *image, uint64_t index, uint32_t *ret_shift)
{
    uint32_t bits = image->spec.refcount_bits;
    uint64_t per_block = image_cluster_size(image) * 8 / bits;
    uint64_t block =
        image_get64(image, image_field(image, "refcount_table_offset") + index / per_block * 8);

    CHECK(block != 0);
    *ret_shift = (uint32_t)(index % per_block * bits % 8);
    return image->bytes + block + index % per_block * bits / 8;
}

void image_refcount_set(struct image *image, uint64_t cluster_index, uint64_t refcount)
{
    uint32_t bits = image->spec.refcount_bits, shift;
    uint8_t *at = refcount_at(image, cluster_index, &shift);

    if (bits >= 8) {
        put_number(at, refcount, bits / 8);
        return;
    }
    *at = (uint8_t)((*at & ~(((1u << bits) - 1) << shift)) | refcount << shift);
}

uint64_t image_refcount(const struct image *image, uint64_t cluster_index)
{
    uint32_t bits = image->spec.refcount_bits, shift;
    const uint8_t *at = refcount_at(image, cluster_index, &shift);

    return bits >= 8 ? get_number(at, bits / 8) : (uint64_t)(*at >> shift & ((1u << bits) - 1));
}

/* Clusters at the file's end, without refcounts. */
static uint64_t grow(struct image *image, uint32_t nb)
{
    uint64_t offset = image->size, length = (uint64_t)nb << image->spec.cluster_bits;

    if (offset + length > image->capacity) {
        image->capacity = 2 * (offset + length);
        image->bytes = realloc(image->bytes, image->capacity);
        CHECK(image->bytes);
    }
    memset(image->bytes + offset, 0, length);
    image->size += length;
    return offset;
}

uint64_t image_alloc(struct image *image, uint32_t nb)
{
    uint64_t offset = grow(image, nb);

    for (uint64_t i = offset >> image->spec.cluster_bits;
         i < image->size >> image->spec.cluster_bits; i++)
        image_refcount_set(image, i, 1);
    return offset;
}

/* ---- models ---- */

static void model_init(struct image_model *model, uint64_t size)
{
    *model = (struct image_model){.bytes = NULL};
    if (size > IMAGE_MAX_MODEL)
        return;
    model->bytes = calloc(size + 1, 1);
    model->held = calloc(size / 512 + 1, sizeof(bool));
    CHECK(model->bytes && model->held);
}

static void model_free(struct image_model *model)
{
    free(model->bytes);
    free(model->held);
}

uint8_t image_byte(uint32_t seed, uint64_t guest_offset)
{
    uint64_t n = (guest_offset >> 9) * 37 + guest_offset * 11 + seed * 101ull;

    return (uint8_t)(n ^ n >> 8) | 1;
}

/* One range gets one content: byte(seed), or zeros. */
static void model_set(struct image *image, uint64_t offset, uint64_t length, bool zero,
                      uint32_t seed)
{
    struct image_model *model = &image->model;

    for (uint64_t at = offset; model->bytes && at < offset + length && at < image->spec.size;
         at++) {
        model->bytes[at] = zero ? 0 : image_byte(seed, at);
        model->held[at / 512] = true;
    }
}

/* The range is not in this layer any more. */
static void model_forget(struct image *image, uint64_t offset, uint64_t length)
{
    model_set(image, offset, length, true, 0);
    for (uint64_t at = offset; image->model.held && at < offset + length && at < image->spec.size;
         at += 512)
        image->model.held[at / 512] = false;
}

void image_model_over(struct image *top, const uint8_t *base, uint64_t base_size)
{
    for (uint64_t at = 0; at < top->spec.size; at++) {
        if (!top->model.held[at / 512])
            top->model.bytes[at] = at < base_size ? base[at] : 0;
    }
}

/* ---- the empty image ---- */

static void fill_defaults(struct image_spec *spec)
{
    uint32_t entry_bits = spec->extended ? 4 : 3;
    uint64_t reach;

    if (spec->version == 0)
        spec->version = 3;
    if (spec->cluster_bits == 0)
        spec->cluster_bits = 16;
    if (spec->header_length == 0)
        spec->header_length = spec->version == 2 ? 72 : 112;
    if (spec->refcount_bits == 0)
        spec->refcount_bits = 16;
    if (spec->max_clusters == 0)
        spec->max_clusters = 256;
    reach = 1ull << (2 * spec->cluster_bits - entry_bits);
    if (spec->l1_size == 0)
        spec->l1_size = (uint32_t)((spec->size + reach - 1) / reach);
}

static void write_header(struct image *image)
{
    const struct image_spec *spec = &image->spec;
    uint32_t order = 0;

    while (1u << order < spec->refcount_bits)
        order++;
    image_field_set(image, "magic", Q2_MAGIC);
    image_field_set(image, "version", spec->version);
    image_field_set(image, "cluster_bits", spec->cluster_bits);
    image_field_set(image, "size", spec->size);
    image_field_set(image, "l1_size", spec->l1_size);
    if (spec->version == 2)
        return;
    image_field_set(image, "incompatible_features",
                    (spec->external ? Q2_INCOMPAT_DATA_FILE : 0) |
                        (spec->extended ? Q2_INCOMPAT_EXTENDED_L2 : 0) |
                        (spec->compression_type ? Q2_INCOMPAT_COMPRESSION : 0));
    image_field_set(image, "refcount_order", order);
    image_field_set(image, "header_length", spec->header_length);
    if (spec->header_length > 104)
        image_field_set(image, "compression_type", spec->compression_type);
}

static uint32_t l1_clusters(const struct image *image)
{
    uint64_t length = image->spec.l1_size * 8ull;
    uint64_t clusters = (length + image_cluster_size(image) - 1) >> image->spec.cluster_bits;

    return clusters ? (uint32_t)clusters : 1;
}

void image_start(struct image *image, const struct image_spec *spec)
{
    uint64_t per_block, table, first, used;
    uint32_t nb_blocks;

    *image = (struct image){.spec = *spec};
    fill_defaults(&image->spec);
    (void)grow(image, 1);
    write_header(image);
    image->extensions_end = image->spec.header_length;
    /* The refcounts come first, so that the others have them. */
    per_block = image_cluster_size(image) * 8 / image->spec.refcount_bits;
    nb_blocks = (uint32_t)((image->spec.max_clusters + per_block - 1) / per_block);
    CHECK(nb_blocks * 8ull <= image_cluster_size(image));
    table = grow(image, 1);
    first = grow(image, nb_blocks);
    image_field_set(image, "refcount_table_offset", table);
    image_field_set(image, "refcount_table_clusters", 1);
    for (uint32_t i = 0; i < nb_blocks; i++)
        image_put64(image, table + i * 8ull, first + ((uint64_t)i << image->spec.cluster_bits));
    used = image->size >> image->spec.cluster_bits;
    for (uint64_t i = 0; i < used; i++)
        image_refcount_set(image, i, 1);
    image_field_set(image, "l1_table_offset", image_alloc(image, l1_clusters(image)));
    model_init(&image->model, image->spec.size);
    if (image->spec.external) {
        image->data_size =
            (image->spec.size + image_cluster_size(image) - 1) & ~(image_cluster_size(image) - 1);
        image->data = calloc(image->data_size + 1, 1);
        CHECK(image->data);
    }
}

void image_free(struct image *image)
{
    free(image->bytes);
    free(image->data);
    model_free(&image->model);
    for (uint32_t i = 0; i < image->nb_snapshots; i++)
        model_free(&image->snapshot_models[i]);
}

/* ---- extensions and names ---- */

uint64_t image_extension(struct image *image, uint32_t type, const void *bytes, uint32_t length)
{
    uint64_t at = image->extensions_end;

    CHECK(at + 8 + length <= image_cluster_size(image));
    image_put32(image, at, type);
    image_put32(image, at + 4, length);
    if (length > 0)
        image_put(image, at + 8, bytes, length);
    image->extensions_end += 8 + ((length + 7ull) & ~7ull);
    return at;
}

void image_backing(struct image *image, const char *name, const char *format)
{
    size_t length = strlen(name);
    uint64_t at = (image_cluster_size(image) - length) & ~7ull;

    if (format)
        (void)image_extension(image, Q2_EXTENSION_BACKING_FORMAT, format, (uint32_t)strlen(format));
    CHECK(length <= image_cluster_size(image) && at >= image->extensions_end);
    image_put(image, at, name, length);
    image_field_set(image, "backing_file_offset", at);
    image_field_set(image, "backing_file_size", length);
}

void image_data_name(struct image *image, const char *name)
{
    (void)image_extension(image, Q2_EXTENSION_DATA_FILE, name, (uint32_t)strlen(name));
}

/* ---- mapping ---- */

static uint32_t entry_bits(const struct image *image)
{
    return image->spec.extended ? 4 : 3;
}

uint64_t image_l1_entry(const struct image *image, uint64_t guest_offset)
{
    uint64_t index = guest_offset >> (2 * image->spec.cluster_bits - entry_bits(image));

    CHECK(index < image->spec.l1_size);
    return image_field(image, "l1_table_offset") + index * 8;
}

uint64_t image_l2_entry(struct image *image, uint64_t guest_offset)
{
    uint64_t l1_entry = image_l1_entry(image, guest_offset);
    uint64_t nb_entries = image_cluster_size(image) >> entry_bits(image);
    uint64_t table = image_get64(image, l1_entry) & Q2_ENTRY_OFFSET;

    if (table == 0) {
        table = image_alloc(image, 1);
        image_put64(image, l1_entry, table | Q2_ENTRY_COPIED);
    }
    return table + ((guest_offset >> image->spec.cluster_bits) % nb_entries << entry_bits(image));
}

/* A host cluster for a guest cluster: a new one, or its own place in the data file. */
static uint64_t host_cluster(struct image *image, uint64_t cluster_start)
{
    return image->spec.external ? cluster_start : image_alloc(image, 1);
}

static void write_pattern(struct image *image, uint64_t host, uint64_t guest, uint64_t length,
                          uint32_t seed)
{
    uint8_t *to = image->spec.external ? image->data : image->bytes;

    for (uint64_t i = 0; i < length; i++)
        to[host + i] = image_byte(seed, guest + i);
}

uint64_t image_data(struct image *image, uint64_t guest_offset, uint32_t seed)
{
    uint64_t size = image_cluster_size(image), start = guest_offset & ~(size - 1);
    uint64_t entry, host;

    if (image->spec.extended)
        return image_subclusters(image, guest_offset, UINT32_MAX, 0, seed);
    entry = image_l2_entry(image, guest_offset);
    host = host_cluster(image, start);
    image_put64(image, entry, host | Q2_ENTRY_COPIED);
    write_pattern(image, host, start, size, seed);
    model_set(image, start, size, false, seed);
    return host;
}

uint64_t image_zero(struct image *image, uint64_t guest_offset, bool allocated)
{
    uint64_t size = image_cluster_size(image), start = guest_offset & ~(size - 1);
    uint64_t entry = image_l2_entry(image, guest_offset), host = 0;

    if (allocated) {
        host = host_cluster(image, start);
        write_pattern(image, host, start, size, 0xdead); /* what must not be seen */
    }
    model_set(image, start, size, true, 0);
    if (image->spec.extended) {
        image_put64(image, entry, allocated ? host | Q2_ENTRY_COPIED : 0);
        image_put64(image, entry + 8, 0xffffffff00000000ull);
        return host;
    }
    image_put64(image, entry, Q2_ENTRY_ZERO | (allocated ? host | Q2_ENTRY_COPIED : 0));
    return host;
}

uint64_t image_subclusters(struct image *image, uint64_t guest_offset, uint32_t alloc,
                           uint32_t zero, uint32_t seed)
{
    uint64_t size = image_cluster_size(image), start = guest_offset & ~(size - 1), sub = size / 32;
    uint64_t entry = image_l2_entry(image, guest_offset);
    uint64_t host = host_cluster(image, start);

    CHECK(image->spec.extended);
    write_pattern(image, host, start, size, 0xdead);
    image_put64(image, entry, host | Q2_ENTRY_COPIED);
    image_put64(image, entry + 8, (uint64_t)zero << 32 | alloc);
    model_forget(image, start, size);
    for (uint32_t i = 0; i < 32; i++) {
        if (alloc >> i & 1)
            write_pattern(image, host + i * sub, start + i * sub, sub, seed);
        if ((alloc | zero) >> i & 1)
            model_set(image, start + i * sub, sub, (zero >> i & 1) != 0, seed);
    }
    return host;
}

/* ---- compressed clusters ---- */

/* Room for a stream: after the last one if its cluster has room, else in new clusters. */
static uint64_t stream_place(struct image *image, size_t length)
{
    uint64_t size = image_cluster_size(image);
    uint64_t at = image->stream_end;

    if (at % size != 0 && size - at % size >= length) {
        uint64_t index = at >> image->spec.cluster_bits;
        image_refcount_set(image, index, image_refcount(image, index) + 1);
        return at;
    }
    return image_alloc(image, (uint32_t)((length + size - 1) / size));
}

uint64_t image_stream(struct image *image, uint64_t guest_offset, const uint8_t *stream,
                      size_t length)
{
    uint64_t entry = image_l2_entry(image, guest_offset);
    uint64_t host = stream_place(image, length);
    uint64_t nb_more = ((host + length - 1) >> 9) - (host >> 9);

    image_put(image, host, stream, length);
    image_put64(image, entry,
                Q2_ENTRY_COMPRESSED | nb_more << (70 - image->spec.cluster_bits) | host);
    image->stream_end = host + length;
    return host;
}

uint64_t image_compressed(struct image *image, uint64_t guest_offset, uint32_t seed)
{
    size_t size = (size_t)image_cluster_size(image);
    uint64_t start = guest_offset & ~(uint64_t)(size - 1), host;
    uint8_t *cluster = malloc(size), *stream = malloc(2 * size + 2);

    CHECK(cluster && stream);
    /* Runs, so that it does compress. */
    for (size_t i = 0; i < size; i++) {
        cluster[i] = image_byte(seed, (start + i) / 128);
        if (image->model.bytes && start + i < image->spec.size) {
            image->model.bytes[start + i] = cluster[i];
            image->model.held[(start + i) / 512] = true;
        }
    }
    host = image_stream(image, guest_offset, stream, fake_codec_encode(cluster, size, stream));
    free(cluster);
    free(stream);
    return host;
}

/* ---- snapshots ---- */

void image_snapshot(struct image *image, const struct image_snapshot_spec *spec)
{
    struct q2_snapshot_disk disk = {0};
    uint8_t *to = image->snapshot_table + image->snapshot_table_length, demanded[16];
    size_t id = strlen(spec->id), name = strlen(spec->name), length;
    const void *extra = spec->extra;
    uint32_t extra_size = spec->extra_size;

    CHECK(image->nb_snapshots < IMAGE_MAX_SNAPSHOTS);
    put_number(disk.l1_table_offset.b, image_field(image, "l1_table_offset"), 8);
    put_number(disk.l1_size.b, image->spec.l1_size, 4);
    put_number(disk.id_size.b, id, 2);
    put_number(disk.name_size.b, name, 2);
    put_number(disk.date_sec.b, spec->date_sec, 4);
    put_number(disk.date_nsec.b, spec->date_nsec, 4);
    put_number(disk.vm_clock_nsec.b, spec->vm_clock_nsec, 8);
    put_number(disk.vm_state_size.b, spec->vm_state_size, 4);
    if (!extra && image->spec.version == 3) {
        put_number(demanded, spec->vm_state_size, 8);
        put_number(demanded + 8, image->spec.size, 8);
        extra = demanded;
        extra_size = sizeof(demanded);
    }
    put_number(disk.extra_data_size.b, extra_size, 4);
    length = sizeof(disk) + extra_size + id + name;
    CHECK(image->snapshot_table_length + length + 8 <= sizeof(image->snapshot_table));
    memcpy(to, &disk, sizeof(disk));
    if (extra_size > 0)
        memcpy(to + sizeof(disk), extra, extra_size);
    memcpy(to + sizeof(disk) + extra_size, spec->id, id);
    memcpy(to + sizeof(disk) + extra_size + id, spec->name, name);
    image->snapshot_table_length += (length + 7) & ~(size_t)7;
    image->snapshot_models[image->nb_snapshots++] = image->model;
    model_init(&image->model, image->spec.size);
    image_field_set(image, "l1_table_offset", image_alloc(image, l1_clusters(image)));
}

uint64_t image_snapshots_write(struct image *image)
{
    uint64_t size = image_cluster_size(image);
    uint64_t at = image_alloc(image, (uint32_t)((image->snapshot_table_length + size - 1) / size));

    image_put(image, at, image->snapshot_table, image->snapshot_table_length);
    image_field_set(image, "snapshots_offset", at);
    image_field_set(image, "nb_snapshots", image->nb_snapshots);
    return at;
}

void image_start_crowded(struct image *image, uint64_t nb_tables)
{
    const uint64_t set = 4 * IMAGE_CROWDED_CLUSTER; /* slices this far apart want the same set */
    uint64_t l1;

    image_start(image,
                &(struct image_spec){.size = nb_tables * IMAGE_CROWDED_REACH, .cluster_bits = 14});
    l1 = image_field(image, "l1_table_offset");
    while (image->size % set != l1 % set)
        (void)image_alloc(image, 1);
    for (uint64_t i = 0; i < nb_tables; i++) {
        for (uint64_t k = 0; k < 3; k++)
            image_data(image, i * IMAGE_CROWDED_REACH + k * IMAGE_CROWDED_CLUSTER, 1);
    }
}
