/* metalcow measure: prints the file size that an image would take.
 *
 * As in qemu-img the required size counts all metadata of a full image, so it is an upper bound.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tools/metalcow/base/create_options.h"
#include "tools/metalcow/base/entries.h"
#include "tools/metalcow/base/json.h"
#include "tools/metalcow/base/output.h"
#include "tools/metalcow/base/snapshots.h"
#include "tools/metalcow/keys/encryption.h"
#include "tools/metalcow/verbs.h"

/* The largest L1 table that QEMU makes, in bytes. */
#define MAX_L1_SIZE ((uint64_t)32 << 20)

struct measure {
    struct create_options options;
    bool qcow2;
    uint64_t size; /* virtual, bytes */
    uint64_t data; /* bytes of clusters that have to be written */
    uint64_t required, full;
    bool has_bitmaps;
    uint64_t bitmaps; /* bytes */
};

static uint64_t divide_up(uint64_t value, uint64_t by)
{
    return value / by + (value % by != 0);
}

static uint64_t round_up(uint64_t value, uint64_t unit)
{
    return divide_up(value, unit) * unit;
}

/* Bytes of refcount blocks and table that count nb_clusters and themselves.
 * (qcow2: "Host cluster management") */
static uint64_t refcount_bytes(uint64_t nb_clusters, uint64_t cluster_size, uint32_t refcount_bits)
{
    uint64_t per_block = cluster_size * 8 / refcount_bits, blocks = 0, tables = 0, last;

    do {
        last = blocks + tables;
        blocks = divide_up(nb_clusters + last, per_block);
        tables = divide_up(blocks, cluster_size / 8);
    } while (blocks + tables != last);
    return last * cluster_size;
}

/* Bytes of an image in which all guest data are allocated. data: bytes, a multiple of the cluster
 * size. As in qemu-img, the refcounts of the encryption header's own clusters are left out. */
static uint64_t full_size(const struct measure *measure, uint64_t data)
{
    uint64_t cluster_size = create_options_cluster_size(&measure->options);
    uint64_t l2_entries = cluster_size / (measure->options.image.extended_l2 ? 16 : 8);
    uint64_t l2_tables = divide_up(data / cluster_size, l2_entries);
    uint64_t l1_clusters = divide_up(l2_tables, cluster_size / 8);
    uint64_t metadata = (1 + l2_tables + l1_clusters) * cluster_size;

    return data + metadata +
           refcount_bytes((data + metadata) / cluster_size, cluster_size,
                          create_options_refcount_bits(&measure->options)) +
           round_up(encryption_length(&measure->options), cluster_size);
}

/* Whether the disk's L1 table stays within the limit. */
static bool check_size(const struct measure *measure)
{
    uint64_t cluster_size = create_options_cluster_size(&measure->options);
    uint64_t l2_entries = cluster_size / (measure->options.image.extended_l2 ? 16 : 8);

    if (divide_up(divide_up(measure->size, cluster_size), l2_entries) <= MAX_L1_SIZE / 8)
        return true;
    fputs("metalcow: the disk is too large for clusters of this size; give a larger -o "
          "cluster_size\n",
          stderr);
    return false;
}

static bool calculate(struct measure *measure)
{
    uint64_t cluster_size = create_options_cluster_size(&measure->options), data;

    if (!measure->qcow2) {
        measure->required = measure->full = round_up(measure->size, 512);
        return true;
    }
    if (!create_options_check(&measure->options) || !check_size(measure))
        return false;
    data = round_up(measure->size, cluster_size);
    if (measure->options.preallocation >= PREALLOCATION_FALLOC)
        measure->data = data;
    measure->full = full_size(measure, data);
    measure->required = measure->full - data + measure->data;
    return true;
}

/* Count the bytes of those clusters of the new image that FILE's data need. */
static bool count_data(struct measure *measure, struct image *image)
{
    uint64_t cluster_size = create_options_cluster_size(&measure->options);
    struct q2_map_entry entry;
    struct entries entries;

    entries_begin(&entries, image);
    for (uint64_t at = 0; at < measure->size; at += entry.length) {
        if (entries_next(&entries, at, measure->size - at, &entry) != Q2_OK) {
            image_print_fault(image);
            return false;
        }
        if (entry.zero || !entry.data)
            continue;
        entry.length = round_up(at + entry.length, cluster_size) - at;
        measure->data += at % cluster_size + entry.length;
    }
    return true;
}

/* Bytes that FILE's bitmaps would take in the new image, all of them full.
 * (qcow2: "Bitmaps extension") */
static bool count_bitmaps(struct measure *measure, struct image *image)
{
    uint64_t cluster_size = create_options_cluster_size(&measure->options), directory = 0;

    for (uint32_t i = 0; i < q2_disk_nb_bitmaps(image->disk); i++) {
        struct q2_bitmap bitmap;
        uint64_t nb_clusters;

        if (q2_disk_bitmap(image->disk, i, &bitmap) != Q2_OK) {
            image_print_fault(image);
            return false;
        }
        nb_clusters = divide_up(
            divide_up(divide_up(measure->size, 1ull << bitmap.granularity_bits), 8), cluster_size);
        measure->bitmaps += nb_clusters * cluster_size + round_up(nb_clusters * 8, cluster_size);
        directory += round_up(24 + strlen(bitmap.name), 8);
    }
    measure->bitmaps += round_up(directory, cluster_size);
    return true;
}

static bool measure_image(struct measure *measure, struct image *image)
{
    struct q2_layer_info info;

    measure->size = q2_disk_size(image->disk);
    if (!measure->qcow2)
        return calculate(measure);
    q2_disk_layer_info(image->disk, 0, &info);
    /* It is not known what FILE has in common with the new backing file, so everything counts. */
    if (measure->options.given[CREATE_BACKING_FILE])
        measure->data = round_up(measure->size, create_options_cluster_size(&measure->options));
    else if (!count_data(measure, image))
        return false;
    measure->has_bitmaps =
        measure->options.image.version != 2 && info.header && info.header->version >= 3;
    if (measure->has_bitmaps && !count_bitmaps(measure, image))
        return false;
    return calculate(measure);
}

static bool measure_file(struct measure *measure, const struct arguments *arguments)
{
    struct image *image = snapshots_open(arguments);
    bool done;

    if (!image)
        return false;
    done = measure_image(measure, image);
    image_close(image);
    return done;
}

static void print(const struct measure *measure, bool as_json)
{
    struct json json = {.out = stdout};

    if (!as_json) {
        printf("required size: %" PRIu64 "\nfully allocated size: %" PRIu64 "\n", measure->required,
               measure->full);
        if (measure->has_bitmaps)
            printf("bitmaps size: %" PRIu64 "\n", measure->bitmaps);
        return;
    }
    json_object(&json, NULL);
    if (measure->has_bitmaps)
        json_number(&json, "bitmaps", measure->bitmaps);
    json_number(&json, "required", measure->required);
    json_number(&json, "fully-allocated", measure->full);
    json_end(&json);
}

static bool read_options(struct measure *measure, const struct arguments *arguments)
{
    enum q2_image_format format;

    if (!arguments_format(arguments->output_format, &format))
        return false;
    measure->qcow2 = format == Q2_FORMAT_QCOW2;
    for (size_t i = 0; i < arguments->options.nb; i++) {
        if (!create_options_add(&measure->options, format, arguments->options.texts[i]))
            return false;
    }
    if (!encryption_check(&measure->options, arguments) ||
        !encryption_has_secret(&measure->options, &arguments->objects))
        return false;
    if ((arguments->size_text != NULL) == (arguments->operands[0] != NULL)) {
        fputs(arguments->size_text ? "metalcow: measure takes --size N or a file, not both\n"
                                   : "metalcow: measure needs --size N or a file\n",
              stderr);
        return false;
    }
    return true;
}

/* --size measures without a file, so an option cannot say anything about the file. */
static bool check_file_options(const struct arguments *arguments)
{
    const struct image_options *how = &arguments->image[0];

    if (!arguments->size_text ||
        (how->format == FORMAT_PROBED && !how->data_file && how->backing_files.nb == 0 &&
         !how->snapshot && !arguments->snapshot_param && !how->passphrase_file && !how->key_file &&
         !arguments->image_opts && how->names == Q2_NAMES_ANY &&
         how->backing_format == Q2_UNSAID_REFUSED))
        return true;
    fputs("metalcow: --size measures without a file, but -f, -l, --snapshot and the like say "
          "something about a file; leave them out\n",
          stderr);
    return false;
}

int verb_measure(const struct arguments *arguments)
{
    struct measure measure = {.qcow2 = false};

    if (!read_options(&measure, arguments) || !check_file_options(arguments))
        return EXIT_ERROR;
    if (arguments->size_text) {
        if (!arguments_size(arguments->size_text, &measure.size) || !calculate(&measure))
            return EXIT_ERROR;
    } else if (!measure_file(&measure, arguments)) {
        return EXIT_ERROR;
    }
    print(&measure, arguments->json);
    return EXIT_SUCCESS;
}
