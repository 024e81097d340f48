/* Making a qcow2 image file. verbs -> here -> core/create.c, drivers/source_posix.c.
 *
 * Invariant: after a failure nothing lies there that was not there before, but for the content of
 * files that were replaced.
 */
#include "make_image.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "drivers/source_posix.h"

#include "output.h"

bool make_image_join(const char *path, const char *name, char *ret_path)
{
    const char *slash = strrchr(path, '/');
    size_t folder = slash && name[0] != '/' ? (size_t)(slash + 1 - path) : 0;
    size_t length = strlen(name);

    if (folder > Q2_MAX_PATH_LENGTH || length > Q2_MAX_PATH_LENGTH - folder)
        return false;
    memcpy(ret_path, path, folder);
    memcpy(ret_path + folder, name, length + 1);
    return true;
}

void make_image_undo(const char *path, const struct made_files *made)
{
    if (made->image)
        (void)unlink(path);
    if (made->data)
        (void)unlink(made->data_path);
}

/* Fill a new file, given open and empty. */
typedef enum q2_status fill_file(struct q2_source *file, const struct create_options *options,
                                 struct q2_fault *fault);

static enum q2_status fill_image(struct q2_source *file, const struct create_options *options,
                                 struct q2_fault *fault)
{
    void *workspace = aligned_alloc(Q2_WORKSPACE_ALIGN, Q2_WORKSPACE_SIZE);
    enum q2_status status = Q2_ERR_LIMIT;

    if (workspace)
        status = q2_create(workspace, file, &options->image, fault);
    else
        fault->what = "out of memory";
    free(workspace);
    return status;
}

static enum q2_status fill_data(struct q2_source *file, const struct create_options *options,
                                struct q2_fault *fault)
{
    uint64_t size = (options->image.virtual_size + 511) & ~UINT64_C(511);

    (void)fault;
    return size > 0 ? file->ops->grow(file, size) : Q2_OK;
}

static bool make_file(const char *path, fill_file *fill, const struct create_options *options,
                      bool *ret_made)
{
    struct q2_source_posix file;
    struct q2_fault fault = {.status = Q2_OK};
    enum q2_status status = q2_source_posix_open(&file, path, Q2_POSIX_CREATE | Q2_POSIX_REPLACE);

    if (status == Q2_OK) {
        *ret_made = true;
        status = fill(&file.source, options, &fault);
        q2_source_posix_close(&file);
    }
    if (status == Q2_OK)
        return true;
    fault.status = status;
    print_fault(path, &fault);
    return false;
}

bool make_image(const char *path, const struct create_options *options, struct made_files *ret_made)
{
    struct made_files made = {.image = false};
    bool done = true;

    if (options->image.data_file &&
        !make_image_join(path, options->image.data_file, made.data_path)) {
        print_status(options->image.data_file, Q2_ERR_BAD_NAME);
        return false;
    }
    if (made.data_path[0] != '\0')
        done = make_file(made.data_path, fill_data, options, &made.data);
    done = done && make_file(path, fill_image, options, &made.image);
    if (!done)
        make_image_undo(path, &made);
    *ret_made = made;
    return done;
}
