/* Comparing the files of a disk with the SHA-256 that an entry pins (key `verify`).
 *
 * May call sources and core/base/sha256.h. Pure otherwise, so it is tested on the host. It is
 * done when a disk is attached: what a medium gives later is not looked at again.
 */
#ifndef METALCOW_EFI_VERIFY_H
#define METALCOW_EFI_VERIFY_H

#include "core/spec/disk_spec.h"
#include "q2_source.h"

struct mc_verification {
    const char *const *sums; /* mc_disk_spec.sums */
    const struct q2_source *files[MC_MAX_SUMS];
    size_t nb_files; /* may be more than files has: then nothing is verified */
    uint8_t *buffer;
    size_t buffer_size; /* bytes, >= 1 */
    /* Told now and then: bytes of all files together. */
    void (*tell)(uint64_t done, uint64_t total);
};

/* Add a file to the list. */
void mc_verification_add(struct mc_verification *verification, const struct q2_source *file);

/* Read all files and compare.
 *
 * Q2_OK          each file has the sum at its place, and there are no more sums
 * Q2_ERR_DENIED  one has not, or a sum is missing, too many or none; the fault names the file
 * Q2_ERR_LIMIT   more files than MC_MAX_SUMS
 * Q2_ERR_IO ...  a file cannot be read
 */
enum q2_status mc_verification_run(const struct mc_verification *verification,
                                   struct q2_fault *fault);

#endif
