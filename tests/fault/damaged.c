/* Damaging images, and judging them. */
#include "damaged.h"

#include <stdio.h>
#include <string.h>

struct damage {
    const struct subject *subject;
    uint8_t *image;
    uint64_t *seed;
};

static uint64_t get(const uint8_t *bytes, size_t length)
{
    uint64_t value = 0;

    for (size_t i = 0; i < length; i++)
        value = value << 8 | bytes[i];
    return value;
}

static void put(uint8_t *bytes, uint64_t value, size_t length)
{
    for (size_t i = length; i-- > 0; value >>= 8)
        bytes[i] = (uint8_t)value;
}

static uint32_t refcount_order(const struct damage *d)
{
    return d->subject->geometry->version_2 ? 4 : (uint32_t)get(d->image + 96, 4);
}

/* Another refcount for some cluster: one more, none, the highest. */
static void damage_refcount(struct damage *d)
{
    uint32_t bits = d->subject->geometry->cluster_bits, order = refcount_order(d);
    uint64_t nb_clusters = d->subject->sizes[0] >> bits, per_block = 8ull << bits >> order;
    uint64_t index = crash_random(d->seed) % nb_clusters, value = crash_random(d->seed) % 4;
    uint64_t block = get(d->image + get(d->image + 48, 8) + index / per_block * 8, 8);
    uint64_t bit = (index % per_block) << order;

    /* A block or table that was damaged before stays as it is. */
    if (block == 0 || block % (1ull << bits) != 0 || block >= d->subject->sizes[0])
        return;
    if (value == 3)
        value = UINT64_MAX;
    if (order >= 3) {
        put(d->image + block + bit / 8, value, (size_t)1 << (order - 3));
    } else {
        uint8_t mask = (uint8_t)((1u << (1u << order)) - 1);
        uint8_t *byte = &d->image[block + bit / 8];
        *byte =
            (uint8_t)((*byte & ~((unsigned)mask << bit % 8)) | ((unsigned)value & mask) << bit % 8);
    }
}

/* The COPIED flag of an L1 entry, or of an L2 entry. */
static void damage_flag(struct damage *d)
{
    const struct geometry *g = d->subject->geometry;
    uint64_t l1 = get(d->image + 40, 8), entry_size = g->extended ? 16 : 8;
    uint8_t *entry = d->image + l1 + crash_random(d->seed) % 2 * 8;
    uint64_t table = get(entry, 8) & 0x00fffffffffffe00ull;

    if (table == 0)
        return;
    if (crash_random(d->seed) % 3 != 0)
        entry = d->image + table +
                crash_random(d->seed) % ZONE_A_CLUSTERS % (d->subject->cluster_size / entry_size) *
                    entry_size;
    if (get(entry, 8) & 0x40fffffffffffe00ull)
        entry[0] ^= 0x80;
}

/* An entry of the refcount table. */
static void damage_structure(struct damage *d)
{
    uint8_t *entry = d->image + get(d->image + 48, 8);

    switch (crash_random(d->seed) % 4) {
    case 0:
        entry[7] |= 1; /* reserved */
        break;
    case 1:
        entry[2] = 0x7f; /* far outside */
        break;
    case 2:
        put(entry, 0, 8); /* none */
        break;
    default:
        memcpy(entry, d->image + 40, 8); /* the L1 table */
        break;
    }
}

/* The only entry of the snapshot table: too little extra data, or too much. */
static void damage_snapshot(struct damage *d)
{
    static const uint16_t lengths[] = {0, 8, Q2_MAX_SNAPSHOT_EXTRA_SIZE + 76};
    uint64_t nb = d->subject->cluster_size < 4096 ? 2 : 3;
    uint16_t length = lengths[crash_random(d->seed) % nb];
    uint8_t *entry = d->image + get(d->image + 64, 8);
    uint64_t strings = get(entry + 12, 2) + get(entry + 14, 2);

    memmove(entry + 40 + length, entry + 40 + get(entry + 36, 4), strings);
    put(entry + 36, length, 4);
}

void damage_image(const struct subject *subject, uint8_t *image, bool snapshots, uint64_t *seed)
{
    struct damage damage = {.subject = subject, .image = image, .seed = seed};
    uint64_t nb = 1 + crash_random(seed) % 12;

    memcpy(image, subject->files[0], subject->sizes[0]);
    if (!subject->geometry->version_2)
        image[79] |= (uint8_t)(crash_random(seed) % 4); /* dirty, corrupt */
    for (uint64_t i = 0; i < nb; i++) {
        if (crash_random(seed) % 3 == 0)
            damage_flag(&damage);
        else
            damage_refcount(&damage);
    }
    if (crash_random(seed) % 3 == 0)
        damage_structure(&damage);
    if (snapshots && subject->geometry->snapshot && crash_random(seed) % 2 == 0)
        damage_snapshot(&damage);
}

static bool wrong(struct bench *b, const char *what)
{
    (void)snprintf(b->why, sizeof(b->why), "%s", what);
    return false;
}

bool damaged_judge_content(struct bench *b)
{
    const struct subject *s = b->subject;

    b->why[0] = '\0';
    if (bench_open(b, false, NULL) != Q2_OK)
        return wrong(b, "the damaged image does not open");
    if (model_read(s, b->disk, b->content) != Q2_OK ||
        memcmp(b->content, s->initial, s->model_size) != 0)
        return wrong(b, "the content is another one");
    bench_close(b);
    return true;
}

bool damaged_judge_repaired(struct bench *b, const struct model *model)
{
    if (!bench_judge(b, model, 0, 0))
        return false;
    if (b->leaks > 0)
        return wrong(b, "leaks are left");
    if (!b->subject->geometry->version_2 && (b->sources[0].bytes[79] & 3) != 0)
        return wrong(b, "the dirty or the corrupt bit is left");
    return true;
}
