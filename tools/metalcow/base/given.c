/* The files that a person gives for an image.
 *
 * May call include/q2_name.h, probe.c and drivers/posix.
 */
#include "given.h"

#include <stdlib.h>
#include <string.h>

#include "q2_fail.h"
#include "q2_name.h"

#include "output.h"
#include "probe.h"

static const char *reason(enum q2_status status)
{
    return status == Q2_ERR_UNSUPPORTED ? "this does not describe a plain file"
           : status == Q2_ERR_BAD_NAME  ? "this is not the name of a file"
                                        : NULL;
}

/* A name in plain spelling, kept in image->names. */
static const char *keep(struct image *image, const char *name, enum q2_unsaid_format *ret_format,
                        struct q2_fault *ret_fault)
{
    char path[Q2_MAX_PATH_LENGTH + 1];
    enum q2_status status = q2_name_plain(name, path, sizeof(path), ret_format);
    size_t slot = 0;

    while (image->names[slot])
        slot++;
    if (status == Q2_OK && !(image->names[slot] = strdup(path)))
        status = Q2_ERR_LIMIT;
    if (status == Q2_OK)
        return image->names[slot];
    (void)q2_fail(ret_fault, status, reason(status), name);
    return NULL;
}

const char *given_image(struct image *image, const char *name, enum format_choice *ret_format,
                        struct q2_fault *ret_fault)
{
    enum q2_unsaid_format format;
    const char *path = keep(image, name, &format, ret_fault);

    *ret_format = format == Q2_UNSAID_QCOW2 ? FORMAT_QCOW2
                  : format == Q2_UNSAID_RAW ? FORMAT_RAW
                                            : FORMAT_PROBED;
    return path;
}

bool given_output(const char *name, enum q2_image_format format, char *ret_path)
{
    enum q2_unsaid_format said;
    struct q2_fault fault = {.status =
                                 q2_name_plain(name, ret_path, Q2_MAX_PATH_LENGTH + 1, &said)};

    fault.what = reason(fault.status);
    if (fault.status == Q2_OK && said != Q2_UNSAID_REFUSED &&
        (said == Q2_UNSAID_QCOW2) != (format == Q2_FORMAT_QCOW2)) {
        fault.status = Q2_ERR_ARGUMENT;
        fault.what = "this name states another format than the one to be made";
    }
    if (fault.status != Q2_OK)
        print_fault(name, &fault);
    return fault.status == Q2_OK;
}

/* A file that does not open is left to the engine, which will say why. */
static bool probe_given(const char *path, enum q2_unsaid_format *ret_format,
                        struct q2_fault *ret_fault)
{
    struct q2_source_posix file;
    const char *name = NULL;
    enum probed probed;

    *ret_format = Q2_UNSAID_RAW;
    if (q2_source_posix_open(&file, path, Q2_POSIX_BLOCK_DEVICES) != Q2_OK)
        return true;
    probed = probe_file(&file.source, &name);
    q2_source_posix_close(&file);
    if (probed == PROBED_QCOW2)
        *ret_format = Q2_UNSAID_QCOW2;
    else if (probed == PROBED_FOREIGN)
        (void)q2_fail(ret_fault, Q2_ERR_UNSUPPORTED, name, path);
    return probed != PROBED_FOREIGN;
}

bool given_files(struct image *image, const struct image_options *how,
                 struct q2_disk_options *options, struct q2_fault *ret_fault)
{
    enum q2_unsaid_format of_name;

    if (how->data_file) {
        options->data_file = keep(image, how->data_file, &of_name, ret_fault);
        if (!options->data_file)
            return false;
    }
    for (uint32_t i = 0; i < how->backing_files.nb; i++) {
        struct q2_given_file *file = &image->backing_files[i];

        file->format = how->backing_files.formats[i];
        if (!how->backing_files.paths[i])
            continue;
        file->path = keep(image, how->backing_files.paths[i], &of_name, ret_fault);
        if (!file->path)
            return false;
        if (file->format == Q2_UNSAID_REFUSED)
            file->format = of_name;
        if (file->format == Q2_UNSAID_REFUSED && how->backing_format == Q2_UNSAID_REFUSED &&
            !probe_given(file->path, &file->format, ret_fault))
            return false;
    }
    options->backing_files = image->backing_files;
    options->nb_backing_files = how->backing_files.nb;
    return true;
}

bool given_formats_fit(const struct image *image, const struct image_options *how,
                       struct q2_fault *ret_fault)
{
    struct q2_layer_info layer;

    for (uint32_t i = 0; i < how->backing_files.nb; i++) {
        enum q2_unsaid_format said = how->backing_files.formats[i];

        if (said == Q2_UNSAID_REFUSED || i + 1 >= q2_disk_nb_layers(image->disk))
            continue;
        q2_disk_layer_info(image->disk, i + 1, &layer);
        if ((said == Q2_UNSAID_RAW) != (layer.format == Q2_FORMAT_RAW)) {
            (void)q2_fail(ret_fault, Q2_ERR_ARGUMENT,
                          "the image above states another format of this file than backing.driver",
                          layer.source->path);
            return false;
        }
    }
    return true;
}

void given_free(struct image *image)
{
    for (size_t i = 0; i < sizeof(image->names) / sizeof(image->names[0]); i++)
        free(image->names[i]);
}
