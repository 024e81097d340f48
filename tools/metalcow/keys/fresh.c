/* What a new key needs.
 *
 * May call drivers/crypto and the C library. Invariant: no random byte is kept here.
 */
#include "fresh.h"

#include <stdio.h>
#include <sys/random.h>
#include <time.h>

#define MIN_ITERATIONS 1000u /* as QEMU */

bool fresh_random(void *bytes, size_t length)
{
    uint8_t *to = bytes;

    while (length > 0) {
        ssize_t n = getrandom(to, length, 0);

        if (n <= 0) {
            fputs("metalcow: the system gives no random numbers\n", stderr);
            return false;
        }
        to += n;
        length -= (size_t)n;
    }
    return true;
}

static uint64_t cpu_time_ns(void)
{
    struct timespec now = {0};

    (void)clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

uint32_t fresh_iterations(enum q2_luks_hash hash, uint32_t key_length, uint32_t ms)
{
    static const uint8_t word[] = "a passphrase to measure with", salt[Q2_LUKS_SALT_LENGTH];
    uint8_t key[Q2_AES_MAX_KEY_LENGTH];
    uint64_t iterations = MIN_ITERATIONS / 2, ns;

    do {
        uint64_t begin = cpu_time_ns();

        iterations *= 2;
        q2_pbkdf2(hash, word, sizeof(word) - 1, salt, sizeof(salt), (uint32_t)iterations, key,
                  key_length);
        ns = cpu_time_ns() - begin;
    } while (ns < 50000000 && iterations < UINT32_MAX / 2);
    iterations = iterations * ms / (ns / 1000000 + 1);
    if (iterations < MIN_ITERATIONS)
        return MIN_ITERATIONS;
    return iterations > UINT32_MAX ? UINT32_MAX : (uint32_t)iterations;
}
