/* SHA-256.  (FIPS 180-4)
 *
 * For checksums: nothing here is secret. May call nothing but mem*. core/ has a hash of its own
 * because a record must be readable without a crypto library.
 */
#ifndef Q2_CORE_BASE_SHA256_H
#define Q2_CORE_BASE_SHA256_H

#include <stddef.h>
#include <stdint.h>

#define Q2_SHA256_LENGTH     32u
#define Q2_SHA256_BLOCK_SIZE 64u

struct q2_sha256 {
    uint32_t state[8];
    uint64_t length; /* bytes that were added */
    uint8_t block[Q2_SHA256_BLOCK_SIZE];
};

void q2_sha256_init(struct q2_sha256 *hash);

/* length  bytes, 0 too */
void q2_sha256_add(struct q2_sha256 *hash, const void *bytes, size_t length);

/* The digest of everything added. The hash cannot be used again before q2_sha256_init(). */
void q2_sha256_end(struct q2_sha256 *hash, uint8_t ret_digest[Q2_SHA256_LENGTH]);

#endif
