/* metalcow info: what an image says about itself. Opens nothing but the image, except with
 * --backing-chain. Every text out of the image is escaped.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "tools/metalcow/base/image.h"
#include "info_luks.h"
#include "tools/metalcow/base/json.h"
#include "tools/metalcow/base/output.h"
#include "tools/metalcow/base/snapshots.h"
#include "tools/metalcow/verbs.h"

/* One image being described. */
struct description {
    struct image *image;
    struct q2_layer_info layer;
    uint64_t actual_size; /* bytes that the file occupies */
    char *full_backing;   /* the backing file's name joined to the image's folder; NULL: none */
    uint32_t nb_bitmaps;  /* 0 when they cannot be trusted */
    struct json json;
};

static bool is_incompatible(const struct description *d, uint64_t bit)
{
    return (d->layer.header->incompatible_features & bit) != 0;
}

static bool is_autoclear(const struct description *d, uint64_t bit)
{
    return (d->layer.header->autoclear_features & bit) != 0;
}

static bool is_dirty(const struct description *d)
{
    return d->layer.header && is_incompatible(d, Q2_INCOMPAT_DIRTY);
}

/* Join a name to the folder of the image that holds it. Only shown, never opened. */
static char *join(const char *image, const char *name)
{
    const char *slash = strrchr(image, '/');
    size_t folder = slash && name[0] != '/' && !strchr(name, ':') ? (size_t)(slash - image) + 1 : 0;
    char *path = malloc(folder + strlen(name) + 1);

    if (path) {
        memcpy(path, image, folder);
        memcpy(path + folder, name, strlen(name) + 1);
    }
    return path;
}

static void describe(struct image *image, struct description *ret_description)
{
    struct description d = {.image = image, .json = {.out = stdout}};
    struct stat stat;

    q2_disk_layer_info(image->disk, 0, &d.layer);
    if (fstat(image->file.fd, &stat) == 0)
        d.actual_size = (uint64_t)stat.st_blocks * 512;
    if (d.layer.backing_file[0] != '\0')
        d.full_backing = join(image->path, d.layer.backing_file);
    if (d.layer.header && is_autoclear(&d, Q2_AUTOCLEAR_BITMAPS))
        d.nb_bitmaps = q2_disk_nb_bitmaps(image->disk);
    *ret_description = d;
}

static const char *format_name(const struct description *d)
{
    return d->layer.format == Q2_FORMAT_RAW ? "raw" : "qcow2";
}

static const char *encryption_name(const struct description *d)
{
    return d->layer.header->crypt_method == Q2_CRYPT_LUKS ? "luks" : "aes";
}

static const char *compression_name(const struct description *d)
{
    return d->layer.header->compression_type == Q2_COMPRESSION_ZSTD ? "zstd" : "zlib";
}

static bool is_encrypted(const struct description *d)
{
    return d->layer.header && d->layer.header->crypt_method != Q2_CRYPT_NONE;
}

/* The flags of a bitmap by name. */
static const struct {
    uint32_t bit;
    const char *name;
} bitmap_flags[] = {{Q2_BITMAP_IN_USE, "in-use"}, {Q2_BITMAP_AUTO, "auto"}};
#define NB_BITMAP_FLAGS (sizeof(bitmap_flags) / sizeof(bitmap_flags[0]))

static enum q2_status json_bitmaps(struct description *d)
{
    if (d->nb_bitmaps == 0)
        return Q2_OK;
    json_list(&d->json, "bitmaps");
    for (uint32_t i = 0; i < d->nb_bitmaps; i++) {
        struct q2_bitmap bitmap;
        enum q2_status status = q2_disk_bitmap(d->image->disk, i, &bitmap);

        if (status != Q2_OK)
            return status;
        json_object(&d->json, NULL);
        json_list(&d->json, "flags");
        for (size_t flag = 0; flag < NB_BITMAP_FLAGS; flag++) {
            if ((bitmap.flags & bitmap_flags[flag].bit) != 0)
                json_text(&d->json, NULL, bitmap_flags[flag].name);
        }
        json_end(&d->json);
        json_text(&d->json, "name", bitmap.name);
        json_number(&d->json, "granularity", UINT64_C(1) << bitmap.granularity_bits);
        json_end(&d->json);
    }
    json_end(&d->json);
    return Q2_OK;
}

static void json_encryption(struct description *d)
{
    struct info_luks luks;

    if (!is_encrypted(d))
        return;
    json_object(&d->json, "encrypt");
    json_text(&d->json, "format", encryption_name(d));
    if (info_luks_read(&d->layer, &luks))
        info_luks_json(&d->json, &luks);
    json_end(&d->json);
}

static enum q2_status json_specific(struct description *d)
{
    const struct q2_header *header = d->layer.header;
    enum q2_status status = Q2_OK;

    json_object(&d->json, "format-specific");
    json_text(&d->json, "type", "qcow2");
    json_object(&d->json, "data");
    json_text(&d->json, "compat", header->version == 2 ? "0.10" : "1.1");
    json_text(&d->json, "compression-type", compression_name(d));
    json_number(&d->json, "refcount-bits", UINT64_C(1) << header->refcount_order);
    json_encryption(d);
    if (header->version >= 3) {
        json_bool(&d->json, "lazy-refcounts",
                  (header->compatible_features & Q2_COMPAT_LAZY_REFCOUNTS) != 0);
        status = json_bitmaps(d);
        json_bool(&d->json, "corrupt", is_incompatible(d, Q2_INCOMPAT_CORRUPT));
        json_bool(&d->json, "extended-l2", is_incompatible(d, Q2_INCOMPAT_EXTENDED_L2));
    }
    if (is_incompatible(d, Q2_INCOMPAT_DATA_FILE)) {
        if (d->layer.data_file[0] != '\0')
            json_text(&d->json, "data-file", d->layer.data_file);
        json_bool(&d->json, "data-file-raw", is_autoclear(d, Q2_AUTOCLEAR_RAW_EXTERNAL));
    }
    json_end(&d->json);
    json_end(&d->json);
    return status;
}

static enum q2_status json_snapshots(struct description *d)
{
    uint32_t nb_snapshots = snapshots_count(d->image);

    if (nb_snapshots == 0)
        return Q2_OK;
    json_list(&d->json, "snapshots");
    for (uint32_t i = 0; i < nb_snapshots; i++) {
        struct q2_snapshot snapshot;
        enum q2_status status = q2_disk_snapshot(d->image->disk, i, &snapshot);

        if (status != Q2_OK)
            return status;
        json_object(&d->json, NULL);
        json_text(&d->json, "id", snapshot.id);
        json_text(&d->json, "name", snapshot.name);
        json_number(&d->json, "vm-state-size", snapshot.vm_state_size);
        json_number(&d->json, "date-sec", snapshot.date_sec);
        json_number(&d->json, "date-nsec", snapshot.date_nsec);
        json_number(&d->json, "vm-clock-sec", snapshot.vm_clock_nsec / 1000000000u);
        json_number(&d->json, "vm-clock-nsec", snapshot.vm_clock_nsec % 1000000000u);
        if (snapshot.has_icount)
            json_number(&d->json, "icount", snapshot.icount);
        json_end(&d->json);
    }
    json_end(&d->json);
    return Q2_OK;
}

static enum q2_status print_json(struct description *d)
{
    enum q2_status status = Q2_OK;

    json_object(&d->json, NULL);
    json_text(&d->json, "filename", d->image->path);
    json_text(&d->json, "format", format_name(d));
    json_number(&d->json, "virtual-size", d->layer.virtual_size);
    json_number(&d->json, "actual-size", d->actual_size);
    if (d->layer.header)
        json_number(&d->json, "cluster-size", UINT64_C(1) << d->layer.header->cluster_bits);
    if (is_encrypted(d))
        json_bool(&d->json, "encrypted", true);
    json_bool(&d->json, "dirty-flag", is_dirty(d));
    if (d->full_backing) {
        json_text(&d->json, "backing-filename", d->layer.backing_file);
        json_text(&d->json, "full-backing-filename", d->full_backing);
        if (d->layer.backing_format[0] != '\0')
            json_text(&d->json, "backing-filename-format", d->layer.backing_format);
    }
    if (d->layer.header) {
        status = json_snapshots(d);
        if (status == Q2_OK)
            status = json_specific(d);
    }
    json_end(&d->json);
    return status;
}

static void human_text(const char *label, const char *text)
{
    fputs(label, stdout);
    print_escaped(stdout, text);
    putchar('\n');
}

static const char *word(bool value)
{
    return value ? "true" : "false";
}

static enum q2_status human_bitmaps(struct description *d)
{
    if (d->nb_bitmaps > 0)
        puts("    bitmaps:");
    for (uint32_t i = 0; i < d->nb_bitmaps; i++) {
        struct q2_bitmap bitmap;
        enum q2_status status = q2_disk_bitmap(d->image->disk, i, &bitmap);
        unsigned nb_set = 0;

        if (status != Q2_OK)
            return status;
        printf("        [%" PRIu32 "]:\n            flags:\n", i);
        for (size_t flag = 0; flag < NB_BITMAP_FLAGS; flag++) {
            if ((bitmap.flags & bitmap_flags[flag].bit) != 0)
                printf("                [%u]: %s\n", nb_set++, bitmap_flags[flag].name);
        }
        human_text("            name: ", bitmap.name);
        printf("            granularity: %" PRIu64 "\n", UINT64_C(1) << bitmap.granularity_bits);
    }
    return Q2_OK;
}

static void human_encryption(struct description *d)
{
    struct info_luks luks;

    if (!is_encrypted(d))
        return;
    puts("    encrypt:");
    if (info_luks_read(&d->layer, &luks))
        info_luks_human(&luks);
    else
        printf("        format: %s\n", encryption_name(d));
}

static enum q2_status human_specific(struct description *d)
{
    const struct q2_header *header = d->layer.header;
    bool is_v3 = header->version >= 3;
    enum q2_status status = Q2_OK;

    puts("Format specific information:");
    printf("    compat: %s\n", is_v3 ? "1.1" : "0.10");
    printf("    compression type: %s\n", compression_name(d));
    if (is_v3) {
        printf("    lazy refcounts: %s\n",
               word((header->compatible_features & Q2_COMPAT_LAZY_REFCOUNTS) != 0));
        status = human_bitmaps(d);
    }
    if (status != Q2_OK)
        return status;
    printf("    refcount bits: %u\n", 1u << header->refcount_order);
    human_encryption(d);
    if (is_incompatible(d, Q2_INCOMPAT_DATA_FILE)) {
        if (d->layer.data_file[0] != '\0')
            human_text("    data file: ", d->layer.data_file);
        printf("    data file raw: %s\n", word(is_autoclear(d, Q2_AUTOCLEAR_RAW_EXTERNAL)));
    }
    if (is_v3)
        printf("    corrupt: %s\n    extended l2: %s\n",
               word(is_incompatible(d, Q2_INCOMPAT_CORRUPT)),
               word(is_incompatible(d, Q2_INCOMPAT_EXTENDED_L2)));
    return Q2_OK;
}

static void human_backing(const struct description *d)
{
    if (!d->full_backing)
        return;
    fputs("backing file: ", stdout);
    print_escaped(stdout, d->layer.backing_file);
    if (strcmp(d->full_backing, d->layer.backing_file) != 0) {
        fputs(" (actual path: ", stdout);
        print_escaped(stdout, d->full_backing);
        putchar(')');
    }
    putchar('\n');
    if (d->layer.backing_format[0] != '\0')
        human_text("backing file format: ", d->layer.backing_format);
}

static enum q2_status print_human(struct description *d)
{
    char virtual_size[16], actual_size[16];
    enum q2_status status;

    format_size(d->layer.virtual_size, virtual_size, sizeof(virtual_size));
    format_size(d->actual_size, actual_size, sizeof(actual_size));
    human_text("image: ", d->image->path);
    printf("file format: %s\nvirtual size: %s (%" PRIu64 " bytes)\ndisk size: %s\n", format_name(d),
           virtual_size, d->layer.virtual_size, actual_size);
    if (is_encrypted(d))
        puts("encrypted: yes");
    if (!d->layer.header)
        return Q2_OK;
    printf("cluster_size: %" PRIu64 "\n", UINT64_C(1) << d->layer.header->cluster_bits);
    if (is_dirty(d))
        puts("cleanly shut down: no");
    human_backing(d);
    status = snapshots_print(d->image);
    return status == Q2_OK ? human_specific(d) : status;
}

/* Describe one file. list: the JSON list that it goes into, or NULL. */
static bool print_image(const char *path, const struct image_options *options, bool as_json,
                        struct json *list)
{
    struct image *image = image_open(path, options, true);
    struct description description;
    enum q2_status status;

    if (!image)
        return false;
    describe(image, &description);
    if (list)
        description.json = *list;
    status = as_json ? print_json(&description) : print_human(&description);
    if (status != Q2_OK)
        image_print_fault(image);
    if (list)
        *list = description.json;
    free(description.full_backing);
    image_close(image);
    return status == Q2_OK;
}

/* What a layer of the chain is opened by again, alone. */
struct link {
    char *path;
    enum q2_image_format format;
};

/* The chain's files by name. The caller frees the paths. */
static uint32_t list_chain(const struct arguments *arguments, struct link links[Q2_MAX_LAYERS])
{
    struct image *image = image_open(arguments->operands[0], &arguments->image[0], false);
    uint32_t nb_layers = image ? q2_disk_nb_layers(image->disk) : 0;

    for (uint32_t i = 0; i < nb_layers; i++) {
        struct q2_layer_info info;

        q2_disk_layer_info(image->disk, i, &info);
        links[i] = (struct link){strdup(info.source->path), info.format};
    }
    image_close(image);
    return nb_layers;
}

static bool print_chain(const struct arguments *arguments)
{
    struct link links[Q2_MAX_LAYERS];
    uint32_t nb_links = list_chain(arguments, links);
    struct json json = {.out = stdout};
    bool ret = nb_links > 0;

    if (ret && arguments->json)
        json_list(&json, NULL);
    for (uint32_t i = 0; i < nb_links; i++) {
        struct image_options options = {.format = links[i].format};

        if (i > 0 && ret && !arguments->json)
            putchar('\n');
        ret = ret && links[i].path &&
              print_image(links[i].path, &options, arguments->json, arguments->json ? &json : NULL);
        free(links[i].path);
    }
    if (nb_links > 0 && arguments->json)
        json_end(&json);
    return ret;
}

int verb_info(const struct arguments *arguments)
{
    bool done;

    if (arguments->backing_chain)
        done = print_chain(arguments);
    else
        done = print_image(arguments->operands[0], &arguments->image[0], arguments->json, NULL);
    return done ? EXIT_SUCCESS : EXIT_ERROR;
}
