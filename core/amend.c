/* Changing an opened image itself.
 *
 * tools/ -> include/q2_amend.h -> here -> header_change.c, table.c, alloc.c, write.c, commit.c.
 * Invariant: what waits is committed before the header says something new (O5).
 */
#include "q2_amend.h"

#include "commit.h"
#include "fault.h"
#include "header_change.h"
#include "text.h"
#include "write.h"

/* Refuse what is not a live qcow2 image. */
static enum q2_status check_image(struct q2_disk *disk)
{
    enum q2_status status = q2_write_possible(disk);

    if (status == Q2_OK && disk->layers[0].format == Q2_FORMAT_RAW)
        status = q2_fail(&disk->fault, Q2_ERR_UNSUPPORTED, "a raw image has no metadata to change",
                         disk->layers[0].source->path);
    return status;
}

/* --- names in the header -------------------------------------------------------------------- */

static enum q2_status check_name(struct q2_disk *disk, const char *name, const char *field,
                                 size_t most)
{
    size_t length = q2_text_length(name);

    if (length <= most)
        return Q2_OK;
    return q2_fail_limit(&disk->fault, Q2_ERR_ARGUMENT, "the name is too long",
                         disk->layers[0].source->path, field, length, most);
}

static enum q2_status change_names(struct q2_disk *disk, const struct q2_header_names *names)
{
    enum q2_status status = q2_commit_names(disk);

    if (status == Q2_OK)
        status = q2_commit(disk);
    return status == Q2_OK ? q2_header_change(disk, names) : status;
}

enum q2_status q2_disk_set_backing(struct q2_disk *disk, const char *file, const char *format)
{
    const struct q2_image *top = &disk->layers[0];
    struct q2_header_names names = {.backing_file = file ? file : "",
                                    .backing_format = format ? format : "",
                                    .data_file = top->data_file};
    enum q2_status status = check_image(disk);

    if (status == Q2_OK)
        status = check_name(disk, names.backing_file, "backing_file", Q2_MAX_NAME_LENGTH);
    if (status == Q2_OK)
        status = check_name(disk, names.backing_format, "backing_fmt", Q2_MAX_FORMAT_LENGTH);
    if (status != Q2_OK)
        return status;
    if (names.backing_format[0] != '\0' && names.backing_file[0] == '\0')
        return q2_fail(&disk->fault, Q2_ERR_ARGUMENT, "a backing format without a backing file",
                       top->source->path);
    if (names.backing_file[0] != '\0' &&
        (top->header.autoclear_features & Q2_AUTOCLEAR_RAW_EXTERNAL))
        return q2_fail(&disk->fault, Q2_ERR_ARGUMENT,
                       "raw external data does not go with a backing file", top->source->path);
    return change_names(disk, &names);
}

enum q2_status q2_disk_set_data_file(struct q2_disk *disk, const char *name)
{
    const struct q2_image *top = &disk->layers[0];
    struct q2_header_names names = {.backing_file = top->backing_file,
                                    .backing_format = top->backing_format,
                                    .data_file = name ? name : ""};
    enum q2_status status = check_image(disk);

    if (status == Q2_OK && !top->rules.external_data)
        status = q2_fail(&disk->fault, Q2_ERR_UNSUPPORTED, "the image has no external data file",
                         top->source->path);
    if (status == Q2_OK)
        status = check_name(disk, names.data_file, "data_file", Q2_MAX_NAME_LENGTH);
    return status == Q2_OK ? change_names(disk, &names) : status;
}
