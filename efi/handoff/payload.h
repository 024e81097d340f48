/* What the hand-off adds to an initrd, as the three ways of delivering it see it.
 *
 * The owner (handoff.c) implements it; wrap.c, own.c and patch.c call it.
 */
#ifndef METALCOW_EFI_HANDOFF_PAYLOAD_H
#define METALCOW_EFI_HANDOFF_PAYLOAD_H

#include <stddef.h>
#include <stdint.h>

/* Whose initrd it would go into. */
enum mc_payload_for {
    MC_PAYLOAD_FOR_LOADER, /* a loader's initrd: nobody has signed it */
    MC_PAYLOAD_FOR_UKI,    /* the initrd inside a unified kernel image: its signature covers it */
};

struct mc_payload {
    /* Get the archive as it is to be delivered now.
     *
     * ret_size  bytes, a multiple of 4. It changes when the record does, as after a file was made
     *           longer
     * returns   the archive, valid until the next call; NULL: nothing is to be added, and the owner
     *           has told the person why
     *
     * Allocates nothing while boot services end.
     */
    const uint8_t *(*get)(struct mc_payload *payload, enum mc_payload_for whose, size_t *ret_size);

    /* Called when the kernel has got the archive and nothing else has measured it. Measures it. May
     * be NULL. */
    void (*measure)(struct mc_payload *payload);
};

#endif
