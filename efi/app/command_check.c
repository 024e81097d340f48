/* check: consistency of an image, in the words of qemu-img.
 *
 * Opens the image's metadata with an engine of its own, and no other file.
 */
#include "efi/image/attach.h"
#include "commands.h"
#include "efi/base/console.h"
#include "q2_fail.h"
#include "q2_report.h"

/* Findings that are printed; a broken image has millions, and a console is slow. */
#define MAX_PRINTED 100u

struct printer {
    struct q2_check_reporter reporter; /* first */
    uint32_t cluster_bits;
    uint32_t nb_printed;
};

static void print_finding(struct q2_check_reporter *reporter,
                          const struct q2_check_finding *finding)
{
    struct printer *printer = (struct printer *)reporter;
    char line[256];

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

static enum q2_status check(const struct mc_image *image, struct q2_check_result *result,
                            struct q2_fault *fault)
{
    struct printer printer = {.reporter = {.report = print_finding}};
    char text[Q2_CHECK_TEXT_SIZE];
    struct q2_layer_info info;
    enum q2_status status;

    q2_disk_layer_info(image->disk, 0, &info);
    if (!info.header)
        return q2_fail(fault, Q2_ERR_UNSUPPORTED, "This image format does not support checks",
                       image->file->source->path);
    printer.cluster_bits = info.header->cluster_bits;
    status = q2_disk_check(image->disk, &printer.reporter, result);
    if (status != Q2_OK) {
        *fault = *q2_disk_fault(image->disk);
        return status;
    }
    (void)q2_check_result_format(result, text, sizeof(text));
    mc_print(text);
    return Q2_OK;
}

EFI_STATUS mc_command_check(struct mc_session *session)
{
    struct q2_check_result result = {.corruptions = 0};
    struct mc_image *image;
    enum q2_status status = mc_session_image(session);

    if (status == Q2_OK)
        status = mc_image_open(session->image.volume, &session->image.spec, true, &session->fault,
                               &image);
    if (status == Q2_OK) {
        status = check(image, &result, &session->fault);
        mc_image_close(image);
    }
    mc_image_arguments_free(session);
    return status == Q2_OK ? status_of(&result) : mc_session_fail(session);
}
