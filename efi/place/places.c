/* The table of places.
 *
 * Calls the kinds in their order. Invariant: a handle is opened by the first kind that knows it.
 */
#include "place.h"

#include "q2_fail.h"
#include "efi/base/firmware.h"

static const struct mc_place_kind *const kinds[] = {&mc_place_fat, &mc_place_file_system};
#define NB_KINDS (sizeof(kinds) / sizeof(kinds[0]))

enum q2_status mc_place_open(EFI_HANDLE handle, struct q2_fault *fault, struct q2_place **ret_place)
{
    enum q2_status status = Q2_ERR_UNSUPPORTED;

    for (size_t i = 0; i < NB_KINDS && status == Q2_ERR_UNSUPPORTED; i++)
        status = kinds[i]->open(handle, fault, ret_place);
    if (status == Q2_ERR_UNSUPPORTED)
        (void)q2_fail(fault, status,
                      "the firmware cannot read files on this volume; copy them to a FAT volume",
                      NULL);
    return status;
}

void mc_place_close(struct q2_place *place)
{
    if (place)
        place->ops->close(place);
}

EFI_GUID *mc_place_held(EFI_HANDLE handle)
{
    for (size_t i = 0; i < NB_KINDS; i++) {
        if (mc_protocol(handle, kinds[i]->held))
            return kinds[i]->held;
    }
    return NULL;
}
