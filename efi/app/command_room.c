/* room: give room back that a disk has not used.
 *
 * May call the driver.
 */
#include "commands.h"
#include "efi/base/console.h"
#include "efi/base/text.h"
#include "q2_fail.h"

EFI_STATUS mc_command_room(struct mc_session *session)
{
    struct mc_control *control;
    uint32_t number;
    EFI_STATUS status;

    if (mc_client_open(&session->client, false, &session->fault) != Q2_OK)
        return mc_session_fail(session);
    if (!mc_number_parse(session->line.operand, &number)) {
        (void)q2_fail(&session->fault, Q2_ERR_ARGUMENT, "no disk's number; see 'metalcow list'",
                      session->line.operand);
        return mc_session_fail(session);
    }
    control = session->client.control;
    status = control->GiveBack(control, number, (CHAR8 *)session->message);
    if (EFI_ERROR(status))
        mc_say(session->message);
    return status;
}
