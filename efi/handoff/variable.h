/* The record as volatile EFI variables, for guests that were prepared with our packages.
 * (include/q2_handoff.h, at its end; UEFI 2.10, 8.2 "SetVariable()")
 *
 * May call runtime services' variables, outside of requests only.
 */
#ifndef METALCOW_EFI_HANDOFF_VARIABLE_H
#define METALCOW_EFI_HANDOFF_VARIABLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Publish a record in parts; what an earlier one has left is removed. false: it is longer than all
 * parts together, or the firmware refuses; then nothing is published. */
bool mc_variable_publish(const uint8_t *record, size_t length);

/* Take the record away. */
void mc_variable_withdraw(void);

#endif
