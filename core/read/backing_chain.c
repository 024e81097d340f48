/* Opening an image, its data file and its backing chain.
 *
 * Runs at open and close only. May call image.c, snapshot.c, name_gate.c and the opener. Invariant:
 * no file occurs twice among the sources of a disk, and every file that an image named has passed
 * q2_name_resolve().
 */
#include "backing_chain.h"

#include "q2_fail.h"
#include "name_gate.h"
#include "core/base/memory.h"
#include "core/base/range.h"
#include "snapshot.h"
#include "core/base/text.h"

/* What opening hands around. */
struct opening {
    struct q2_disk *disk;
    const struct q2_disk_options *options;
    struct q2_fault *fault;
    char *path;     /* disk->path: the file to open next */
    uint32_t image; /* the layer that the options are about: 1 below an overlay, else 0 */
    bool is_beside; /* path is that of a file in the image's folder, not what its name says */
};

/* A file that is already part of the disk: a backing loop, or a data file that is the image, its
 * backing file or another image's data file (HAZARDS.md, F7, F10). */
static bool in_use(const struct q2_disk *disk, const struct q2_source *source)
{
    for (uint32_t i = 0; i < disk->nb_layers; i++) {
        const struct q2_image *layer = &disk->layers[i];
        if (q2_same_file(layer->source, source) || q2_same_file(layer->data, source))
            return true;
    }
    return false;
}

/* Open the file at opening->path, refuse it if the disk has it already. */
static enum q2_status open_file(struct opening *opening, bool writable,
                                struct q2_source **ret_source)
{
    struct q2_opener *opener = opening->disk->opener;
    struct q2_source *source;
    enum q2_status status;

    status = opener->ops->open(opener, opening->path, writable, &source);
    if (status != Q2_OK)
        return q2_fail(opening->fault, status, NULL, opening->path);
    if (in_use(opening->disk, source)) {
        opener->ops->close(opener, source);
        return q2_fail(opening->fault, Q2_ERR_CHAIN_LOOP, NULL, opening->path);
    }
    *ret_source = source;
    return Q2_OK;
}

/* A path that does not fit must not be cut: that would be another file. */
static enum q2_status take_path(struct opening *opening, const char *path)
{
    size_t i = 0;

    for (; i < Q2_MAX_PATH_LENGTH && path[i] != '\0'; i++)
        opening->path[i] = path[i];
    opening->path[i] = '\0';
    if (path[i] != '\0')
        return q2_fail_limit(opening->fault, Q2_ERR_LIMIT, "the path is too long", path,
                             "path length", i + 1, Q2_MAX_PATH_LENGTH);
    return Q2_OK;
}

/* The last component of a name, as of a path of any system: "C:\\vm\\base.qcow2" too. */
static const char *last_component(const char *name)
{
    const char *last = name;

    for (; *name != '\0'; name++) {
        if (*name == '/' || *name == '\\' || *name == ':')
            last = name + 1;
    }
    return last;
}

/* Set opening->path to a file by the name's last component, in the image's folder. */
static enum q2_status look_beside(struct opening *opening, const struct q2_image *image,
                                  const char *named)
{
    if (!opening->options->look_beside || opening->options->names == Q2_NAMES_NONE)
        return Q2_ERR_NAME_DENIED;
    opening->is_beside = true;
    return q2_name_resolve(last_component(named), Q2_NAMES_BELOW, image->source->path,
                           opening->path, Q2_MAX_PATH_LENGTH + 1);
}

static enum q2_status fail_name(struct opening *opening, const struct q2_image *image,
                                enum q2_status status, const char *named)
{
    (void)q2_fail(
        opening->fault, status,
        status == Q2_ERR_UNSUPPORTED ? "the image names something that is not a plain file" : NULL,
        image->source->path);
    q2_fault_add_detail(opening->fault, named, q2_text_length(named));
    return status;
}

/* Set opening->path from a name in the image, which must pass the gate. */
static enum q2_status resolve(struct opening *opening, const struct q2_image *image,
                              const char *named)
{
    const struct q2_disk_options *options = opening->options;
    enum q2_unsaid_format unused;

    if (options->name_rules == Q2_NAME_RULES_POSIX)
        return q2_name_resolve_posix(named, options->names, image->source->path, opening->path,
                                     Q2_MAX_PATH_LENGTH + 1, &unused);
    return q2_name_resolve(named, options->names, image->source->path, opening->path,
                           Q2_MAX_PATH_LENGTH + 1);
}

/* Open the file that the caller gives, which wins, or that the image names, which must pass the
 * gate. A name that leads nowhere is looked for beside the image. */
static enum q2_status open_named(struct opening *opening, const struct q2_image *image,
                                 const char *given, const char *named, bool writable,
                                 struct q2_source **ret_source)
{
    enum q2_status status;

    opening->is_beside = false;
    if (given) {
        status = take_path(opening, given);
        return status == Q2_OK ? open_file(opening, writable, ret_source) : status;
    }
    status = resolve(opening, image, named);
    if (status != Q2_OK && look_beside(opening, image, named) != Q2_OK)
        return fail_name(opening, image, status, named);
    status = open_file(opening, writable, ret_source);
    if (status == Q2_ERR_NOT_FOUND && !opening->is_beside &&
        look_beside(opening, image, named) == Q2_OK) {
        memset(opening->fault, 0, sizeof(*opening->fault)); /* nothing has failed yet */
        status = open_file(opening, writable, ret_source);
    }
    return status;
}

/* (qcow2: "External data file name string", incompatible feature bit 2) */
static enum q2_status open_data_file(struct opening *opening, struct q2_image *image, bool top)
{
    const char *given = top ? opening->options->data_file : NULL;
    enum q2_status status;

    if (!q2_image_has_data_file(image)) {
        if (given)
            return q2_fail(opening->fault, Q2_ERR_DATA_FILE_UNEXPECTED, NULL, image->source->path);
        return Q2_OK;
    }
    if (!given && image->data_file[0] == '\0')
        return q2_fail(opening->fault, Q2_ERR_DATA_FILE_REQUIRED, NULL, image->source->path);
    status =
        open_named(opening, image, given, image->data_file,
                   top && opening->options->writable && !opening->options->overlay, &image->data);
    image->owns_data = status == Q2_OK;
    image->is_beside = image->is_beside || opening->is_beside;
    return status;
}

/* What a backing file is if the image's header does not state it: what the caller says of this
 * file, what a JSON description says, what the caller says of all files. */
static enum q2_unsaid_format unsaid_format(const struct opening *opening,
                                           const struct q2_image *image,
                                           const struct q2_given_file *given)
{
    enum q2_unsaid_format format = Q2_UNSAID_REFUSED;

    if (given && given->format != Q2_UNSAID_REFUSED)
        return given->format;
    if (!given && opening->options->name_rules == Q2_NAME_RULES_POSIX &&
        q2_name_plain(image->backing_file, opening->path, Q2_MAX_PATH_LENGTH + 1, &format) ==
            Q2_OK &&
        format != Q2_UNSAID_REFUSED)
        return format;
    return opening->options->backing_format;
}

/* (qcow2: "Backing file format name") A format is never probed: raw content could pose as qcow2. */
static enum q2_status backing_format(struct opening *opening, const struct q2_image *image,
                                     enum q2_unsaid_format unsaid, enum q2_image_format *ret_format)
{
    const char *format = image->backing_format;
    bool is_said = format[0] != '\0';

    if (is_said ? q2_text_equal(format, "qcow2") : unsaid == Q2_UNSAID_QCOW2) {
        *ret_format = Q2_FORMAT_QCOW2;
        return Q2_OK;
    }
    if (is_said ? q2_text_equal(format, "raw") : unsaid == Q2_UNSAID_RAW) {
        *ret_format = Q2_FORMAT_RAW;
        return Q2_OK;
    }
    if (!is_said) {
        (void)q2_fail(opening->fault, Q2_ERR_BACKING_FORMAT, NULL, image->source->path);
        q2_fault_add_detail(opening->fault, image->backing_file,
                            q2_text_length(image->backing_file));
        return Q2_ERR_BACKING_FORMAT;
    }
    (void)q2_fail(opening->fault, Q2_ERR_UNSUPPORTED, "the backing file's format is not supported",
                  image->source->path);
    q2_fault_add_detail(opening->fault, format, sizeof(image->backing_format));
    return Q2_ERR_UNSUPPORTED;
}

/* (qcow2: header field crypt_method) Without a key the ciphertext must not pose as the disk
 * (HAZARDS.md, F13). */
static enum q2_status unlock(struct opening *opening, struct q2_image *image)
{
    struct q2_unlocker *unlocker = opening->disk->unlocker;
    uint32_t method = image->header.crypt_method;
    struct q2_source *source = image->source;
    enum q2_status status;

    if (method == Q2_CRYPT_NONE)
        return Q2_OK;
    if (!unlocker)
        return q2_fail_value(opening->fault, Q2_ERR_ENCRYPTED, NULL, source->path, "crypt_method",
                             method);
    if (method == Q2_CRYPT_LUKS &&
        (image->encryption_length == 0 ||
         !q2_range_fits(image->encryption_offset, image->encryption_length, source->size)))
        return q2_fail_limit(opening->fault, Q2_ERR_BAD_HEADER,
                             "the encryption header is outside the file", source->path,
                             "encryption header offset", image->encryption_offset, source->size);
    status = unlocker->ops->unlock(unlocker, source, method, image->encryption_offset,
                                   image->encryption_length, &image->cipher);
    if (status != Q2_OK)
        return q2_fail_value(opening->fault, status, unlocker->what, source->path, "crypt_method",
                             method);
    return Q2_OK;
}

/* A repair removes the snapshots past the limit, so it alone opens such an image. */
static enum q2_status check_snapshots(const struct opening *opening, const struct q2_image *image)
{
    uint32_t nb = image->header.nb_snapshots;

    if (nb <= Q2_MAX_SNAPSHOTS || opening->options->repair)
        return Q2_OK;
    return q2_fail_limit(opening->fault, Q2_ERR_LIMIT,
                         "there are too many snapshots; 'metalcow check -r all' removes those past "
                         "the limit",
                         image->source->path, "nb_snapshots", nb, Q2_MAX_SNAPSHOTS);
}

/* Open one layer on source. On error its files are left to q2_chain_close(). */
static enum q2_status open_layer(struct opening *opening, struct q2_source *source,
                                 enum q2_image_format format, bool owned)
{
    struct q2_disk *disk = opening->disk;
    bool top = disk->nb_layers == opening->image;
    struct q2_image *image = &disk->layers[disk->nb_layers];
    enum q2_status status = Q2_OK;

    if (format == Q2_FORMAT_RAW)
        q2_image_open_raw(source, image);
    else
        status = q2_image_open(&disk->slices, source, opening->fault, image);
    if (status == Q2_OK)
        status = check_snapshots(opening, image);
    /* Counted even if it failed, so that close finds its files. */
    image->source = source;
    image->owns_source = owned;
    disk->nb_layers++;
    if (status != Q2_OK)
        return status;
    if (format == Q2_FORMAT_RAW) {
        if (top && opening->options->data_file)
            return q2_fail(opening->fault, Q2_ERR_DATA_FILE_UNEXPECTED, NULL, source->path);
        return Q2_OK;
    }
    if (opening->options->metadata_only)
        return Q2_OK;
    status = unlock(opening, image);
    return status == Q2_OK ? open_data_file(opening, image, top) : status;
}

static enum q2_status use_snapshot(struct opening *opening)
{
    struct q2_disk *disk = opening->disk;
    struct q2_image *top = &disk->layers[opening->image];
    enum q2_status status;

    if (!opening->options->snapshot)
        return Q2_OK;
    if (top->format == Q2_FORMAT_RAW)
        return q2_fail(opening->fault, Q2_ERR_NO_SNAPSHOT, "a raw image has no snapshots",
                       top->source->path);
    status = q2_snapshot_find(&disk->slices, top, opening->options->snapshot, opening->fault,
                              &disk->snapshot);
    if (status != Q2_OK)
        return status;
    return q2_image_use_snapshot(top, &disk->snapshot, opening->fault);
}

/* What the caller says of the last layer's backing file; NULL: nothing. */
static const struct q2_given_file *given_backing(const struct opening *opening)
{
    uint32_t index = opening->disk->nb_layers - opening->image - 1;
    const struct q2_given_file *given;

    if (index >= opening->options->nb_backing_files)
        return NULL;
    given = &opening->options->backing_files[index];
    return given->path || given->format != Q2_UNSAID_REFUSED ? given : NULL;
}

/* Open the backing file of the last layer, if it has one. */
static enum q2_status open_backing(struct opening *opening, bool *ret_done)
{
    struct q2_disk *disk = opening->disk;
    const struct q2_image *image = &disk->layers[disk->nb_layers - 1];
    const struct q2_given_file *given = given_backing(opening);
    bool is_beside;
    enum q2_image_format format = Q2_FORMAT_RAW;
    struct q2_source *source;
    enum q2_status status;

    *ret_done = !image->has_backing;
    if (*ret_done && given)
        return q2_fail(opening->fault, Q2_ERR_BACKING_FILE_UNEXPECTED, NULL, image->source->path);
    if (*ret_done)
        return Q2_OK;
    if (disk->nb_layers == Q2_MAX_LAYERS)
        return q2_fail_limit(opening->fault, Q2_ERR_LIMIT, "the backing chain is too deep",
                             image->source->path, "layers", Q2_MAX_LAYERS + 1ull, Q2_MAX_LAYERS);
    status = backing_format(opening, image, unsaid_format(opening, image, given), &format);
    if (status == Q2_OK)
        status = open_named(opening, image, given ? given->path : NULL, image->backing_file, false,
                            &source);
    if (status != Q2_OK)
        return status;
    is_beside = opening->is_beside;
    status = open_layer(opening, source, format, true);
    disk->layers[disk->nb_layers - 1].is_beside |= is_beside;
    return status;
}

/* The image that takes the writes. Its file names no backing file, but it has one. */
static enum q2_status open_overlay(struct opening *opening)
{
    struct q2_source *overlay = opening->options->overlay;
    enum q2_status status;

    if (!overlay)
        return Q2_OK;
    opening->image = 1;
    status = open_layer(opening, overlay, Q2_FORMAT_QCOW2, false);
    opening->disk->layers[0].has_backing = true;
    return status;
}

enum q2_status q2_chain_open(struct q2_disk *disk, struct q2_source *top,
                             const struct q2_disk_options *options)
{
    struct opening opening = {
        .disk = disk, .options = options, .fault = &disk->fault, .path = disk->path};
    bool done = options->metadata_only;
    enum q2_status status = open_overlay(&opening);

    if (status == Q2_OK)
        status = open_layer(&opening, top, options->format, false);
    if (status == Q2_OK)
        status = use_snapshot(&opening);
    while (status == Q2_OK && !done)
        status = open_backing(&opening, &done);
    if (status != Q2_OK)
        q2_chain_close(disk);
    return status;
}

void q2_chain_close(struct q2_disk *disk)
{
    while (disk->nb_layers > 0) {
        struct q2_image *image = &disk->layers[--disk->nb_layers];
        if (image->cipher)
            disk->unlocker->ops->lock(disk->unlocker, image->cipher);
        if (image->owns_data)
            disk->opener->ops->close(disk->opener, image->data);
        if (image->owns_source)
            disk->opener->ops->close(disk->opener, image->source);
    }
}
