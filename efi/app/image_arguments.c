/* Image names and options on the command line, as what the driver is asked for.
 *
 * Below the commands; calls arguments.c. Invariant: all files of one disk lie on one volume.
 */
#include "commands.h"
#include "efi/base/fail.h"
#include "efi/base/firmware.h"
#include "efi/config/size.h"

/* A word that an option knows. */
struct choice {
    const char *word;
    int value;
};

static const struct choice name_policies[] = {
    {"below", Q2_NAMES_BELOW}, {"none", Q2_NAMES_NONE}, {"any", Q2_NAMES_ANY}, {NULL, 0}};
static const struct choice formats[] = {
    {"qcow2", Q2_FORMAT_QCOW2}, {"raw", Q2_FORMAT_RAW}, {NULL, 0}};
static const struct choice modes[] = {
    {"ro", MC_MODE_READ_ONLY}, {"rw", MC_MODE_READ_WRITE}, {"overlay", MC_MODE_OVERLAY}, {NULL, 0}};
static const struct choice backing_formats[] = {{"raw", true}, {NULL, 0}};

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

/* *size stays if the option was not given. */
static enum q2_status take_size(const char *word, struct q2_fault *fault, uint64_t *size)
{
    if (!word || mc_size_parse(word, mc_text_length(word), size))
        return Q2_OK;
    return mc_fail(fault, Q2_ERR_ARGUMENT, "no size, such as 64M", word);
}

/* Where writes go, and what room they get. */
static enum q2_status choose_mode(struct mc_session *session)
{
    struct mc_attach_options *attach = &session->image.options;
    int mode = MC_MODE_READ_ONLY;
    enum q2_status status = choose(modes, session->line.mode, &session->fault, &mode);

    attach->mode = (enum mc_mode)mode;
    attach->overlay_size = MC_DEFAULT_OVERLAY_SIZE;
    attach->room = MC_DEFAULT_ROOM;
    if (status == Q2_OK)
        status = take_size(session->line.overlay_size, &session->fault, &attach->overlay_size);
    if (status == Q2_OK)
        status = take_size(session->line.room, &session->fault, &attach->room);
    return status;
}

static enum q2_status choose_all(struct mc_session *session)
{
    int names = Q2_NAMES_BELOW, format = Q2_FORMAT_QCOW2, backing_raw = false;
    struct mc_attach_options *attach = &session->image.options;
    enum q2_status status = choose(name_policies, session->line.names, &session->fault, &names);

    if (status == Q2_OK)
        status = choose(formats, session->line.format, &session->fault, &format);
    if (status == Q2_OK)
        status =
            choose(backing_formats, session->line.backing_format, &session->fault, &backing_raw);
    attach->names = (enum q2_name_policy)names;
    attach->format = (enum q2_image_format)format;
    attach->backing_raw = backing_raw;
    attach->snapshot = session->line.snapshot;
    return status == Q2_OK ? choose_mode(session) : status;
}

/* A file beside the image. *ret_path stays NULL if it was not given. */
static enum q2_status locate_beside(struct mc_session *session, const char *word,
                                    struct mc_location *location, const char **ret_path)
{
    enum q2_status status;

    if (!word)
        return Q2_OK;
    status = mc_locate(word, &session->fault, location);
    if (status != Q2_OK)
        return status;
    *ret_path = location->path;
    if (location->volume == session->image.image.volume)
        return Q2_OK;
    return mc_fail(&session->fault, Q2_ERR_UNSUPPORTED, "not on the image's volume", word);
}

enum q2_status mc_image_arguments_get(struct mc_session *session)
{
    struct mc_image_arguments *image = &session->image;
    enum q2_status status = choose_all(session);

    if (status == Q2_OK)
        status = mc_locate(session->line.operand, &session->fault, &image->image);
    image->options.image = image->image.path;
    if (status == Q2_OK)
        status = locate_beside(session, session->line.data_file, &image->data_file,
                               &image->options.data_file);
    if (status == Q2_OK)
        status = locate_beside(session, session->line.backing_file, &image->backing_file,
                               &image->options.backing_file);
    if (status == Q2_OK)
        status = locate_beside(session, session->line.passphrase_file, &image->passphrase_file,
                               &image->options.passphrase_file);
    if (status == Q2_OK)
        status = locate_beside(session, session->line.key_file, &image->key_file,
                               &image->options.key_file);
    return status;
}

static enum q2_status get_attached(struct mc_session *session, uint32_t number)
{
    struct mc_image_arguments *image = &session->image;
    enum q2_status status = mc_client_open(&session->client, false, &session->fault);

    if (status != Q2_OK)
        return status;
    if (!mc_session_find(session, number))
        return mc_fail(&session->fault, Q2_ERR_NOT_FOUND, "no disk has this number",
                       session->line.operand);
    image->image.volume = session->record.volume;
    image->image.path = mc_copy_text((const char *)session->record.image);
    image->options.image = image->image.path;
    return image->image.path ? Q2_OK : mc_fail_memory(&session->fault);
}

enum q2_status mc_session_image(struct mc_session *session)
{
    uint32_t number;

    if (mc_number_parse(session->line.operand, &number))
        return get_attached(session, number);
    return mc_image_arguments_get(session);
}

void mc_image_arguments_free(struct mc_session *session)
{
    struct mc_image_arguments *image = &session->image;

    mc_free(image->image.path);
    mc_free(image->data_file.path);
    mc_free(image->backing_file.path);
    mc_free(image->passphrase_file.path);
    mc_free(image->key_file.path);
    *image = (struct mc_image_arguments){.options = {.image = NULL}};
}
