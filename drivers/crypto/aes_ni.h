/* AES by the processor's own instructions (x86-64's AES-NI), for aes.c.
 *
 * Only in programs for an operating system: firmware programs use general registers only
 * (tests/lint/test_codec_symbols.sh).
 */
#ifndef METALCOW_DRIVERS_AES_NI_H
#define METALCOW_DRIVERS_AES_NI_H

#include <stdbool.h>
#include <stdint.h>

#define Q2_AES_NI_MAX_ROUNDS 14u

/* Round keys of 16 bytes, in the order in which they are used: one before the first round, and one
 * for each round. */
struct q2_aes_ni_key {
    uint8_t encrypt[Q2_AES_NI_MAX_ROUNDS + 1][16];
    uint8_t decrypt[Q2_AES_NI_MAX_ROUNDS + 1][16];
};

/* Expand a key of 16, 24 or 32 bytes.  (FIPS-197, 5.2)
 *
 * ret_nb_rounds  10, 12 or 14
 *
 * false  this program or the processor does not have the instructions; nothing is set
 */
bool q2_aes_ni_expand(struct q2_aes_ni_key *key, const uint8_t *bytes, uint32_t length,
                      uint32_t *ret_nb_rounds);

/* Encrypt or decrypt four independent blocks of 16 bytes in place, with a key that was expanded. */
void q2_aes_ni_encrypt(const struct q2_aes_ni_key *key, uint32_t nb_rounds, uint8_t *blocks);
void q2_aes_ni_decrypt(const struct q2_aes_ni_key *key, uint32_t nb_rounds, uint8_t *blocks);

#endif
