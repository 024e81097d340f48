/* The modes of AES that qcow2 images and LUKS1 headers use, and the lengths of their keys.
 *
 * May call nothing.
 */
#ifndef Q2_CORE_LUKS_AES_MODE_H
#define Q2_CORE_LUKS_AES_MODE_H

#include <stdbool.h>
#include <stdint.h>

/* Two AES-256 keys: the longest key of any mode. */
#define Q2_AES_MAX_KEY_LENGTH 64u

/* How the blocks of a sector are chained, and what its IV is made of. "plain64" is the sector's
 * number as 64 bits, little-endian, then zeros. */
enum q2_aes_mode {
    Q2_AES_XTS_PLAIN64,      /* key: AES key for data, then one for tweaks */
    Q2_AES_CBC_PLAIN64,      /* IV: plain64 as it is */
    Q2_AES_CBC_ESSIV_SHA256, /* IV: plain64 encrypted with the SHA-256 of the key */
    Q2_NB_AES_MODES
};

/* Has mode keys of this many bytes? XTS: 32 or 64; CBC: 16, 24 or 32. */
static inline bool q2_aes_key_length_fits(enum q2_aes_mode mode, uint32_t key_length)
{
    if (mode == Q2_AES_XTS_PLAIN64)
        return key_length == 32 || key_length == 64;
    return key_length == 16 || key_length == 24 || key_length == 32;
}

#endif
