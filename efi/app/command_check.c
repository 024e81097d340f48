/* check: consistency of an image and its repair, in the words of qemu-img.
 *
 * Opens the image's metadata with an engine of its own, and no other file. Invariant: a file that
 * an attached disk uses is not changed.
 */
#include "efi/image/attach.h"
#include "efi/image/room.h"
#include "commands.h"
#include "efi/base/console.h"
#include "efi/base/firmware.h"
#include "efi/base/text.h"
#include "q2_fail.h"
#include "q2_report.h"

/* Findings that are printed; a broken image has millions, and a console is slow. */
#define MAX_PRINTED 100u

/* A check that takes longer shows a bar; units of 100 ns. */
#define BAR_DELAY 10000000ull

struct printer {
    struct q2_check_reporter reporter; /* first */
    uint32_t cluster_bits;
    uint32_t nb_printed;
    EFI_EVENT delay; /* NULL: no bar */
    bool is_slow;    /* the delay is over */
    bool has_bar;    /* the cursor is after a bar that has not ended its line */
};

static void start_bar(struct printer *printer)
{
    EFI_BOOT_SERVICES *services = mc_firmware.BootServices;

    if (EFI_ERROR(services->CreateEvent(EVT_TIMER, TPL_CALLBACK, NULL, NULL, &printer->delay)))
        printer->delay = NULL;
    else
        (void)services->SetTimer(printer->delay, TimerRelative, BAR_DELAY);
}

/* Start a new line if the cursor is after a bar. */
static void leave_bar(struct printer *printer)
{
    if (printer->has_bar)
        mc_print("\n");
    printer->has_bar = false;
}

static void end_bar(struct printer *printer)
{
    leave_bar(printer);
    if (printer->delay)
        (void)mc_firmware.BootServices->CloseEvent(printer->delay);
    printer->delay = NULL;
}

/* CheckEvent() reports the timer only once, so is_slow remembers it. */
static void show_progress(struct q2_check_reporter *reporter, uint64_t done, uint64_t total)
{
    struct printer *printer = (struct printer *)reporter;

    if (!printer->delay)
        return;
    if (!printer->is_slow && EFI_ERROR(mc_firmware.BootServices->CheckEvent(printer->delay)))
        return;
    printer->is_slow = true;
    mc_print_bar("checking", done, total);
    printer->has_bar = done < total; /* else it has ended its line */
}

static void print_finding(struct q2_check_reporter *reporter,
                          const struct q2_check_finding *finding)
{
    struct printer *printer = (struct printer *)reporter;
    char line[256];

    leave_bar(printer);
    if (printer->nb_printed == MAX_PRINTED)
        mc_print("(more are only counted)\n");
    if (printer->nb_printed++ >= MAX_PRINTED)
        return;
    (void)q2_check_finding_format(finding, printer->cluster_bits, line, sizeof(line));
    mc_print(line);
    mc_print("\n");
}

/* Exit statuses, so that a script in the shell can tell the results apart. */
static EFI_STATUS status_of(const struct q2_check_result *result)
{
    if (result->check_errors > 0)
        return EFI_DEVICE_ERROR;
    return result->corruptions > 0 ? EFI_VOLUME_CORRUPTED : EFI_SUCCESS;
}

enum wish {
    WISH_CHECK,
    WISH_LEAKS,
    WISH_ALL
};

/* What -r asks for. */
static enum q2_status get_wish(struct mc_session *session, enum wish *ret_wish)
{
    const char *word = session->line.repair;

    *ret_wish = WISH_CHECK;
    if (!word)
        return Q2_OK;
    *ret_wish = q2_text_equal(word, "all") ? WISH_ALL : WISH_LEAKS;
    if (*ret_wish == WISH_ALL || q2_text_equal(word, "leaks"))
        return Q2_OK;
    return q2_fail(&session->fault, Q2_ERR_ARGUMENT, "-r takes leaks or all", word);
}

static enum q2_status repair(struct mc_image *image, enum wish wish,
                             struct q2_check_reporter *reporter, struct q2_repair_result *result,
                             struct q2_fault *fault)
{
    enum q2_repair what = wish == WISH_ALL ? Q2_REPAIR_ALL : Q2_REPAIR_LEAKS;
    struct q2_layer_info info;
    enum q2_status status = mc_image_prepare_cache(image, fault);

    if (status != Q2_OK)
        return status;
    q2_disk_layer_info(image->disk, 0, &info);
    status = q2_disk_repair(image->disk, what, reporter, result);
    if (status == Q2_ERR_NO_SPACE) {
        status = mc_image_make_repair_room(image, info.header->cluster_bits, fault);
        if (status != Q2_OK)
            return status;
        status = q2_disk_repair(image->disk, what, reporter, result);
    }
    if (status != Q2_OK)
        *fault = *q2_disk_fault(image->disk);
    return status;
}

static void print_repaired(const struct q2_repair_result *result)
{
    char text[200];
    struct q2_line line = q2_line_start(text, sizeof(text));

    if (result->leaks_fixed + result->corruptions_fixed == 0)
        return;
    q2_line_put(&line, "The following inconsistencies were found and repaired:\n\n    ");
    q2_line_put_number(&line, result->leaks_fixed, 10);
    q2_line_put(&line, " leaked clusters\n    ");
    q2_line_put_number(&line, result->corruptions_fixed, 10);
    q2_line_put(&line, " corruptions\n\nDouble checking the fixed image now...\n");
    mc_print(text);
}

/* Not inlined, because its text and the caller's image need too much of the stack together. */
__attribute__((noinline)) static void print_result(const struct q2_check_result *result)
{
    char text[Q2_CHECK_TEXT_SIZE];

    (void)q2_check_result_format(result, text, sizeof(text));
    mc_print(text);
}

static enum q2_status check(struct mc_image *image, enum wish wish, struct q2_repair_result *result,
                            struct q2_fault *fault)
{
    struct printer printer = {.reporter = {.report = print_finding, .progress = show_progress}};
    struct q2_layer_info info;
    enum q2_status status;

    q2_disk_layer_info(image->disk, 0, &info);
    if (!info.header)
        return q2_fail(fault, Q2_ERR_UNSUPPORTED,
                       "only a qcow2 image can be checked, and this file is read as raw",
                       image->file->source->path);
    printer.cluster_bits = info.header->cluster_bits;
    if (wish != WISH_CHECK) {
        status = repair(image, wish, &printer.reporter, result, fault);
    } else {
        start_bar(&printer);
        status = q2_disk_check(image->disk, &printer.reporter, &result->left);
        end_bar(&printer);
        if (status != Q2_OK)
            *fault = *q2_disk_fault(image->disk);
    }
    if (status != Q2_OK)
        return status;
    print_repaired(result);
    print_result(&result->left);
    return Q2_OK;
}

/* Give back the room that the repair did not use. If that fails, the file is only longer. */
static void give_back(struct mc_image *image)
{
    struct q2_fault fault;

    if (mc_image_give_back(image, &fault) != Q2_OK)
        mc_say_fault(&fault);
}

/* A disk that works with the file would not know what the repair has changed. */
static enum q2_status refuse_attached(struct mc_session *session, const struct mc_image *image)
{
    struct mc_control *control;

    if (mc_client_open(&session->client, false, &session->fault) != Q2_OK)
        return session->fault.status == Q2_ERR_NOT_FOUND ? Q2_OK : session->fault.status;
    control = session->client.control;
    if (control->MayChange(control, image->file->source->identity) == EFI_SUCCESS)
        return Q2_OK;
    return q2_fail(
        &session->fault, Q2_ERR_BUSY,
        "an attached disk uses this file, so it is not repaired; take that disk away first, with "
        "'metalcow detach'",
        image->file->source->path);
}

static enum q2_status open_image(struct mc_session *session, enum wish wish,
                                 struct mc_image **ret_image)
{
    const struct mc_disk_spec *spec = &session->image.spec;
    struct mc_image *image;
    enum q2_status status =
        mc_image_open(session->image.volume, spec, true, &session->fault, &image);

    if (status != Q2_OK || wish == WISH_CHECK) {
        *ret_image = status == Q2_OK ? image : NULL;
        return status;
    }
    status = refuse_attached(session, image);
    mc_image_close(image);
    if (status != Q2_OK)
        return status;
    return mc_image_open_damaged(session->image.volume, spec, &session->fault, ret_image);
}

EFI_STATUS mc_command_check(struct mc_session *session)
{
    struct q2_repair_result result = {.leaks_fixed = 0};
    struct mc_image *image;
    enum wish wish;
    enum q2_status status = get_wish(session, &wish);

    if (status == Q2_OK)
        status = mc_session_image(session);
    if (status == Q2_OK)
        status = open_image(session, wish, &image);
    if (status == Q2_OK) {
        status = check(image, wish, &result, &session->fault);
        give_back(image);
        mc_image_close(image);
    }
    mc_image_arguments_free(session);
    return status == Q2_OK ? status_of(&result.left) : mc_session_fail(session);
}
