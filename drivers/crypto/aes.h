/* AES for encrypted images: XTS and CBC over sectors of 512 bytes.
 *
 * Binds include/q2_cipher.h to the processor's AES where there is one (aes_ni.h), and to BearSSL's
 * constant-time AES. A cipher is for an image's data, or for
 * the key material of a LUKS key slot.
 */
#ifndef METALCOW_DRIVERS_CIPHER_AES_H
#define METALCOW_DRIVERS_CIPHER_AES_H

#include <stdbool.h>
#include <stdint.h>

#include "aes_ni.h"
#include "core/luks/aes_mode.h"
#include "q2_cipher.h"

#define Q2_AES_BLOCK_SIZE 16u

/* An expanded AES key, for the processor's instructions or as BearSSL's bit-sliced code takes it: 8
 * words for each of at most 15 round keys. */
struct q2_aes_key {
    union {
        uint64_t words[120];
        struct q2_aes_ni_key ni;
    };
    uint32_t nb_rounds;
    bool has_ni;
};

/* A cipher and all its memory. Nothing in it is secret after q2_cipher_aes_wipe(). */
struct q2_cipher_aes {
    struct q2_cipher cipher; /* first: the cipher's address is this struct's */
    enum q2_aes_mode mode;
    struct q2_aes_key data;
    struct q2_aes_key iv; /* not used by CBC_PLAIN64 */
};

/* Make a cipher in memory, which must live as long as the cipher is used; never fails.
 *
 * key, key_length  as q2_aes_key_length_fits() allows; not used after the call
 *
 * Its decrypt() and encrypt() also take a length that is a multiple of Q2_AES_BLOCK_SIZE only: the
 * last sector is then short, as LUKS key material ends for some key lengths.
 */
struct q2_cipher *q2_cipher_aes_init(struct q2_cipher_aes *memory, enum q2_aes_mode mode,
                                     const uint8_t *key, uint32_t key_length);

/* The same without the processor's instructions. */
struct q2_cipher *q2_cipher_aes_init_portable(struct q2_cipher_aes *memory, enum q2_aes_mode mode,
                                              const uint8_t *key, uint32_t key_length);

/* Make every byte of it zero. */
void q2_cipher_aes_wipe(struct q2_cipher_aes *aes);

#endif
