/* core/base/sha256.h, against digests that Python's hashlib gives. */
#include "core/base/sha256.h"

#include <string.h>

#include "tests/support/t.h"

#define MAX_LENGTH 300

static void hash_in_pieces(const uint8_t *bytes, size_t length, size_t piece,
                           uint8_t digest[Q2_SHA256_LENGTH])
{
    struct q2_sha256 hash;

    q2_sha256_init(&hash);
    for (size_t at = 0; at < length; at += piece)
        q2_sha256_add(&hash, bytes + at, length - at < piece ? length - at : piece);
    q2_sha256_end(&hash, digest);
}

/* Messages of 0 to 299 bytes: every place that the padding can begin at. Their digests are hashed
 * again, so that one digest stands for all. */
static void test_sha256_every_length(void)
{
    static const uint8_t expected[Q2_SHA256_LENGTH] = {
        0xd5, 0x23, 0x88, 0x71, 0xa4, 0x6a, 0xc4, 0xa1, 0xa7, 0x5a, 0xc3,
        0xfb, 0x19, 0xd6, 0x45, 0xb0, 0xb3, 0xb9, 0xe5, 0xf3, 0x5f, 0x5f,
        0x72, 0x0e, 0x2b, 0x24, 0x0d, 0x60, 0x5c, 0x6b, 0x69, 0x4e};
    uint8_t bytes[MAX_LENGTH], digest[Q2_SHA256_LENGTH], again[Q2_SHA256_LENGTH];
    struct q2_sha256 all;

    q2_sha256_init(&all);
    for (size_t n = 0; n < MAX_LENGTH; n++) {
        for (size_t i = 0; i < n; i++)
            bytes[i] = (uint8_t)(i * 7 + n);
        hash_in_pieces(bytes, n, MAX_LENGTH, digest);
        q2_sha256_add(&all, digest, sizeof(digest));
        for (size_t piece = 1; piece < 130; piece += 9) {
            hash_in_pieces(bytes, n, piece, again);
            T_CHECK(memcmp(digest, again, sizeof(digest)) == 0);
        }
    }
    q2_sha256_end(&all, digest);
    T_CHECK(memcmp(digest, expected, sizeof(digest)) == 0);
}

int main(void)
{
    T_RUN(test_sha256_every_length);
    return t_done();
}
