/* map: which file has which part of the disk, in the words of qemu-img.
 *
 * Opens the image with all its files in an engine of its own.
 */
#include "efi/image/attach.h"
#include "commands.h"
#include "efi/base/console.h"
#include "q2_fail.h"
#include "efi/base/firmware.h"
#include "q2_report.h"

/* Three columns and a path. */
#define LINE_SIZE 400u

static enum q2_status print_entry(const struct q2_map_entry *entry, struct q2_fault *fault)
{
    char line[LINE_SIZE];

    if (!q2_map_entry_has_place(entry))
        return q2_fail(fault, Q2_ERR_UNSUPPORTED, Q2_MAP_REFUSAL, NULL);
    if (q2_map_entry_format(entry, line, sizeof(line)) > 0) {
        mc_print(line);
        mc_print("\n");
    }
    return Q2_OK;
}

/* Print the disk from start to end. Neighbouring extents of the same kind share a line. */
static enum q2_status print_entries(const struct mc_image *image, struct q2_fault *fault)
{
    uint64_t size = q2_disk_size(image->disk);
    struct q2_map_entry run = {.length = 0}, next;
    struct q2_extent extent;
    enum q2_status status;

    for (uint64_t at = 0; at < size; at += extent.length) {
        status = q2_disk_map(image->disk, at, size - at, &extent);
        if (status != Q2_OK) {
            *fault = *q2_disk_fault(image->disk);
            return status;
        }
        q2_map_entry_get(image->disk, &extent, &next);
        if (q2_map_entry_join(&run, &next))
            continue;
        status = run.length > 0 ? print_entry(&run, fault) : Q2_OK;
        if (status != Q2_OK)
            return status;
        run = next;
    }
    return run.length > 0 ? print_entry(&run, fault) : Q2_OK;
}

EFI_STATUS mc_command_map(struct mc_session *session)
{
    struct q2_fault *fault = &session->fault;
    struct mc_image *image;
    enum q2_status status = mc_image_arguments_get(session);

    session->image.spec.may_ask = true;
    session->image.spec.mode = MC_MODE_READ_ONLY;
    if (status == Q2_OK)
        status = mc_image_open(session->image.volume, &session->image.spec, false, fault, &image);
    if (status == Q2_OK) {
        mc_print(Q2_MAP_HEADING "\n");
        status = print_entries(image, fault);
        mc_image_close(image);
    }
    mc_image_arguments_free(session);
    return status == Q2_OK ? EFI_SUCCESS : mc_session_fail(session);
}
