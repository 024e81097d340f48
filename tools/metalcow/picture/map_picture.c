/* The picture of an image: walks the map once, counts bytes into strips, draws them.
 *
 * May call the engine, tables.c, strip.c and svg.c. Invariant: nothing is printed before the whole
 * map has been read.
 */
#include "map_picture.h"

#include <inttypes.h>
#include <stdlib.h>

#include "tools/metalcow/base/output.h"
#include "strip.h"
#include "svg.h"

#define HEAD_HEIGHT  150u /* title and legend */
#define NAME_HEIGHT  46u  /* of a layer */
#define GUEST_HEIGHT 48u
#define LABEL_HEIGHT 20u /* of a file's strip */
#define FILE_HEIGHT  18u
#define GAP          26u
#define FOOT_HEIGHT  24u

/* What is counted of one layer. */
struct layer {
    struct q2_layer_info info;
    struct strip guest;
    struct strip file; /* the image file; length 0: an empty file */
    struct strip data; /* the external data file; length 0: none */
};

struct picture {
    struct image *image;
    uint32_t nb_layers;
    uint64_t begin, length;
    uint64_t nothing; /* bytes that no layer has */
    struct layer *layers;
};

struct metadata_counter {
    struct q2_table_visitor visitor;
    struct strip *strip;
};

static void count_metadata(struct q2_table_visitor *visitor, uint64_t offset, uint64_t length)
{
    strip_add(((struct metadata_counter *)visitor)->strip, offset, length, PAINT_METADATA);
}

static void begin_layer(struct picture *picture, uint32_t index)
{
    struct layer *layer = &picture->layers[index];
    struct metadata_counter counter = {.visitor.visit = count_metadata, .strip = &layer->file};

    q2_disk_layer_info(picture->image->disk, index, &layer->info);
    layer->guest.begin = picture->begin;
    layer->guest.length = picture->length;
    layer->file.length = layer->info.source->size;
    if (layer->info.data_source != layer->info.source)
        layer->data.length = layer->info.data_source->size;
    if (layer->file.length > 0)
        q2_disk_visit_tables(picture->image->disk, index, &counter.visitor);
}

static const enum paint paints[] = {
    [Q2_EXTENT_DATA] = PAINT_DATA,
    [Q2_EXTENT_COMPRESSED] = PAINT_COMPRESSED,
    [Q2_EXTENT_ZERO] = PAINT_ZERO,
};

static void count_extent(struct picture *picture, const struct q2_extent *extent)
{
    struct layer *layer = &picture->layers[extent->layer];
    struct strip *host = layer->data.length > 0 ? &layer->data : &layer->file;
    bool compressed = extent->kind == Q2_EXTENT_COMPRESSED;
    enum paint paint;

    if (extent->kind == Q2_EXTENT_UNALLOCATED) {
        picture->nothing += extent->length;
        return;
    }
    paint = paints[extent->kind];
    strip_add(&layer->guest, extent->guest_offset, extent->length, paint);
    for (uint32_t i = extent->layer + 1; i < picture->nb_layers; i++)
        strip_add(&picture->layers[i].guest, extent->guest_offset, extent->length, PAINT_COVERED);
    if (extent->has_host_offset && host->length > 0)
        strip_add(host, extent->host_offset, compressed ? extent->stream_length : extent->length,
                  paint);
}

static bool count_extents(struct picture *picture)
{
    uint64_t at = picture->begin, end = picture->begin + picture->length;

    while (at < end) {
        struct q2_extent extent;

        if (q2_disk_map(picture->image->disk, at, end - at, &extent) != Q2_OK) {
            image_print_fault(picture->image);
            return false;
        }
        count_extent(picture, &extent);
        at += extent.length;
    }
    return true;
}

/* --- drawing ------------------------------------------------------------------------------- */

static unsigned file_height(const struct strip *strip)
{
    return strip->length > 0 ? LABEL_HEIGHT + FILE_HEIGHT + SVG_AXIS_HEIGHT : 0;
}

static unsigned layer_height(const struct layer *layer)
{
    return NAME_HEIGHT + GUEST_HEIGHT + SVG_AXIS_HEIGHT + file_height(&layer->file) +
           file_height(&layer->data) + GAP;
}

/* One entry of the legend: square, name, size and share of the whole. */
static void draw_key(FILE *out, unsigned x, unsigned paint, const char *name, uint64_t bytes,
                     uint64_t whole)
{
    char size[16], line[64];

    svg_square(out, x, 88, paint);
    svg_text(out, x + 18, 99, "key", sizeof(line), name);
    format_size(bytes, size, sizeof(size));
    if (whole > 0)
        (void)snprintf(line, sizeof(line), "%s, %.3g %%", size,
                       100.0 * (double)bytes / (double)whole);
    else
        (void)snprintf(line, sizeof(line), "%s in files", size);
    svg_text(out, x + 18, 117, "soft", sizeof(line), line);
}

static void draw_legend(FILE *out, const struct picture *picture)
{
    static const char *const names[] = {"data", "compressed", "zeros"};
    uint64_t metadata = 0;
    unsigned x = SVG_MARGIN;

    for (unsigned paint = PAINT_DATA; paint <= PAINT_ZERO; paint++, x += 155) {
        uint64_t bytes = 0;

        for (uint32_t i = 0; i < picture->nb_layers; i++)
            bytes += picture->layers[i].guest.totals[paint];
        draw_key(out, x, paint, names[paint], bytes, picture->length);
    }
    draw_key(out, x, NB_PAINTS, "nothing", picture->nothing, picture->length);
    for (uint32_t i = 0; i < picture->nb_layers; i++)
        metadata += picture->layers[i].file.totals[PAINT_METADATA];
    draw_key(out, x + 155, PAINT_METADATA, "metadata", metadata, 0);
    if (picture->nb_layers > 1) {
        svg_square(out, x + 310, 88, PAINT_COVERED);
        svg_text(out, x + 328, 99, "key", 64, "covered");
        svg_text(out, x + 328, 117, "soft", 64, "a layer above answers");
    }
}

static void draw_head(FILE *out, const struct picture *picture)
{
    char size[16], cell[16], line[160];

    format_size(q2_disk_size(picture->image->disk), size, sizeof(size));
    format_size(picture->length / STRIP_CELLS, cell, sizeof(cell));
    (void)snprintf(line, sizeof(line),
                   "a disk of %s in %" PRIu32 " layer%s; a column is %s of it, stacked by shares",
                   size, picture->nb_layers, picture->nb_layers == 1 ? "" : "s", cell);
    svg_text(out, SVG_MARGIN, 40, "title", 80, picture->image->path);
    svg_text(out, SVG_MARGIN, 64, "soft", sizeof(line), line);
    draw_legend(out, picture);
}

/* What a layer answers for, in words. */
static void draw_summary(FILE *out, unsigned y, const struct layer *layer)
{
    const uint64_t *totals = layer->guest.totals;
    char data[16], zeros[16], cluster[16] = "", line[160];

    format_size(totals[PAINT_DATA] + totals[PAINT_COMPRESSED], data, sizeof(data));
    format_size(totals[PAINT_ZERO], zeros, sizeof(zeros));
    if (layer->info.header)
        format_size(1ull << layer->info.header->cluster_bits, cluster, sizeof(cluster));
    (void)snprintf(line, sizeof(line), "%s%s%s; answers for %s of data and %s of zeros",
                   layer->info.header ? "qcow2" : "raw", layer->info.header ? ", clusters of " : "",
                   cluster, data, zeros);
    svg_text(out, SVG_MARGIN, y, "soft", sizeof(line), line);
}

/* A file's strip; returns where it ends. */
static unsigned draw_file(FILE *out, unsigned y, const char *label, const char *path,
                          const struct strip *strip)
{
    char size[16], line[64];

    if (strip->length == 0)
        return y;
    format_size(strip->length, size, sizeof(size));
    (void)snprintf(line, sizeof(line), "%s, %s", label, size);
    svg_text(out, SVG_MARGIN, y + 15, "mark", sizeof(line), line);
    if (path)
        svg_text(out, SVG_WIDTH - SVG_MARGIN, y + 15, "mark end", 100, path);
    svg_strip(out, y + LABEL_HEIGHT, FILE_HEIGHT, strip);
    svg_axis(out, y + LABEL_HEIGHT + FILE_HEIGHT, strip);
    return y + file_height(strip);
}

static void draw_layer(FILE *out, unsigned y, uint32_t index, const struct layer *layer)
{
    char line[32];

    (void)snprintf(line, sizeof(line), "layer %" PRIu32, index);
    svg_text(out, SVG_MARGIN, y + 16, "name", 100, layer->info.source->path);
    svg_text(out, SVG_WIDTH - SVG_MARGIN, y + 16, "soft end", sizeof(line), line);
    draw_summary(out, y + 36, layer);
    y += NAME_HEIGHT;
    svg_strip(out, y, GUEST_HEIGHT, &layer->guest);
    svg_axis(out, y + GUEST_HEIGHT, &layer->guest);
    y += GUEST_HEIGHT + SVG_AXIS_HEIGHT;
    y = draw_file(out, y, "in its file", NULL, &layer->file);
    (void)draw_file(out, y, "in its data file", layer->info.data_source->path, &layer->data);
}

static const char foot[] = "What is empty in a file is free, another state's (snapshots), or "
                           "covered by a layer above.";

static void draw(FILE *out, const struct picture *picture, bool html)
{
    unsigned y = HEAD_HEIGHT + FOOT_HEIGHT;

    for (uint32_t i = 0; i < picture->nb_layers; i++)
        y += layer_height(&picture->layers[i]);
    svg_begin(out, y, html, picture->image->path);
    draw_head(out, picture);
    y = HEAD_HEIGHT;
    for (uint32_t i = 0; i < picture->nb_layers; i++) {
        draw_layer(out, y, i, &picture->layers[i]);
        y += layer_height(&picture->layers[i]);
    }
    svg_text(out, SVG_MARGIN, y, "soft", sizeof(foot), foot);
    svg_end(out, html);
}

bool map_picture(FILE *out, struct image *image, uint64_t begin, uint64_t end, bool html)
{
    struct picture picture = {
        .image = image,
        .nb_layers = q2_disk_nb_layers(image->disk),
        .begin = begin,
        .length = end - begin,
    };
    bool done;

    picture.layers = calloc(picture.nb_layers, sizeof(*picture.layers));
    if (!picture.layers) {
        fputs("metalcow: out of memory\n", stderr);
        return false;
    }
    for (uint32_t i = 0; i < picture.nb_layers; i++)
        begin_layer(&picture, i);
    done = count_extents(&picture);
    if (done)
        draw(out, &picture, html);
    free(picture.layers);
    return done;
}
