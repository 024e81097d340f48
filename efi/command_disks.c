/* attach, list, detach: disks of the resident driver.
 *
 * Below commands.c; calls the driver through control_client.c.
 */
#include "commands.h"
#include "connect.h"
#include "console.h"
#include "control_client.h"
#include "fail.h"

/* A program runs one command, and firmware's stack is small (hazard U3). */
static struct {
    CHAR8 message[MC_MESSAGE_SIZE];
    char line[700];
    struct mc_disk_record record;
} scratch;

static void say_attached(const struct mc_client *client, uint32_t number, const char *image)
{
    struct mc_text text;

    (void)client;
    mc_text_init(&text, scratch.line, sizeof(scratch.line));
    mc_text_put(&text, "disk ");
    mc_text_put_number(&text, number);
    mc_text_put(&text, ": ");
    mc_text_put_escaped(&text, image);
    mc_say(scratch.line);
}

/* Find a disk's record by number. */
static bool find_record(const struct mc_client *client, uint32_t number,
                        struct mc_disk_record *record)
{
    for (UINTN i = 0; !EFI_ERROR(client->control->Get(client->control, i, record)); i++) {
        if (record->number == number)
            return true;
    }
    return false;
}

EFI_STATUS mc_command_attach(const struct mc_command_line *line)
{
    struct mc_image_arguments image;
    struct mc_client client;
    struct q2_fault fault;
    uint32_t number;
    EFI_STATUS status;

    if (mc_client_open(&client, true, &fault) != Q2_OK ||
        mc_image_arguments_get(line, &fault, &image) != Q2_OK)
        return mc_command_fail(&fault);
    status = client.control->Attach(client.control, image.image.volume, &image.options,
                                    scratch.message, &number);
    if (EFI_ERROR(status)) {
        mc_say((const char *)scratch.message);
    } else {
        if (find_record(&client, number, &scratch.record))
            mc_connect_disk(scratch.record.handle);
        say_attached(&client, number, image.options.image);
    }
    mc_image_arguments_free(&image);
    return status;
}

static void print_record(const struct mc_disk_record *record)
{
    struct mc_text text;

    mc_text_init(&text, scratch.line, sizeof(scratch.line));
    mc_text_put_number(&text, record->number);
    mc_text_put(&text, "  ");
    mc_text_put_size(&text, record->size);
    mc_text_put(&text, record->is_read_only ? "  ro  " : "  rw  ");
    mc_text_put_escaped(&text, (const char *)record->image);
    if (!mc_text_equal((const char *)record->title, (const char *)record->image)) {
        mc_text_put(&text, "  ");
        mc_text_put_escaped(&text, (const char *)record->title);
    }
    if (record->is_gone)
        mc_text_put(&text, "  (the medium is gone)");
    mc_text_put(&text, "\n");
    mc_print(scratch.line);
}

EFI_STATUS mc_command_list(const struct mc_command_line *line)
{
    struct mc_disk_record *record = &scratch.record;
    struct mc_client client;
    struct q2_fault fault;
    enum q2_status status = mc_client_open(&client, false, &fault);

    (void)line;
    if (status == Q2_ERR_NOT_FOUND) {
        mc_say("no disk is attached");
        return EFI_SUCCESS;
    }
    if (status != Q2_OK)
        return mc_command_fail(&fault);
    for (UINTN i = 0; !EFI_ERROR(client.control->Get(client.control, i, record)); i++)
        print_record(record);
    if (EFI_ERROR(client.control->Get(client.control, 0, record)))
        mc_say("no disk is attached");
    return EFI_SUCCESS;
}

/* The last one first: an image inside an attached image goes before the one that holds it. */
static EFI_STATUS detach_all(const struct mc_client *client, CHAR8 *message)
{
    struct mc_disk_record *record = &scratch.record;
    EFI_STATUS status = EFI_SUCCESS;

    message[0] = '\0';
    while (!EFI_ERROR(status) && !EFI_ERROR(client->control->Get(client->control, 0, record))) {
        for (UINTN i = 1; !EFI_ERROR(client->control->Get(client->control, i, record));)
            i++;
        status = client->control->Detach(client->control, record->number, message);
    }
    return status;
}

EFI_STATUS mc_command_detach(const struct mc_command_line *line)
{
    CHAR8 *message = scratch.message;
    struct mc_client client;
    struct q2_fault fault;
    uint32_t number;
    EFI_STATUS status;

    if (mc_client_open(&client, false, &fault) != Q2_OK)
        return mc_command_fail(&fault);
    if (mc_text_equal(line->operand, "all")) {
        status = detach_all(&client, message);
    } else if (mc_number_parse(line->operand, &number)) {
        status = client.control->Detach(client.control, number, message);
    } else {
        (void)mc_fail(&fault, Q2_ERR_ARGUMENT, "not a disk's number; see 'metalcow list'",
                      line->operand);
        return mc_command_fail(&fault);
    }
    if (EFI_ERROR(status))
        mc_say((const char *)message);
    return status;
}
