/* Image names and options on the command line, as what the driver is asked for.
 *
 * Below the commands; calls arguments.c. Invariant: all files of one disk lie on one volume.
 */
#include "commands.h"
#include "fail.h"
#include "firmware.h"

/* A word that an option knows. */
struct choice {
    const char *word;
    int value;
};

static const struct choice name_policies[] = {
    {"below", Q2_NAMES_BELOW}, {"none", Q2_NAMES_NONE}, {"any", Q2_NAMES_ANY}, {NULL, 0}};
static const struct choice formats[] = {
    {"qcow2", Q2_FORMAT_QCOW2}, {"raw", Q2_FORMAT_RAW}, {NULL, 0}};

/* *value stays if the option was not given. */
static enum q2_status choose(const struct choice *choices, const char *word, struct q2_fault *fault,
                             int *value)
{
    for (; word && choices->word; choices++) {
        if (mc_text_equal(choices->word, word)) {
            *value = choices->value;
            return Q2_OK;
        }
    }
    return word ? mc_fail(fault, Q2_ERR_ARGUMENT, "no such choice", word) : Q2_OK;
}

static enum q2_status choose_all(const struct mc_command_line *line, struct q2_fault *fault,
                                 struct mc_attach_options *attach)
{
    int names = Q2_NAMES_BELOW, format = Q2_FORMAT_QCOW2;
    enum q2_status status = choose(name_policies, line->names, fault, &names);

    if (status == Q2_OK)
        status = choose(formats, line->format, fault, &format);
    attach->names = (enum q2_name_policy)names;
    attach->format = (enum q2_image_format)format;
    attach->snapshot = line->snapshot;
    return status;
}

/* A file beside the image. *ret_path stays NULL if it was not given. */
static enum q2_status locate_beside(const struct mc_location *image, const char *word,
                                    struct q2_fault *fault, struct mc_location *location,
                                    const char **ret_path)
{
    enum q2_status status;

    if (!word)
        return Q2_OK;
    status = mc_locate(word, fault, location);
    if (status != Q2_OK)
        return status;
    *ret_path = location->path;
    if (location->volume == image->volume)
        return Q2_OK;
    return mc_fail(fault, Q2_ERR_UNSUPPORTED, "not on the image's volume", word);
}

enum q2_status mc_image_arguments_get(const struct mc_command_line *line, struct q2_fault *fault,
                                      struct mc_image_arguments *ret_image)
{
    struct mc_attach_options *attach = &ret_image->options;
    enum q2_status status;

    *ret_image = (struct mc_image_arguments){.options = {.image = NULL}};
    status = choose_all(line, fault, attach);
    if (status == Q2_OK)
        status = mc_locate(line->operand, fault, &ret_image->image);
    attach->image = ret_image->image.path;
    if (status == Q2_OK)
        status = locate_beside(&ret_image->image, line->data_file, fault, &ret_image->data_file,
                               &attach->data_file);
    if (status == Q2_OK)
        status = locate_beside(&ret_image->image, line->backing_file, fault,
                               &ret_image->backing_file, &attach->backing_file);
    if (status != Q2_OK)
        mc_image_arguments_free(ret_image);
    return status;
}

void mc_image_arguments_free(struct mc_image_arguments *image)
{
    mc_free(image->image.path);
    mc_free(image->data_file.path);
    mc_free(image->backing_file.path);
    *image = (struct mc_image_arguments){.options = {.image = NULL}};
}
