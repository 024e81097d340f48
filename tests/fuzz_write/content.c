/* What the disk must read as. */
#include "content.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void content_start(struct content *c)
{
    memset(c, 0, sizeof(*c));
    c->now = crash_memory(NULL, GUEST_MAX);
    c->nb_older = 1;
}

void content_free(struct content *c)
{
    free(c->now);
    free(c->older);
}

void content_remember(struct content *c, uint32_t sector, const uint8_t *bytes)
{
    struct older_sector *older;

    if (c->newest[sector] != 0 && memcmp(c->older[c->newest[sector]].bytes, bytes, SECTOR) == 0)
        return;
    if (c->nb_older >= c->max_older) {
        c->max_older = 2 * c->max_older + 64;
        c->older = crash_memory(c->older, c->max_older * sizeof(*c->older));
    }
    older = &c->older[c->nb_older];
    older->next = c->newest[sector];
    memcpy(older->bytes, bytes, SECTOR);
    c->newest[sector] = c->nb_older++;
}

void content_remember_size(struct content *c, uint64_t size)
{
    uint32_t most = sizeof(c->other_sizes) / sizeof(c->other_sizes[0]);

    if (content_allows_size(c, size))
        return;
    if (c->nb_other_sizes == most) {
        fprintf(stderr, "the model has no room for another size\n");
        abort();
    }
    c->other_sizes[c->nb_other_sizes++] = size;
}

bool content_allows_size(const struct content *c, uint64_t size)
{
    for (uint32_t i = 0; i < c->nb_other_sizes; i++) {
        if (c->other_sizes[i] == size)
            return true;
    }
    return size == c->size;
}

void content_settle(struct content *c)
{
    c->nb_other_sizes = 0;
    if (c->nb_older == 1)
        return;
    memset(c->newest, 0, sizeof(c->newest));
    memset(c->was_unreadable, 0, sizeof(c->was_unreadable));
    c->nb_older = 1;
}

bool content_allows(const struct content *c, uint32_t sector, const uint8_t *bytes)
{
    if (c->unreadable[sector] || c->was_unreadable[sector] ||
        memcmp(c->now + sector * SECTOR, bytes, SECTOR) == 0)
        return true;
    for (uint32_t i = c->newest[sector]; i != 0; i = c->older[i].next) {
        if (memcmp(c->older[i].bytes, bytes, SECTOR) == 0)
            return true;
    }
    return false;
}
