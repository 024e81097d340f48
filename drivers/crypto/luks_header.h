/* Composing a LUKS1 header: one passphrase in key slot 0, seven slots free.
 * (LUKS1 On-Disk Format Specification 1.2.3, "Initialization")
 *
 * For hosts. Pure: it turns random bytes, a passphrase and numbers into bytes, and knows no file
 * and no source of random numbers.
 */
#ifndef METALCOW_DRIVERS_LUKS_HEADER_H
#define METALCOW_DRIVERS_LUKS_HEADER_H

#include <stddef.h>
#include <stdint.h>

#include "core/luks/header.h"
#include "luks_material.h"

/* Where the key material of slot 0 is stored, bytes into the header. Each slot's begins at a
 * multiple of 4 KiB, as in headers of QEMU and cryptsetup. */
#define Q2_LUKS_MATERIAL_ALIGN  4096u
#define Q2_LUKS_MATERIAL_OFFSET Q2_LUKS_MATERIAL_ALIGN

/* The room for one slot's key material, and a whole header, in bytes.
 *
 * key_length  bytes, at most Q2_AES_MAX_KEY_LENGTH
 */
uint32_t q2_luks_material_room(uint32_t key_length);
uint32_t q2_luks_header_length(uint32_t key_length);

#define Q2_LUKS_MAX_HEADER_LENGTH                                                                  \
    (Q2_LUKS_MATERIAL_OFFSET +                                                                     \
     Q2_LUKS_NB_SLOTS * ((Q2_LUKS_MAX_MATERIAL + Q2_LUKS_MATERIAL_ALIGN - 1) /                     \
                         Q2_LUKS_MATERIAL_ALIGN * Q2_LUKS_MATERIAL_ALIGN))

/* What a header is made of. Has secrets; the caller wipes it. */
struct q2_luks_new_header {
    enum q2_aes_mode mode;
    enum q2_luks_hash hash;
    uint32_t key_length;                      /* bytes, as q2_aes_key_length_fits() allows */
    uint32_t digest_iterations;               /* >= 1 */
    uint8_t key[Q2_AES_MAX_KEY_LENGTH];       /* random: the master key */
    uint8_t digest_salt[Q2_LUKS_SALT_LENGTH]; /* random */
    uint8_t uuid[16];                         /* random */
    struct q2_luks_new_key slot;
};

/* Would a header hold? Nothing is derived. Errors and ret_what as q2_luks_header_check(). */
enum q2_status q2_luks_header_can_compose(const struct q2_luks_new_header *new_header,
                                          const char **ret_what);

/* Compose a header, which takes as long as its iterations do.
 *
 * new_header  has passed q2_luks_header_can_compose()
 * work        wiped afterwards
 * bytes       q2_luks_header_length(key_length) bytes. The q2_luks_material_room(key_length) ones
 *             at Q2_LUKS_MATERIAL_OFFSET are random before. Afterwards it is the header, in which
 *             nothing is secret
 */
void q2_luks_header_compose(const struct q2_luks_new_header *new_header, struct q2_luks_work *work,
                            uint8_t *bytes);

#endif
