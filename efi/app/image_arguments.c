/* Image names and options on the command line, as what the driver is asked for.
 *
 * Calls arguments.c. Invariant: all files of one disk are on one volume.
 */
#include "commands.h"
#include "q2_fail.h"
#include "efi/base/text.h"
#include "efi/base/firmware.h"

/* Find a file that a word names, and keep its path. The first one decides about the volume. */
static enum q2_status locate(struct mc_session *session, const char *word, const char **ret_path)
{
    struct mc_image_arguments *image = &session->image;
    struct mc_location location;
    enum q2_status status = mc_locate(word, &session->fault, &location);

    if (status != Q2_OK)
        return status;
    image->paths[image->nb_paths++] = location.path;
    *ret_path = location.path;
    if (!image->volume)
        image->volume = location.volume;
    if (location.volume == image->volume)
        return Q2_OK;
    return q2_fail(
        &session->fault, Q2_ERR_UNSUPPORTED,
        "is not on the image's volume; copy it there, because all files of a disk must be together",
        word);
}

/* The files of one key, each in place of the word that names it. */
static enum q2_status locate_key(struct mc_session *session, const struct mc_spec_key *key)
{
    const char **word = mc_spec_string(&session->image.spec, key, 0);
    enum q2_status status = Q2_OK;

    for (size_t i = 0; word && *word && status == Q2_OK;) {
        status = locate(session, *word, word);
        word = mc_spec_string(&session->image.spec, key, ++i);
    }
    return status;
}

enum q2_status mc_image_arguments_get(struct mc_session *session)
{
    struct mc_disk_spec *spec = &session->image.spec;
    enum q2_status status = locate(session, session->line.operand, &spec->image);

    for (size_t i = 0; i < mc_spec_nb_keys && status == Q2_OK; i++) {
        const struct mc_spec_key *key = &mc_spec_keys[i];
        if (key->option && (key->kind == MC_SPEC_PATH || key->kind == MC_SPEC_PATHS))
            status = locate_key(session, key);
    }
    return status;
}

static enum q2_status get_attached(struct mc_session *session, uint32_t number)
{
    struct mc_image_arguments *image = &session->image;
    enum q2_status status = mc_client_open(&session->client, false, &session->fault);
    char *path;

    if (status != Q2_OK)
        return status;
    if (!mc_session_find(session, number))
        return q2_fail(&session->fault, Q2_ERR_NOT_FOUND,
                       "no disk has this number; see 'metalcow list'", session->line.operand);
    path = mc_copy_text((const char *)session->record.image);
    if (!path)
        return q2_fail_memory(&session->fault);
    image->volume = session->record.volume;
    image->paths[image->nb_paths++] = path;
    image->spec.image = path;
    return Q2_OK;
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

    while (image->nb_paths > 0)
        mc_free(image->paths[--image->nb_paths]);
    image->volume = NULL;
    mc_spec_init(&image->spec);
}
