/* Measuring what the hand-off adds.  (TCG EFI Protocol Specification, "EFI_TCG2_PROTOCOL")
 *
 * A kernel's stub measures the initrd that it gets by LoadFile2. Without the stub nobody measures
 * what we add, because the loader has measured its initrd before.
 */
#ifndef METALCOW_EFI_HANDOFF_MEASURE_H
#define METALCOW_EFI_HANDOFF_MEASURE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The register that Linux and GRUB use for initrds. */
#define MC_MEASURE_PCR 9u

/* Extend PCR 9 by the hash of these bytes and log it as EV_IPL "metalcow hand-off". Allocates
 * nothing. Without a TPM nothing happens; false: there is one, and it refused. */
bool mc_measure(const uint8_t *bytes, size_t size);

#endif
