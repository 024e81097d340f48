/* The cipher: encryption of guest data, and how its key is got.  (qcow2: header field crypt_method,
 * "Full disk encryption header pointer")
 *
 * Implemented by drivers/ on a crypto library, in memory that the implementer was given when it was
 * made; no call allocates. Keys live in the implementer's memory only and are wiped by lock().
 */
#ifndef Q2_CIPHER_H
#define Q2_CIPHER_H

#include <stddef.h>
#include <stdint.h>

#include "q2_source.h"
#include "q2_status.h"

#define Q2_CRYPT_NONE 0u
#define Q2_CRYPT_AES  1u /* legacy: AES-128-CBC, IV from the guest sector */
#define Q2_CRYPT_LUKS 2u /* LUKS1 header inside the image, IV from the host sector */

#define Q2_CIPHER_SECTOR_SIZE 512u

struct q2_cipher;

struct q2_cipher_ops {
    /* Decrypt sectors in place. Cannot fail.
     *
     * sector  number of the first one, that the IV is made from: guest offset / 512 for
     *         Q2_CRYPT_AES, host offset / 512 for Q2_CRYPT_LUKS
     * length  bytes, a multiple of Q2_CIPHER_SECTOR_SIZE
     */
    void (*decrypt)(struct q2_cipher *cipher, uint64_t sector, void *buffer, size_t length);

    /* Encrypt sectors in place; arguments as decrypt(). */
    void (*encrypt)(struct q2_cipher *cipher, uint64_t sector, void *buffer, size_t length);
};

struct q2_cipher {
    const struct q2_cipher_ops *ops;
};

/* Who knows the passphrase. Called at q2_disk_open() and q2_disk_close() only; may take seconds
 * (key derivation is slow on purpose). */
struct q2_unlocker;

struct q2_unlocker_ops {
    /* Get the cipher of one image.
     *
     * image          the image file; its path is what a prompt names
     * crypt_method   Q2_CRYPT_AES or Q2_CRYPT_LUKS
     * header_offset, header_length   bytes: the LUKS header and its key material, checked to be
     *                inside the file; untrusted; 0 for Q2_CRYPT_AES
     * ret_cipher     set only on Q2_OK; the unlocker owns it until lock()
     *
     * Q2_ERR_ENCRYPTED    no passphrase, or it fits no key slot
     * Q2_ERR_BAD_HEADER   the LUKS header breaks its specification
     * Q2_ERR_UNSUPPORTED  cipher, mode or hash that is not built in
     * Q2_ERR_LIMIT        no room for another cipher, or an iteration count over the limit
     * Q2_ERR_IO ...       the source failed
     */
    enum q2_status (*unlock)(struct q2_unlocker *unlocker, struct q2_source *image,
                             uint32_t crypt_method, uint64_t header_offset, uint64_t header_length,
                             struct q2_cipher **ret_cipher);

    /* Wipe the keys of a cipher and give it back. Cannot fail. */
    void (*lock)(struct q2_unlocker *unlocker, struct q2_cipher *cipher);
};

struct q2_unlocker {
    const struct q2_unlocker_ops *ops;
    const char *what; /* static text: why unlock() failed; NULL: as its status says */
};

#endif
