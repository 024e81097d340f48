/* metalcow info: prints what the metadata of an image say. Opens no file but the image, except with
 * --backing-chain. Invariant: every text out of the image is escaped.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "tools/metalcow/base/image.h"
#include "info_luks.h"
#include "tools/metalcow/base/json.h"
#include "q2_name.h"
#include "tools/metalcow/base/hold.h"
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

/* "nbd:", "json:": a colon before the first slash. */
static bool has_prefix(const char *name)
{
    return name[strcspn(name, ":/")] == ':';
}

/* Join a name to the folder of the image that holds it. The result is shown and never opened. */
static char *join(const char *image, const char *name)
{
    const char *slash = strrchr(image, '/');
    size_t folder = slash && name[0] != '/' && !has_prefix(name) ? (size_t)(slash - image) + 1 : 0;
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
        d.full_backing = join(image->file.path, d.layer.backing_file);
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

/* Describe an open image. list: the JSON list that it goes into, or NULL. */
static bool print_image(struct image *image, bool as_json, struct json *list)
{
    struct description description;
    enum q2_status status;

    describe(image, &description);
    if (list)
        description.json = *list;
    status = as_json ? print_json(&description) : print_human(&description);
    if (status != Q2_OK)
        image_print_fault(image);
    if (list)
        *list = description.json;
    free(description.full_backing);
    return status == Q2_OK;
}

/* --- the chain ------------------------------------------------------------------------------ */

/* The state of the walk down a chain. Only the metadata of each file are read, so no passphrase is
 * needed. */
struct walk {
    const struct image_options *given; /* the user's options for the chain */
    uint32_t depth;                    /* of the file to open next; 0: the image */
    char path[Q2_MAX_PATH_LENGTH + 1]; /* of the file to open next */
    struct image_options how;
    uint64_t seen[Q2_MAX_LAYERS][2]; /* identities of the files above */
};

static bool fail(const struct image *image, enum q2_status status, const char *detail)
{
    struct q2_fault fault = {.status = status};

    (void)snprintf(fault.detail, sizeof(fault.detail), "%s", detail);
    print_fault(image->path, &fault);
    return false;
}

/* Set the format of image's backing file. probed: the user gave this file, so its format is probed
 * if image does not say it. */
static bool choose_format(struct walk *walk, const struct image *image,
                          const struct q2_layer_info *layer, enum q2_unsaid_format unsaid,
                          bool probed)
{
    const char *said = layer->backing_format;

    if (strcmp(said, "qcow2") == 0 || (said[0] == '\0' && unsaid == Q2_UNSAID_QCOW2))
        walk->how.format = FORMAT_QCOW2;
    else if (strcmp(said, "raw") == 0 || (said[0] == '\0' && unsaid == Q2_UNSAID_RAW))
        walk->how.format = FORMAT_RAW;
    else if (said[0] == '\0' && probed)
        walk->how.format = FORMAT_PROBED;
    else
        return said[0] == '\0' ? fail(image, Q2_ERR_BACKING_FORMAT, layer->backing_file)
                               : fail(image, Q2_ERR_UNSUPPORTED, said);
    return true;
}

/* Set the path and the options of image's backing file. */
static bool choose_next(struct walk *walk, const struct image *image,
                        const struct q2_layer_info *layer)
{
    const struct image_options *given = walk->given;
    enum q2_unsaid_format named = Q2_UNSAID_REFUSED;
    uint32_t index = walk->depth - 1;
    bool is_said = walk->depth <= given->backing_files.nb;
    bool is_given = is_said && given->backing_files.paths[index];
    enum q2_status status;

    if (is_given)
        status = q2_name_plain(given->backing_files.paths[index], walk->path, sizeof(walk->path),
                               &named);
    else
        status = q2_name_resolve_posix(layer->backing_file, given->names, image->file.path,
                                       walk->path, sizeof(walk->path), &named);
    if (status != Q2_OK)
        return fail(image, status, layer->backing_file);
    if (is_said && given->backing_files.formats[index] != Q2_UNSAID_REFUSED)
        named = given->backing_files.formats[index];
    walk->how = (struct image_options){.share = given->share, .names = given->names};
    return choose_format(walk, image, layer,
                         named != Q2_UNSAID_REFUSED ? named : given->backing_format, is_given);
}

/* Remember image and go to its backing file; *ret_more is false at the end of the chain. */
static bool step_down(struct walk *walk, const struct image *image, bool *ret_more)
{
    const uint64_t *identity = image->file.source.identity;
    struct q2_layer_info layer;

    for (uint32_t i = 0; i < walk->depth; i++) {
        if (walk->seen[i][0] == identity[0] && walk->seen[i][1] == identity[1])
            return fail(image, Q2_ERR_CHAIN_LOOP, "");
    }
    walk->seen[walk->depth][0] = identity[0];
    walk->seen[walk->depth][1] = identity[1];
    walk->depth++;
    q2_disk_layer_info(image->disk, 0, &layer);
    *ret_more = layer.header && layer.backing_file[0] != '\0';
    if (!*ret_more && walk->depth <= walk->given->backing_files.nb)
        return fail(image, Q2_ERR_BACKING_FILE_UNEXPECTED, "");
    if (*ret_more && walk->depth == Q2_MAX_LAYERS) {
        print_fault(image->path, &(struct q2_fault){.status = Q2_ERR_LIMIT,
                                                    .what = "the backing chain is too deep",
                                                    .field = "layers",
                                                    .value = Q2_MAX_LAYERS + 1ull,
                                                    .limit = Q2_MAX_LAYERS,
                                                    .has_value = true,
                                                    .has_limit = true});
        return false;
    }
    return !*ret_more || choose_next(walk, image, &layer);
}

static bool print_chain(const struct arguments *arguments)
{
    struct walk walk = {.given = &arguments->image[0], .how = arguments->image[0]};
    struct json json = {.out = stdout};
    char path[Q2_MAX_PATH_LENGTH + 1];
    bool good = true, more = true;

    walk.how.backing_files.nb = 0;
    if (arguments->json)
        json_list(&json, NULL);
    while (good && more) {
        const char *name = walk.depth == 0 ? arguments->operands[0] : path;
        struct image *image;

        (void)snprintf(path, sizeof(path), "%s", walk.path);
        image = image_open(name, &walk.how, true);
        if (!image)
            return false;
        if (walk.depth > 0 && !arguments->json)
            putchar('\n');
        good = print_image(image, arguments->json, arguments->json ? &json : NULL) &&
               step_down(&walk, image, &more);
        image_close(image);
    }
    if (arguments->json)
        json_end(&json);
    return good;
}

static bool print_one(const struct arguments *arguments)
{
    struct image *image = image_open(arguments->operands[0], &arguments->image[0], true);
    bool done = image && print_image(image, arguments->json, NULL);

    image_close(image);
    return done;
}

int verb_info(const struct arguments *arguments)
{
    struct hold hold;
    bool done;

    hold_begin(&hold);
    done = arguments->backing_chain ? print_chain(arguments) : print_one(arguments);
    hold_end(&hold, done);
    return done ? EXIT_SUCCESS : EXIT_ERROR;
}
