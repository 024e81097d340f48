/* Write the seeds of the fuzzers of core/: small right images of every kind, and parts of them.
 *
 *   seed_image image|header|extension|snapshot DIR
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/support/image_builder.h"

#define HEAD 8

static bool ok = true;

static void write_seed(const char *folder, const char *name, const uint8_t *head,
                       size_t head_length, const uint8_t *bytes, size_t length)
{
    char path[1024];
    FILE *file;

    (void)snprintf(path, sizeof(path), "%s/%s", folder, name);
    file = fopen(path, "wb");
    if (!file || fwrite(head, 1, head_length, file) != head_length ||
        fwrite(bytes, 1, length, file) != length || fclose(file) != 0) {
        perror(path);
        ok = false;
    }
}

/* One seed of the image fuzzer: flags, log2 of the file's size, where the opener's files begin. */
static void write_image(const char *folder, const char *name, const struct image *image,
                        uint8_t flags, uint8_t bits, uint8_t second)
{
    const uint8_t head[HEAD] = {flags, bits, second, 0, 0, 0, 5, 7};

    write_seed(folder, name, head, sizeof(head), image->bytes, image->size);
}

static void fill(struct image *image)
{
    uint64_t size = image_cluster_size(image);

    image_data(image, 0, 1);
    image_zero(image, size, true);
    if (image->spec.version == 3)
        image_zero(image, 2 * size, false);
    if (!image->spec.external)
        image_compressed(image, 3 * size, 1);
    image_data(image, 5 * size, 1);
}

static const struct image_snapshot_spec snapshots[] = {
    {.id = "1", .name = "first", .extra = "0123456789abcdef01234567", .extra_size = 24},
    {.id = "2", .name = "second"},
};

static void images(const char *folder)
{
    static const struct {
        const char *name;
        struct image_spec spec;
        uint8_t flags, bits;
    } rows[] = {
        {"plain", {.size = 8 * 512, .cluster_bits = 9}, 64, 0},
        {"version_2", {.size = 8 * 512, .cluster_bits = 9, .version = 2}, 64, 0},
        {"odd", {.size = 100 * 512 + 7, .cluster_bits = 9, .refcount_bits = 1}, 64, 0},
        {"zstd", {.size = 16 * 1024, .cluster_bits = 10, .compression_type = 1}, 64, 0},
        {"external", {.size = 8 * 512, .cluster_bits = 9, .external = true}, 16, 0},
        {"large", {.size = 1ull << 40, .cluster_bits = 9, .l1_size = 128}, 0, 34},
    };
    struct image image;

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct image_spec spec = rows[i].spec;

        if (spec.size > 1u << 30)
            spec.size = 128 * 32768;
        image_start(&image, &spec);
        fill(&image);
        write_image(folder, rows[i].name, &image, rows[i].flags, rows[i].bits, 0);
        image_free(&image);
    }
    image_start(&image, &rows[0].spec);
    fill(&image);
    image_backing(&image, "next", "raw");
    write_image(folder, "raw_backing", &image, 0, 0, 4);
    image_free(&image);
    image_start(&image, &rows[0].spec);
    fill(&image);
    image_backing(&image, "next", "qcow2");
    write_image(folder, "endless", &image, 0, 0, 0);
    image_free(&image);
    image_start(&image, &rows[0].spec);
    fill(&image);
    image_snapshot(&image, &snapshots[0]);
    image_data(&image, 0, 2);
    image_snapshot(&image, &snapshots[1]);
    (void)image_snapshots_write(&image);
    write_image(folder, "snapshots", &image, 8 | 64, 0, 0);
    image_free(&image);
}

/* Extended entries want clusters of 16 KiB: header, L1 and L2 tables in a row, the rest zeros. */
static void extended_image(const char *folder)
{
    const uint8_t head[HEAD] = {0, 20, 0, 0, 0, 0, 5, 7};
    struct image image;
    uint64_t table;

    image_start(&image,
                &(struct image_spec){.size = 1 << 20, .cluster_bits = 14, .extended = true});
    image_field_set(&image, "refcount_table_offset", 1 << 20);
    image_field_set(&image, "l1_table_offset", 1 << 14);
    memset(image.bytes + (1 << 14), 0, image.size - (1 << 14));
    image_put64(&image, 1 << 14, 2 << 14 | 1ull << 63);
    table = 2 << 14;
    image_put64(&image, table, 3 << 14 | 1ull << 63);
    image_put64(&image, table + 8, 0xffff00000000ffff);
    image_put64(&image, table + 16, 4 << 14);
    image_put64(&image, table + 24, 0x55555555);
    image_put64(&image, table + 40, 0xffffffff00000000);
    image_put64(&image, table + 48, 1ull << 62 | 1 << 14);
    write_seed(folder, "extended", head, sizeof(head), image.bytes, (2 << 14) + 64);
    image_free(&image);
}

static void headers(const char *folder)
{
    static const uint8_t size[8] = {0, 0, 0, 0, 1};
    struct image image;

    image_start(&image, &(struct image_spec){.size = 1 << 20});
    write_seed(folder, "version_3", size, sizeof(size), image.bytes, 112);
    image_backing(&image, "base", NULL);
    write_seed(folder, "backing", size, sizeof(size), image.bytes, 112);
    image_free(&image);
    image_start(&image, &(struct image_spec){.size = 1 << 20, .version = 2});
    write_seed(folder, "version_2", size, sizeof(size), image.bytes, 72);
    image_free(&image);
}

static void extensions(const char *folder)
{
    static const uint8_t plain[5] = {0}, feature[5] = {2}, named[5] = {1, 1, 0, 0, 4};
    struct image image;

    image_start(&image, &(struct image_spec){.size = 1 << 20});
    (void)image_extension(&image, 0xe2792aca, "raw", 3);
    (void)image_extension(&image, 0x6803f857, "\0\x09nine", 48);
    (void)image_extension(&image, 0x23852875, "012345678901234567890123", 24);
    (void)image_extension(&image, 0x0537be77, "0123456789abcdef", 16);
    (void)image_extension(&image, 0x44415441, "data.raw", 8);
    (void)image_extension(&image, 0x12345678, "", 0);
    write_seed(folder, "all", plain, 5, image.bytes + 112, 200);
    write_seed(folder, "feature", feature, 5, image.bytes + 112, 200);
    write_seed(folder, "named", named, 5, image.bytes + 112, 200);
    image_free(&image);
}

static void snapshot_tables(const char *folder)
{
    static const uint8_t nb[2] = {0, 2};
    struct image image;

    image_start(&image, &(struct image_spec){.size = 1 << 16, .cluster_bits = 9});
    image_snapshot(&image, &snapshots[0]);
    image_snapshot(&image, &snapshots[1]);
    write_seed(folder, "two", nb, 2, image.snapshot_table, image.snapshot_table_length);
    image_free(&image);
}

int main(int argc, char **argv)
{
    const char *what = argc == 3 ? argv[1] : "";

    if (strcmp(what, "image") == 0) {
        images(argv[2]);
        extended_image(argv[2]);
    } else if (strcmp(what, "header") == 0) {
        headers(argv[2]);
    } else if (strcmp(what, "extension") == 0) {
        extensions(argv[2]);
    } else if (strcmp(what, "snapshot") == 0) {
        snapshot_tables(argv[2]);
    } else {
        fprintf(stderr, "usage: %s image|header|extension|snapshot DIR\n", argv[0]);
        return 2;
    }
    return ok ? 0 : 1;
}
