/* Which name was meant by a word that is none?
 *
 * Reads the table of disk_spec.c. Invariant: work is bounded by MAX_LENGTH squared for each name.
 */
#include "disk_spec.h"

#include "core/base/text.h"

/* Words that are longer have no name near them. */
#define MAX_LENGTH 24u

static char lower(char c)
{
    return c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c == '_' ? '-' : c;
}

static uint32_t least(uint32_t a, uint32_t b)
{
    return a < b ? a : b;
}

/* How many letters must be added, dropped, replaced or swapped with their neighbour to make a out
 * of b. (The restricted Damerau-Levenshtein distance, three rows of it at a time.) */
static uint32_t distance(const char *a, size_t nb_a, const char *b, size_t nb_b)
{
    uint32_t rows[3][MAX_LENGTH + 1];
    uint32_t *before = rows[0], *last = rows[1], *now = rows[2];

    for (uint32_t j = 0; j <= nb_b; j++)
        last[j] = j;
    for (uint32_t i = 1; i <= nb_a; i++) {
        uint32_t *free_row = before;
        now[0] = i;
        for (uint32_t j = 1; j <= nb_b; j++) {
            bool same = lower(a[i - 1]) == lower(b[j - 1]);
            now[j] = least(least(last[j], now[j - 1]) + 1, last[j - 1] + (same ? 0 : 1));
            if (i > 1 && j > 1 && lower(a[i - 1]) == lower(b[j - 2]) &&
                lower(a[i - 2]) == lower(b[j - 1]))
                now[j] = least(now[j], before[j - 2] + 1);
        }
        before = last;
        last = now;
        now = free_row;
    }
    return last[nb_b];
}

/* The best name so far. */
struct search {
    const char *name;
    uint32_t distance;
};

static void look_at(struct search *search, const char *name, const char *text, size_t length)
{
    size_t name_length = q2_text_length(name);
    uint32_t d;

    if (name_length > MAX_LENGTH || length > MAX_LENGTH)
        return;
    d = distance(text, length, name, name_length);
    if (d < search->distance) {
        search->distance = d;
        search->name = name;
    }
}

/* A third of the word may be wrong, but not more than three letters. */
static struct search start(size_t length)
{
    uint32_t limit = (uint32_t)least((uint32_t)length / 3 + 1, 3);

    return (struct search){.name = NULL, .distance = limit + 1};
}

const char *mc_spec_nearest(const char *const *names, const char *text, size_t length)
{
    struct search search = start(length);

    for (; *names; names++)
        look_at(&search, *names, text, length);
    return search.name;
}

const char *mc_spec_nearest_key(const char *text, size_t length)
{
    struct search search = start(length);

    for (size_t i = 0; i < mc_spec_nb_keys; i++)
        look_at(&search, mc_spec_keys[i].key, text, length);
    return search.name;
}
