/* The files of an opened image against the sums of its entry, with a bar for a person.
 *
 * May call verify.c, the engine and the console. Invariant: the image is as it was.
 */
#include "verify_image.h"

#include "efi/base/console.h"
#include "efi/base/firmware.h"
#include "q2_disk.h"
#include "q2_fail.h"
#include "verify.h"

/* Large reads are fast on every bus; smaller ones save nothing that matters beside an image. */
#define BUFFER_SIZE (1024u * 1024)

/* Below this it takes no time that needs a bar. */
#define QUICK_SIZE (8u * 1024 * 1024)

/* Draw the bar once for each per cent, because a serial console is slow. At most BUFFER_SIZE bytes
 * were read since the last call. */
static void draw(uint64_t done, uint64_t total)
{
    uint64_t before = done > BUFFER_SIZE ? done - BUFFER_SIZE : 0;

    if (total >= QUICK_SIZE && (done == total || done * 100 / total != before * 100 / total))
        mc_print_bar("verifying", done, total);
}

/* Top down, each layer's file and then its data file. The overlay of mode overlay is no file. */
static void list_files(const struct mc_image *image, struct mc_verification *verification)
{
    uint32_t first = image->mode == MC_MODE_OVERLAY ? 1 : 0;

    for (uint32_t i = first; i < q2_disk_nb_layers(image->disk); i++) {
        struct q2_layer_info info;
        q2_disk_layer_info(image->disk, i, &info);
        mc_verification_add(verification, info.source);
        if (info.data_source && info.data_source != info.source)
            mc_verification_add(verification, info.data_source);
    }
}

enum q2_status mc_image_verify(const struct mc_image *image, const struct mc_disk_spec *spec,
                               struct q2_fault *fault)
{
    struct mc_verification verification = {
        .sums = spec->sums, .buffer_size = BUFFER_SIZE, .tell = draw};
    enum q2_status status;

    if (!spec->sums[0])
        return Q2_OK;
    if (spec->mode == MC_MODE_READ_WRITE)
        return q2_fail(fault, Q2_ERR_DENIED,
                       "verify is for files that are only read, and mode rw writes them: use mode "
                       "ro or overlay, or remove verify",
                       spec->image);
    verification.buffer = mc_alloc_pages(BUFFER_SIZE);
    if (!verification.buffer)
        return q2_fail_memory(fault);
    list_files(image, &verification);
    status = mc_verification_run(&verification, fault);
    mc_free_pages(verification.buffer, BUFFER_SIZE);
    return status;
}
