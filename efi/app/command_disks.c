/* attach, list, detach: disks of the resident driver.
 *
 * May call the driver, through control_client.c.
 */
#include "commands.h"
#include "connect.h"
#include "efi/base/console.h"
#include "q2_fail.h"
#include "efi/base/text.h"

static void say_attached(uint32_t number, const char *image)
{
    char line[400];
    struct q2_line text = q2_line_start(line, sizeof(line));

    q2_line_put(&text, "disk ");
    q2_line_put_number(&text, number, 10);
    q2_line_put(&text, ": ");
    q2_line_put_escaped(&text, image);
    mc_say(line);
}

/* Ask the driver; connect what it published, so that the shell finds the disk's volumes. */
static EFI_STATUS attach(struct mc_session *session)
{
    struct mc_control *control = session->client.control;
    uint32_t number;
    EFI_STATUS status;

    session->image.spec.may_ask = true;
    status = control->Attach(control, session->image.volume, &session->image.spec,
                             (CHAR8 *)session->message, &number);
    if (EFI_ERROR(status)) {
        mc_say(session->message);
        return status;
    }
    say_attached(number, session->image.spec.image);
    if (mc_session_find(session, number)) {
        if (session->record.no_handoff[0] != '\0')
            mc_say((const char *)session->record.no_handoff);
        mc_connect_disk(session->record.handle);
    }
    return EFI_SUCCESS;
}

EFI_STATUS mc_command_attach(struct mc_session *session)
{
    EFI_STATUS status;

    if (mc_image_arguments_get(session) != Q2_OK ||
        mc_client_open(&session->client, true, &session->fault) != Q2_OK)
        status = mc_session_fail(session);
    else
        status = attach(session);
    mc_image_arguments_free(session);
    return status;
}

/* Indexed by enum mc_mode. */
static const char *const mode_words[] = {"  ro  ", "  rw  ", "  overlay  "};

/* Print what a person must know about a disk that can be written. */
static void put_room(struct q2_line *text, const struct mc_disk_record *record)
{
    if (record->mode == MC_MODE_READ_ONLY)
        return;
    if (record->is_read_only) {
        q2_line_put(text, "  (read-only after a write that failed)");
        return;
    }
    if (record->room == MC_ROOM_FOR_ALL)
        return;
    q2_line_put(text, "  (room for ");
    mc_put_size(text, record->room);
    q2_line_put(text, ")");
}

static void print_record(const struct mc_disk_record *record)
{
    char line[700];
    struct q2_line text = q2_line_start(line, sizeof(line));

    q2_line_put_number(&text, record->number, 10);
    q2_line_put(&text, "  ");
    mc_put_size(&text, record->size);
    q2_line_put(&text, mode_words[record->mode]);
    q2_line_put_escaped(&text, (const char *)record->image);
    if (!q2_text_equal((const char *)record->title, (const char *)record->image)) {
        q2_line_put(&text, "  ");
        q2_line_put_escaped(&text, (const char *)record->title);
    }
    put_room(&text, record);
    if (record->is_gone)
        q2_line_put(&text, "  (the medium is gone)");
    q2_line_put(&text, "\n");
    mc_print(line);
}

EFI_STATUS mc_command_list(struct mc_session *session)
{
    enum q2_status status = mc_client_open(&session->client, false, &session->fault);

    if (status != Q2_OK && status != Q2_ERR_NOT_FOUND)
        return mc_session_fail(session);
    if (status == Q2_ERR_NOT_FOUND || !mc_session_get(session, 0)) {
        mc_say("no disk is attached");
        return EFI_SUCCESS;
    }
    for (UINTN i = 0; mc_session_get(session, i); i++)
        print_record(&session->record);
    return EFI_SUCCESS;
}

static EFI_STATUS detach(struct mc_session *session, uint32_t number)
{
    struct mc_control *control = session->client.control;
    EFI_STATUS status = control->Detach(control, number, (CHAR8 *)session->message);

    if (EFI_ERROR(status))
        mc_say(session->message);
    return status;
}

/* Detach the newest disk first, because an image inside an attached image must go before the image
 * that holds it. */
static EFI_STATUS detach_all(struct mc_session *session)
{
    EFI_STATUS status = EFI_SUCCESS;

    while (!EFI_ERROR(status) && mc_session_get(session, 0)) {
        for (UINTN i = 1; mc_session_get(session, i);)
            i++;
        status = detach(session, session->record.number);
    }
    return status;
}

EFI_STATUS mc_command_detach(struct mc_session *session)
{
    uint32_t number;

    if (mc_client_open(&session->client, false, &session->fault) != Q2_OK)
        return mc_session_fail(session);
    if (q2_text_equal(session->line.operand, "all"))
        return detach_all(session);
    if (mc_number_parse(session->line.operand, &number))
        return detach(session, number);
    (void)q2_fail(
        &session->fault, Q2_ERR_ARGUMENT,
        "is not the number of a disk; 'metalcow list' shows them, and 'all' is every disk",
        session->line.operand);
    return mc_session_fail(session);
}
