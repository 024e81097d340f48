/* Filling a struct q2_fault in efi/: like core/base/fault.h, which belongs to the engine. */
#ifndef METALCOW_EFI_FAIL_H
#define METALCOW_EFI_FAIL_H

#include "q2_status.h"
#include "text.h"

/* status  not Q2_OK
 * what    static text, what is wrong; NULL for the status' own text
 * path    name of the file at fault, copied and cut; NULL if none
 */
static inline enum q2_status mc_fail(struct q2_fault *fault, enum q2_status status,
                                     const char *what, const char *path)
{
    *fault = (struct q2_fault){.status = status, .what = what};
    if (path)
        (void)mc_text_copy(fault->file, sizeof(fault->file), path);
    return status;
}

static inline enum q2_status mc_fail_memory(struct q2_fault *fault)
{
    return mc_fail(fault, Q2_ERR_LIMIT, "out of memory", NULL);
}

#endif
