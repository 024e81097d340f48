/* What the disk must read as: the newest content, and older ones that a power cut may bring back.
 *
 * A sector is found as its newest bytes, or as bytes that it had after the last flush. A sector is
 * always found whole.
 */
#ifndef METALCOW_TESTS_FUZZ_WRITE_CONTENT_H
#define METALCOW_TESTS_FUZZ_WRITE_CONTENT_H

#include "world.h"

struct older_sector {
    uint32_t next; /* index of the one before it; 0: none */
    uint8_t bytes[SECTOR];
};

struct content {
    uint64_t size;            /* bytes of the disk */
    uint64_t other_sizes[16]; /* that it may have as well, after a failure or a cut */
    uint32_t nb_other_sizes;
    uint8_t *now;                    /* GUEST_MAX bytes; zeros from size on */
    bool unreadable[NB_SECTORS];     /* damaged: may be anything, or an error */
    bool was_unreadable[NB_SECTORS]; /* before the last flush: may be so again */
    uint32_t newest[NB_SECTORS];     /* index into older */
    struct older_sector *older;      /* number 0 is not used */
    uint32_t nb_older, max_older;
};

void content_start(struct content *content);
void content_free(struct content *content);
/* The sector may still be found with these bytes. */
void content_remember(struct content *content, uint32_t sector, const uint8_t *bytes);
/* The disk may have this size as well. */
void content_remember_size(struct content *content, uint64_t size);
bool content_allows_size(const struct content *content, uint64_t size);
/* Everything is durable: nothing older comes back. */
void content_settle(struct content *content);
/* May the sector be found with these bytes? */
bool content_allows(const struct content *content, uint32_t sector, const uint8_t *bytes);

#endif
