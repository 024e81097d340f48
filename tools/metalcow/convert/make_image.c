/* Making the files of a new image.
 *
 * May call core/write/create.c and drivers/posix/source.c. Invariant: no file is emptied
 * before all of them are open, locked and known to be different ones.
 */
#include "make_image.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "q2_name.h"
#include "tools/metalcow/base/output.h"
#include "preallocation.h"

/* One of the files. */
struct new_file {
    struct q2_source_posix posix;
    bool is_open;
    bool is_new; /* it did not exist */
};

struct new_image {
    const struct create_options *options;
    struct image *const *in_use;
    size_t nb_in_use;
    uint64_t size; /* of the disk: whole sectors */
    struct new_file image, data;
    void *workspace;
};

bool make_image_join(const char *path, const char *name, char *ret_path)
{
    const char *slash = name[0] == '/' ? NULL : strrchr(path, '/');
    size_t folder = slash ? (size_t)(slash - path) + 1 : 0;

    if (folder > Q2_MAX_PATH_LENGTH || strlen(name) > Q2_MAX_PATH_LENGTH - folder)
        return complain_of(name, Q2_ERR_BAD_NAME, "the path is too long");
    memcpy(ret_path, path, folder);
    memcpy(ret_path + folder, name, strlen(name) + 1);
    return true;
}

bool make_image_backing(const char *path, const char *name, enum q2_name_policy policy,
                        char *ret_path)
{
    enum q2_unsaid_format unused;
    enum q2_status status =
        q2_name_resolve_posix(name, policy, path, ret_path, Q2_MAX_PATH_LENGTH + 1, &unused);

    if (status == Q2_OK)
        return true;
    return complain_of(name, status,
                       status == Q2_ERR_NAME_DENIED
                           ? "this name of a backing file would be refused "
                             "when the image is opened"
                       : status == Q2_ERR_UNSUPPORTED ? "a backing file has to be a plain file"
                                                      : NULL);
}

/* The path of a data file that is to be named in the image: the file that the image will open. */
static bool data_path_of(const char *path, const char *name, char *ret_path)
{
    enum q2_unsaid_format unused;
    enum q2_status status =
        q2_name_resolve_posix(name, Q2_NAMES_ANY, path, ret_path, Q2_MAX_PATH_LENGTH + 1, &unused);

    return status == Q2_OK ||
           complain_of(name, status,
                       status == Q2_ERR_UNSUPPORTED ? "a data file has to be a plain file" : NULL);
}

/* --- would it work? ------------------------------------------------------------------------- */

static enum q2_status nowhere_write(struct q2_source *source, uint64_t offset, const void *buffer,
                                    size_t length)
{
    (void)source, (void)offset, (void)buffer, (void)length;
    return Q2_OK;
}

static enum q2_status nowhere_flush(struct q2_source *source)
{
    (void)source;
    return Q2_OK;
}

static enum q2_status nowhere_grow(struct q2_source *source, uint64_t new_size)
{
    source->size = new_size;
    return Q2_OK;
}

/* Make the image without a file: what is wrong with the options is found before any is touched. */
static bool options_hold(struct new_image *new, const char *path)
{
    static const struct q2_source_ops ops = {
        .write_at = nowhere_write, .flush = nowhere_flush, .grow = nowhere_grow};
    struct q2_source nowhere = {.ops = &ops, .path = path, .io_align = 1, .writable = true};
    struct q2_fault fault;

    if (q2_create(new->workspace, &nowhere, &new->options->image, &fault) == Q2_OK)
        return true;
    print_fault(path, &fault);
    return false;
}

/* --- files ---------------------------------------------------------------------------------- */

#define OWN_FILE "the output is one of the image's own files"

/* Open or make a file, and lock it, without changing it. */
static bool open_file(struct new_image *new, struct new_file *file, const char *path)
{
    struct q2_source_posix *posix = &file->posix;
    unsigned int cache = cache_flags(new->options->cache);
    enum q2_status status =
        q2_source_posix_open(posix, path, cache | Q2_POSIX_WRITABLE | Q2_POSIX_BLOCK_DEVICES);

    if (status == Q2_ERR_NOT_FOUND) {
        status = q2_source_posix_open(posix, path, cache | Q2_POSIX_CREATE);
        file->is_new = status == Q2_OK;
    }
    if (status == Q2_ERR_BUSY && images_use_path(new->in_use, new->nb_in_use, path))
        return complain_of(path, Q2_ERR_CHAIN_LOOP, OWN_FILE);
    if (status != Q2_OK)
        return complain_of(path, status,
                           status == Q2_ERR_NOT_FOUND ? "the folder does not exist" : NULL);
    file->is_open = true;
    if (images_use(new->in_use, new->nb_in_use, &posix->source))
        return complain_of(path, Q2_ERR_CHAIN_LOOP, OWN_FILE);
    if (file == &new->data && q2_same_file(&posix->source, &new->image.posix.source))
        return complain_of(path, Q2_ERR_CHAIN_LOOP, NULL);
    return true;
}

/* Give a regular file size bytes of zeros. Devices have to be large enough as they are. */
static bool set_size(struct new_file *file, uint64_t size)
{
    struct q2_source *source = &file->posix.source;
    int fd = file->posix.fd;

    if (!source->ops->grow)
        return source->size >= size ||
               complain_of(source->path, Q2_ERR_NO_SPACE, "the device is smaller than the disk");
    if (size > INT64_MAX)
        return complain_of(source->path, Q2_ERR_NO_SPACE, NULL);
    if (ftruncate(fd, 0) != 0 || ftruncate(fd, (off_t)size) != 0)
        return complain_of(source->path, q2_status_from_errno(errno), NULL);
    source->size = size;
    return true;
}

static bool flush(struct new_file *file)
{
    struct q2_source *source = &file->posix.source;
    enum q2_status status = source->ops->flush(source);

    return status == Q2_OK || complain_of(source->path, status, NULL);
}

/* --- images --------------------------------------------------------------------------------- */

static bool make_raw(struct new_image *new, const char *path)
{
    return open_file(new, &new->image, path) && set_size(&new->image, new->size) &&
           preallocate_raw(&new->image.posix, 0, new->options->preallocation);
}

/* The size that a data file gets first. It is 0 if preallocation makes it grow, because clusters
 * past its end need no zeros. A raw data file has the disk's size from the start. */
static uint64_t data_size(const struct new_image *new)
{
    bool grows =
        new->options->preallocation != PREALLOCATION_OFF && !new->options->image.raw_external_data;

    return grows && new->data.posix.source.ops->grow ? 0 : new->size;
}

/* Hold the magic of the header back, so that the image does not open before it is complete. On a
 * device the old magic is overwritten. */
static bool hold_magic(struct q2_source_posix *file)
{
    static const uint8_t nothing[Q2_POSIX_HELD];
    struct q2_source *source = &file->source;
    enum q2_status status = Q2_OK;

    if (source->size >= sizeof(nothing))
        status = source->ops->write_at(source, 0, nothing, sizeof(nothing));
    q2_source_posix_hold(file, nothing);
    return status == Q2_OK || complain_of(source->path, status, NULL);
}

static bool make_qcow2(struct new_image *new, const char *path, char *data_path)
{
    const struct create_options *options = new->options;
    const char *data_file = options->image.data_file;
    struct q2_fault fault;

    if (options->preallocation != PREALLOCATION_OFF && options->image.backing_file &&
        !options->image.extended_l2)
        return complain_of(
            path, Q2_ERR_UNSUPPORTED,
            "preallocated clusters would hide the backing file; leave out one of them, or add -o "
            "extended_l2=on");
    if (!options_hold(new, path) || !open_file(new, &new->image, path))
        return false;
    if (data_file &&
        (!data_path_of(path, data_file, data_path) || !open_file(new, &new->data, data_path)))
        return false;
    if (!set_size(&new->image, 0))
        return false;
    if (data_file && (!set_size(&new->data, data_size(new)) || !flush(&new->data)))
        return false;
    if (options->hold && !hold_magic(&new->image.posix))
        return false;
    if (q2_create(new->workspace, &new->image.posix.source, &options->image, &fault) == Q2_OK)
        return true;
    print_fault(path, &fault);
    return false;
}

/* Remove the file itself, and not a link that leads to it. */
static void remove_file(const char *path)
{
    char real_path[PATH_MAX];

    if (realpath(path, real_path))
        (void)unlink(real_path);
}

/* Close; returns whether it is a regular file, which can be removed. */
static bool close_file(struct new_file *file, bool done)
{
    bool regular = file->is_open && file->posix.source.ops->grow;

    if (!file->is_open)
        return false;
    if (!done && file->is_new)
        remove_file(file->posix.path);
    q2_source_posix_close(&file->posix);
    return regular;
}

void make_image_undo(const char *path, const struct made_files *made)
{
    if (made->image)
        remove_file(path);
    if (made->data)
        remove_file(made->data_path);
}

/* Preallocate an image that was made; it is opened for that. With raw external data all clusters
 * are mapped from the start, so that bytes that another program writes into the data file are on
 * the disk. */
static bool preallocate_made(const char *path, const struct create_options *options,
                             const struct made_files *made)
{
    const struct image_options how = {.format = FORMAT_QCOW2,
                                      .names = Q2_NAMES_ANY,
                                      .writable = true,
                                      .cache = options->cache,
                                      .held = options->hold ? made->held : NULL};
    enum preallocation preallocation = options->preallocation;
    struct image *image;
    bool done;

    if (preallocation == PREALLOCATION_OFF && options->image.raw_external_data)
        preallocation = PREALLOCATION_METADATA;
    if (preallocation == PREALLOCATION_OFF)
        return true;
    image = image_open(path, &how, false);
    done = image && preallocate_qcow2(image, 0, q2_disk_size(image->disk), preallocation);
    image_close(image);
    return done;
}

bool make_image(const char *path, enum q2_image_format format, const struct create_options *options,
                struct image *const *in_use, size_t nb_in_use, struct made_files *ret_made)
{
    struct new_image new = {.options = options, .in_use = in_use, .nb_in_use = nb_in_use};
    bool done;

    if (options->image.virtual_size > INT64_MAX - 511)
        return complain_of(path, Q2_ERR_LIMIT, "the virtual size is too large");
    new.size = (options->image.virtual_size + 511) & ~UINT64_C(511);
    new.workspace = aligned_alloc(Q2_WORKSPACE_ALIGN, Q2_WORKSPACE_SIZE);
    if (!new.workspace)
        return complain_of(path, Q2_ERR_LIMIT, "out of memory");
    ret_made->data_path[0] = '\0';
    done = format == Q2_FORMAT_RAW ? make_raw(&new, path)
                                   : make_qcow2(&new, path, ret_made->data_path);
    memcpy(ret_made->held, new.image.posix.held, sizeof(ret_made->held));
    ret_made->data = close_file(&new.data, done);
    ret_made->image = close_file(&new.image, done);
    free(new.workspace);
    if (done && format == Q2_FORMAT_QCOW2 && !preallocate_made(path, options, ret_made)) {
        make_image_undo(path, ret_made);
        done = false;
    }
    return done;
}
