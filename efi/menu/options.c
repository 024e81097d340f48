/* The keys of a disk as one line.
 *
 * May call core/spec/. Invariant: a line that mc_options_format() has written whole is read by
 * mc_options_parse() as the same disk.
 */
#include "options.h"

#include "efi/base/text.h"
#include "q2_line.h"

bool mc_options_has(const struct mc_spec_key *key)
{
    static const size_t others[] = {
        offsetof(struct mc_disk_spec, title),      offsetof(struct mc_disk_spec, no_attach),
        offsetof(struct mc_disk_spec, sort_key),   offsetof(struct mc_disk_spec, version),
        offsetof(struct mc_disk_spec, machine_id),
    };

    for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++) {
        if (key->offset == others[i])
            return false;
    }
    return true;
}

static bool is_blank(char c)
{
    return c == ' ' || c == '\t';
}

/* --- writing ---------------------------------------------------------------------------------- */

static bool needs_quotes(const char *text)
{
    if (*text == '"' || *text == '\0')
        return true;
    while (*text != '\0' && !is_blank(*text))
        text++;
    return *text != '\0';
}

static void put_value(struct q2_line *line, const char *text)
{
    bool quoted = needs_quotes(text);

    q2_line_put(line, quoted ? "\"" : "");
    for (; *text != '\0'; text++) {
        if (quoted && *text == '"')
            q2_line_put_char(line, '"');
        q2_line_put_char(line, *text);
    }
    q2_line_put(line, quoted ? "\"" : "");
}

static void put_key(struct q2_line *line, const struct mc_spec_key *key)
{
    q2_line_put(line, line->length > 0 ? " " : "");
    q2_line_put(line, key->key);
    q2_line_put(line, "=");
}

/* The index-th string of a key; NULL: it can have no such one. */
static const char **string_at(struct mc_disk_spec *spec, const struct mc_spec_key *key,
                              size_t index)
{
    if (key->kind == MC_SPEC_SUMS)
        return index < MC_MAX_SUMS ? &spec->sums[index] : NULL;
    return mc_spec_string(spec, key, index);
}

/* A sum that could not be read is "". It is written as such, so that mc_options_parse() refuses the
 * line until somebody has corrected it. */
static void put_strings(struct q2_line *line, const struct mc_spec_key *key,
                        struct mc_disk_spec *spec)
{
    const char **string = string_at(spec, key, 0);

    for (size_t i = 0; string && *string; string = string_at(spec, key, ++i)) {
        put_key(line, key);
        put_value(line, *string);
    }
}

static void put_word(struct q2_line *line, const struct mc_spec_key *key, uint32_t value)
{
    for (const struct mc_spec_word *word = key->words; word->word; word++) {
        if (word->value == value) {
            put_key(line, key);
            q2_line_put(line, word->word);
            return;
        }
    }
}

static void put_size(struct q2_line *line, const struct mc_spec_key *key, uint64_t size)
{
    static const char units[] = {'\0', 'K', 'M', 'G'};
    size_t unit = 0;

    while (size > 0 && size % 1024 == 0 && unit + 1 < sizeof(units)) {
        size /= 1024;
        unit++;
    }
    put_key(line, key);
    q2_line_put_number(line, size, 10);
    if (units[unit] != '\0')
        q2_line_put_char(line, units[unit]);
}

/* One key that is no text, if it does not have its default. */
static void put_other(struct q2_line *line, const struct mc_spec_key *key,
                      const struct mc_disk_spec *spec, const struct mc_disk_spec *defaults)
{
    const char *value = (const char *)spec + key->offset;
    const char *usual = (const char *)defaults + key->offset;
    uint32_t word;
    uint64_t size;

    if (key->kind == MC_SPEC_WORD && __builtin_memcmp(value, usual, sizeof(word)) != 0) {
        __builtin_memcpy(&word, value, sizeof(word));
        put_word(line, key, word);
    }
    if (key->kind == MC_SPEC_SIZE && __builtin_memcmp(value, usual, sizeof(size)) != 0) {
        __builtin_memcpy(&size, value, sizeof(size));
        put_size(line, key, size);
    }
}

size_t mc_options_format(const struct mc_disk_spec *spec, char *buffer, size_t size)
{
    struct q2_line line = q2_line_start(buffer, size);
    struct mc_disk_spec defaults, copy = *spec;

    mc_spec_init(&defaults);
    for (size_t i = 0; i < mc_spec_nb_keys; i++) {
        const struct mc_spec_key *key = &mc_spec_keys[i];
        if (!mc_options_has(key))
            continue;
        put_strings(&line, key, &copy);
        put_other(&line, key, spec, &defaults);
    }
    return line.length;
}

/* --- reading ---------------------------------------------------------------------------------- */

struct reading {
    struct mc_options *options;
    struct mc_options_problem *problem;
    struct mc_spec_pool pool;
    uint64_t seen; /* bit i: mc_spec_keys[i] was there */
};

static bool refuse(struct reading *reading, const char *text)
{
    reading->problem->text = text;
    return false;
}

/* Length of the key at the front of a text. */
static size_t key_length(const char *text)
{
    size_t n = 0;

    while (text[n] != '\0' && text[n] != '=' && !is_blank(text[n]))
        n++;
    return n;
}

/* Take the text after a quote off, up to the quote that ends it; false: none does. */
static bool take_quoted(const char **text, char *to)
{
    for (const char *at = *text; *at != '\0'; at++) {
        if (*at == '"' && *++at != '"') {
            *to = '\0';
            *text = at;
            return true;
        }
        *to++ = *at;
    }
    return false;
}

/* Take a value off the text, without its quotes, into options->value. */
static bool take_value(struct reading *reading, const char **text)
{
    char *to = reading->options->value;

    if (**text == '"') {
        ++*text;
        if (!take_quoted(text, to))
            return refuse(reading, "has a quote that does not end; add a quote");
        return **text == '\0' || is_blank(**text)
                   ? true
                   : refuse(reading, "needs a blank after the quote; write a quote inside twice");
    }
    while (**text != '\0' && !is_blank(**text))
        *to++ = *(*text)++;
    *to = '\0';
    return true;
}

static bool set(struct reading *reading, const struct mc_spec_key *key)
{
    const char *value = reading->options->value;
    uint64_t bit = 1ull << (key - mc_spec_keys);
    const char *refusal;

    if ((reading->seen & bit) != 0 && key->kind != MC_SPEC_PATHS && key->kind != MC_SPEC_SUMS)
        return refuse(reading, "is given twice; remove one of them");
    reading->seen |= bit;
    if (*value == '\0')
        return refuse(reading, "has no value; write KEY=VALUE");
    refusal =
        mc_spec_set(&reading->options->spec, key, value, q2_text_length(value), &reading->pool);
    return refusal ? refuse(reading, refusal) : true;
}

/* Take one KEY=VALUE off the text. */
static bool take(struct reading *reading, const char **text)
{
    size_t n = key_length(*text);
    const struct mc_spec_key *key = mc_spec_find_key(*text, n);

    reading->problem->key_length = n;
    if (!key) {
        reading->problem->nearest = mc_spec_nearest_key(*text, n);
        return refuse(reading, "is no key");
    }
    if (!mc_options_has(key))
        return refuse(reading, "cannot be changed for one boot; change it in the entry's file");
    *text += n;
    if (**text != '=')
        return refuse(reading, "has no value; write KEY=VALUE");
    ++*text;
    return take_value(reading, text) && set(reading, key);
}

bool mc_options_parse(const char *line, struct mc_options *ret_options,
                      struct mc_options_problem *ret_problem)
{
    struct reading reading = {
        .options = ret_options,
        .problem = ret_problem,
        .pool = {.bytes = ret_options->pool, .size = sizeof(ret_options->pool)},
    };
    const char *at = line;

    mc_spec_init(&ret_options->spec);
    for (;;) {
        while (is_blank(*at))
            at++;
        *ret_problem = (struct mc_options_problem){.at = (size_t)(at - line)};
        if (*at == '\0')
            break;
        if (!take(&reading, &at))
            return false;
    }
    return ret_options->spec.image ? true : refuse(&reading, "image is missing; write image=FILE");
}

const struct mc_spec_key *mc_options_key_at(const char *line, size_t at)
{
    const struct mc_spec_key *key = NULL;
    bool quoted = false;
    size_t start = 0;

    /* The start of the word that `at` is in; blanks inside quotes end none. */
    for (size_t i = 0; i < at && line[i] != '\0'; i++) {
        quoted ^= line[i] == '"';
        if (!quoted && is_blank(line[i]))
            start = i + 1;
    }
    key = mc_spec_find_key(line + start, key_length(line + start));
    return key && mc_options_has(key) ? key : NULL;
}
