/* What a new key of an encrypted image needs: random bytes, and a number of PBKDF2 iterations that
 * takes some time on this machine. */
#ifndef METALCOW_FRESH_H
#define METALCOW_FRESH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "drivers/crypto/luks_key.h"

/* As QEMU: what encrypt.iter-time is if it is not given. */
#define FRESH_ITER_TIME 2000u /* ms */

/* Fill memory with random bytes of the system (getrandom(2)); false, and said on stderr, if it
 * gives none. */
bool fresh_random(void *bytes, size_t length);

/* How many iterations take so many ms of processor time: measured with as many as take a 20th of a
 * second. At least 1000, as in QEMU, and at most UINT32_MAX.
 *
 * key_length  of the key that is derived, bytes, at most Q2_AES_MAX_KEY_LENGTH
 */
uint32_t fresh_iterations(enum q2_luks_hash hash, uint32_t key_length, uint32_t ms);

#endif
