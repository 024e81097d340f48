/* Driver Diagnostics 2.
 *
 * May call the registry and the engine's check. Invariant: the volume and its disks stay while
 * their files are looked at.
 */
#include "diagnostics.h"

#include "component_name.h"
#include "efi/base/firmware.h"
#include "efi/base/text.h"
#include "efi/image/attach.h"
#include "q2_check.h"
#include "q2_report.h"
#include "volumes.h"
#include "registry.h"

/* The text of one run: a few lines for each disk. */
#define TEXT_SIZE 8192u

/* Findings that are named; the rest is counted. */
#define MAX_NAMED 16u

struct run {
    struct q2_check_reporter reporter; /* first */
    struct q2_line text;
    uint32_t cluster_bits;
    uint32_t nb_named;
    bool has_failed;
};

static void name_finding(struct q2_check_reporter *reporter, const struct q2_check_finding *finding)
{
    struct run *run = (struct run *)reporter;
    char line[256];

    if (run->nb_named++ >= MAX_NAMED)
        return;
    (void)q2_check_finding_format(finding, run->cluster_bits, line, sizeof(line));
    q2_line_put(&run->text, line);
    q2_line_put(&run->text, "\n");
}

/* Neither this nor put_fault() is inlined, because both together need too much of the stack. */
__attribute__((noinline)) static enum q2_status
check_image(struct run *run, const struct mc_image *image, struct q2_fault *fault)
{
    struct q2_check_result result;
    char text[Q2_CHECK_TEXT_SIZE];
    struct q2_layer_info info;
    enum q2_status status;

    q2_disk_layer_info(image->disk, 0, &info);
    if (!info.header) {
        q2_line_put(&run->text, "a raw image has nothing to check\n");
        return Q2_OK;
    }
    run->cluster_bits = info.header->cluster_bits;
    run->nb_named = 0;
    status = q2_disk_check(image->disk, &run->reporter, &result);
    if (status != Q2_OK) {
        *fault = *q2_disk_fault(image->disk);
        return status;
    }
    (void)q2_check_result_format(&result, text, sizeof(text));
    q2_line_put(&run->text, text);
    run->has_failed = run->has_failed || result.corruptions > 0 || result.check_errors > 0;
    return Q2_OK;
}

__attribute__((noinline)) static void put_fault(struct run *run, const struct q2_fault *fault)
{
    char why[400];

    (void)q2_fault_format(fault, why, sizeof(why));
    q2_line_put(&run->text, why);
    q2_line_put(&run->text, "\n");
}

/* Check the file of a disk's image with an engine of its own. The disk still serves requests. */
static void check_disk(struct run *run, struct mc_disk *disk)
{
    EFI_BLOCK_IO_PROTOCOL *protocol = &disk->published.block_io.protocol;
    uint32_t layer = disk->image->mode == MC_MODE_OVERLAY ? 1 : 0;
    struct mc_disk_spec spec;
    struct q2_layer_info info;
    struct mc_image *image;
    struct q2_fault fault;
    enum q2_status status;

    if (!protocol->Media->ReadOnly)
        (void)protocol->FlushBlocks(protocol); /* a failure shows: what is in the file is checked */
    mc_spec_init(&spec);
    q2_disk_layer_info(disk->image->disk, layer, &info);
    spec.image = disk->image->file->source->path;
    spec.format = info.format;
    q2_line_put_escaped(&run->text, spec.image);
    q2_line_put(&run->text, ":\n");
    status = mc_image_open(disk->image->volume, &spec, true, &fault, &image);
    if (status == Q2_OK) {
        status = check_image(run, image, &fault);
        mc_image_close(image);
    }
    if (status == Q2_OK)
        return;
    run->has_failed = true;
    put_fault(run, &fault);
}

/* The volume is held still, so no disk of it comes or goes. */
static void check_all(struct run *run, EFI_HANDLE volume, const struct mc_disk *child)
{
    for (struct mc_disk *disk = mc_registry_first(); disk; disk = mc_registry_next(disk)) {
        if (disk->published.volume == volume && (!child || disk == child))
            check_disk(run, disk);
    }
    if (run->text.length == 0)
        q2_line_put(&run->text, "no disk is attached\n");
}

static EFI_STATUS check_volume(EFI_HANDLE volume, const struct mc_disk *child, UINTN *BufferSize,
                               CHAR16 **Buffer)
{
    struct run run = {.reporter = {.report = name_finding}};
    char *text = mc_alloc(TEXT_SIZE);
    CHAR16 *buffer;

    if (!text)
        return EFI_OUT_OF_RESOURCES;
    if (!mc_volume_hold_still(volume)) {
        mc_free(text);
        return EFI_NOT_READY;
    }
    run.text = q2_line_start(text, TEXT_SIZE);
    check_all(&run, volume, child);
    mc_volume_let_go(volume);
    buffer = mc_to_ucs2(text);
    mc_free(text);
    if (!buffer)
        return EFI_OUT_OF_RESOURCES;
    *BufferSize = 0;
    for (const CHAR16 *c = buffer; *c != 0; c++)
        *BufferSize += sizeof(*c);
    *BufferSize += sizeof(*buffer);
    *Buffer = buffer;
    return run.has_failed ? EFI_DEVICE_ERROR : EFI_SUCCESS;
}

static EFI_STATUS EFIAPI run_diagnostics(MC_DRIVER_DIAGNOSTICS2 *This, EFI_HANDLE ControllerHandle,
                                         EFI_HANDLE ChildHandle, MC_DIAGNOSTICS_TYPE DiagnosticType,
                                         CHAR8 *Language, EFI_GUID **ErrorType, UINTN *BufferSize,
                                         CHAR16 **Buffer)
{
    const struct mc_disk *child = ChildHandle ? mc_registry_find_handle(ChildHandle) : NULL;

    (void)This;
    if (!ControllerHandle || !Language || !ErrorType || !BufferSize || !Buffer)
        return EFI_INVALID_PARAMETER;
    if (DiagnosticType != MC_DIAGNOSTICS_STANDARD || !mc_is_english(Language) ||
        !mc_volume_is_held(ControllerHandle))
        return EFI_UNSUPPORTED;
    if (ChildHandle && (!child || child->published.volume != ControllerHandle))
        return EFI_UNSUPPORTED;
    if (mc_current_tpl() > TPL_APPLICATION)
        return EFI_NOT_READY; /* it takes long */
    *ErrorType = &mc_driver_diagnostics2_guid;
    return check_volume(ControllerHandle, child, BufferSize, Buffer);
}

static CHAR8 languages[] = "en";

MC_DRIVER_DIAGNOSTICS2 mc_driver_diagnostics2 = {
    .RunDiagnostics = run_diagnostics,
    .SupportedLanguages = languages,
};
