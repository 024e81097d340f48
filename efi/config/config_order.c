/* The configuration: entries named, chosen and put in order.
 *
 * May call core/base/. Pure functions on NUL-terminated strings. Invariant: comparisons are
 * total orders, so that any sort gives the same menu on every boot.
 */
#include "config.h"

#include "core/base/text.h"
#include "core/base/utf8.h"

static int string_compare(const char *a, const char *b)
{
    while (*a != '\0' && *a == *b) {
        a++;
        b++;
    }
    return (uint8_t)*a - (uint8_t)*b;
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static bool is_letter(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

/* Past what takes no part in a comparison. */
static const char *version_skip(const char *s)
{
    while (*s != '\0' && !is_digit(*s) && !is_letter(*s) && *s != '-' && *s != '.' && *s != '~' &&
           *s != '^')
        s++;
    return s;
}

/* Compare the numbers at the front, of any length, and move past them. */
static int number_compare(const char **a, const char **b)
{
    int difference = 0;

    while (**a == '0')
        ++*a;
    while (**b == '0')
        ++*b;
    for (; is_digit(**a) && is_digit(**b); ++*a, ++*b) {
        if (difference == 0)
            difference = **a - **b;
    }
    /* The longer number is the larger one. */
    if (is_digit(**a) != is_digit(**b))
        return is_digit(**a) ? 1 : -1;
    return difference;
}

/* Compare the letters at the front and move past what is alike. */
static int letters_compare(const char **a, const char **b)
{
    while (is_letter(**a) && **a == **b) {
        ++*a;
        ++*b;
    }
    if (!is_letter(**a) || !is_letter(**b))
        return is_letter(**a) - is_letter(**b);
    return **a - **b;
}

/* Separators in the specification's order: the version that has one where the other has none is
 * older. The end of a string ranks after '~' and before the rest. */
static int separators_compare(const char **a, const char **b)
{
    static const char order[] = {'~', '\0', '-', '^', '.'};

    for (size_t i = 0; i < sizeof order; i++) {
        bool in_a = **a == order[i];
        bool in_b = **b == order[i];
        if (in_a != in_b)
            return in_a ? -1 : 1;
        if (in_a && order[i] == '\0')
            return 0;
        *a += in_a;
        *b += in_b;
    }
    return 0;
}

int mc_version_compare(const char *a, const char *b)
{
    int difference = 0;

    while (difference == 0) {
        a = version_skip(a);
        b = version_skip(b);
        if (*a == '\0' && *b == '\0')
            return 0;
        difference = separators_compare(&a, &b);
        if (difference != 0)
            return difference;
        if (is_digit(*a) || is_digit(*b))
            difference = number_compare(&a, &b);
        else
            difference = letters_compare(&a, &b);
    }
    return difference;
}

static const char *or_empty(const char *text)
{
    return text ? text : "";
}

int mc_entry_compare(const struct mc_entry *a, const struct mc_entry *b)
{
    bool a_sorted = a->spec.sort_key != NULL;
    bool b_sorted = b->spec.sort_key != NULL;
    int difference = 0;

    if (a_sorted != b_sorted)
        return a_sorted ? -1 : 1;
    if (a_sorted) {
        difference = string_compare(a->spec.sort_key, b->spec.sort_key);
        if (difference == 0)
            difference = string_compare(or_empty(a->spec.machine_id), or_empty(b->spec.machine_id));
        if (difference == 0)
            difference = mc_version_compare(or_empty(b->spec.version), or_empty(a->spec.version));
    }
    if (difference == 0)
        difference = mc_version_compare(b->id, a->id);
    /* Ids that differ only in what a version comparison skips. */
    return difference != 0 ? difference : string_compare(a->id, b->id);
}

static char lower(char c)
{
    return c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
}

bool mc_entry_set_id(struct mc_entry *entry, const char *file_name)
{
    static const char suffix[] = ".conf";
    size_t length = q2_text_length(file_name);

    if (length < sizeof suffix || length - (sizeof suffix - 1) > MC_MAX_TEXT_LENGTH)
        return false;
    length -= sizeof suffix - 1;
    for (size_t i = 0; i < sizeof suffix - 1; i++) {
        if (lower(file_name[length + i]) != suffix[i])
            return false;
    }
    for (size_t i = 0; i < length; i++)
        entry->id[i] = file_name[i];
    entry->id[length] = '\0';
    return true;
}

const char *mc_entry_title(const struct mc_entry *entry)
{
    return entry->spec.title ? entry->spec.title : entry->id;
}

/* Take the first character of a string that is not empty, in lower case if it is an ASCII letter.
 * A byte that is not UTF-8 stands for itself. */
static uint32_t character_take(const char **s)
{
    uint32_t c = (uint8_t) * *s;
    size_t n = q2_utf8_decode_text(*s, &c);

    *s += n > 0 ? n : 1;
    return c >= 'A' && c <= 'Z' ? c - 'A' + 'a' : c;
}

/* The ']' that ends a set; NULL: none. The first member may be a ']' itself. */
static const char *set_end(const char *set)
{
    set += *set == '!' ? 1 : 0;
    set += *set == ']' ? 1 : 0;
    while (*set != '\0' && *set != ']')
        set++;
    return *set == ']' ? set : NULL;
}

/* Whether a character is in the set between '[' and end. */
static bool set_has(const char *set, const char *end, uint32_t c)
{
    bool inverted = *set == '!';
    bool found = false;

    set += inverted ? 1 : 0;
    while (set < end) {
        uint32_t first = character_take(&set);
        uint32_t last = first;
        if (end - set >= 2 && *set == '-') {
            set++;
            last = character_take(&set);
        }
        found |= c >= first && c <= last;
    }
    return found != inverted;
}

/* Take one character off the name and the part of the pattern that fits it, which is no '*'. */
static bool glob_take(const char **pattern, const char **name)
{
    const char *p = *pattern;
    uint32_t c = character_take(name);
    const char *end = *p == '[' ? set_end(p + 1) : NULL;
    bool fits;

    if (*p == '\0')
        return false;
    if (end != NULL) {
        fits = set_has(p + 1, end, c);
        *pattern = end + 1;
        return fits;
    }
    fits = character_take(pattern) == c || *p == '?';
    return fits;
}

bool mc_glob_match(const char *pattern, const char *name)
{
    const char *star = NULL; /* pattern after the last '*' */
    const char *star_name = NULL;

    /* Only the last '*' needs to be tried again: an earlier one taking more can win nothing that
     * the last one cannot. */
    while (*name != '\0') {
        if (*pattern == '*') {
            star = ++pattern;
            star_name = name;
        } else if (!glob_take(&pattern, &name)) {
            if (star == NULL)
                return false;
            (void)character_take(&star_name);
            name = star_name;
            pattern = star;
        }
    }
    while (*pattern == '*')
        pattern++;
    return *pattern == '\0';
}

bool mc_entry_matches(const struct mc_entry *entry, const char *pattern)
{
    static const char suffix[] = ".conf";
    char name[MC_MAX_TEXT_LENGTH + sizeof suffix];
    size_t length = q2_text_length(entry->id);

    if (mc_glob_match(pattern, entry->id))
        return true;
    for (size_t i = 0; i < length; i++)
        name[i] = entry->id[i];
    for (size_t i = 0; i < sizeof suffix; i++)
        name[length + i] = suffix[i];
    return mc_glob_match(pattern, name);
}
