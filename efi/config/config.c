/* The configuration: files to structs.
 *
 * May call core/spec/ and core/base/. Every line is split, its key looked up, and its value set by
 * the row of the key. Invariant: a line that is wrong changes nothing and becomes a problem.
 */
#include "config.h"

#include "core/base/utf8.h"
#include "q2_line.h"

struct slice {
    const char *start;
    size_t length;
};

struct parser {
    struct slice rest; /* of the file */
    uint32_t line;     /* number of the line taken last */
    struct mc_problems *problems;
    /* Take one line with a known or an unknown key. */
    void (*take)(struct parser *p, struct slice key, struct slice value);
};

struct entry_parser {
    struct parser parser; /* first */
    struct mc_disk_spec *spec;
    struct mc_spec_pool pool;
    uint64_t seen; /* bit i: mc_spec_keys[i] was there */
};

struct settings_parser {
    struct parser parser; /* first */
    struct mc_settings *settings;
    uint32_t seen; /* bit i: settings_names[i] was there */
};

/* The keys of metalcow.conf, in the order of settings_take(). */
static const char *const settings_names[] = {"default", "timeout", "editor", NULL};

static bool slice_equals(struct slice s, const char *text)
{
    for (size_t i = 0; i < s.length; i++) {
        if (text[i] == '\0' || s.start[i] != text[i])
            return false;
    }
    return text[s.length] == '\0';
}

static bool is_blank(char c)
{
    return c == ' ' || c == '\t';
}

static struct slice trim(struct slice s)
{
    while (s.length > 0 && is_blank(s.start[0])) {
        s.start++;
        s.length--;
    }
    while (s.length > 0 && is_blank(s.start[s.length - 1]))
        s.length--;
    return s;
}

/* Cut n bytes off the front. An absent value has a NULL start, which must not be added to. */
static struct slice slice_after(struct slice s, size_t n)
{
    return n == 0 ? s : (struct slice){s.start + n, s.length - n};
}

/* Note a problem; gives the place where it is kept, NULL if the list is full. */
static struct mc_problem *note(struct parser *p, enum mc_config_status status, struct slice key,
                               const char *text)
{
    struct mc_problems *problems = p->problems;
    struct mc_problem *problem;
    size_t n = 0;

    if (problems->nb++ >= MC_MAX_PROBLEMS)
        return NULL;
    problem = &problems->list[problems->nb - 1];
    *problem = (struct mc_problem){.status = status, .line = p->line, .text = text};
    for (; n < key.length && n < MC_MAX_KEY_LENGTH; n++)
        problem->key[n] = key.start[n] > ' ' && key.start[n] < 0x7f ? key.start[n] : '?';
    return problem;
}

/* Note a value that its key does not take. */
static void note_value(struct parser *p, struct slice key, struct slice value, const char *text)
{
    struct mc_problem *problem = note(p, MC_CONFIG_BAD_VALUE, key, text);
    size_t n = value.length;

    if (!problem)
        return;
    if (n > MC_MAX_VALUE_SHOWN) {
        n = MC_MAX_VALUE_SHOWN;
        while (n > 0 && ((unsigned char)value.start[n] & 0xc0) == 0x80) /* inside a character */
            n--;
        __builtin_memcpy(problem->value + n, "...", 3);
    }
    for (size_t i = 0; i < n; i++)
        problem->value[i] = value.start[i];
}

/* Note a problem of a line or file as a whole; always false. */
static bool refuse(struct parser *p, enum mc_config_status status, const char *text)
{
    static const struct slice no_key = {"", 0};

    (void)note(p, status, no_key, text);
    return false;
}

/* Take the next line off the rest of the file, without its LF or CRLF; false at the end. */
static bool line_take(struct parser *p, struct slice *ret_line)
{
    struct slice line = {p->rest.start, 0};

    if (p->rest.length == 0)
        return false;
    while (line.length < p->rest.length && line.start[line.length] != '\n')
        line.length++;
    p->rest = slice_after(p->rest, line.length + (line.length < p->rest.length ? 1 : 0));
    p->line++;
    if (line.length > 0 && line.start[line.length - 1] == '\r')
        line.length--;
    *ret_line = line;
    return true;
}

static bool is_control(uint32_t c)
{
    return (c < 0x20 && c != '\t') || (c >= 0x7f && c < 0xa0);
}

/* Comments are checked too, because a line with such bytes is no text, or was made to look
 * different from what it is. */
static bool line_check(struct parser *p, struct slice line)
{
    uint32_t c = 0;

    for (size_t n; line.length > 0; line = slice_after(line, n)) {
        n = q2_utf8_decode(line.start, line.length, &c);
        if (n == 0)
            return refuse(p, MC_CONFIG_BAD_ENCODING, "is not UTF-8; save the file as UTF-8");
        if (c == 0)
            return refuse(p, MC_CONFIG_BAD_CHARACTER,
                          "has a zero byte; save the file as plain text");
        if (is_control(c))
            return refuse(p, MC_CONFIG_BAD_CHARACTER,
                          "has a character that cannot be seen; write the line anew");
    }
    return true;
}

static void take_unknown(struct parser *p, struct slice key, const char *nearest)
{
    struct mc_problem *problem = note(p, MC_CONFIG_UNKNOWN, key, "is no key");

    if (problem)
        problem->nearest = nearest;
}

/* Take a line with something on it: a key, blanks, and what is left as the value. */
static void line_parse(struct parser *p, struct slice line)
{
    struct slice key = {line.start, 0};

    while (key.length < line.length && !is_blank(line.start[key.length]))
        key.length++;
    p->take(p, key, trim(slice_after(line, key.length)));
}

/* What is wrong with the file as a whole; takes the byte order mark off. */
static bool file_check(struct parser *p)
{
    struct slice *rest = &p->rest;

    if (rest->length > MC_MAX_CONFIG_SIZE)
        return refuse(p, MC_CONFIG_TOO_LARGE,
                      "is larger than 64 KiB, so it is no file of entries or settings");
    if (rest->length >= 2 && ((uint8_t)rest->start[0] ^ (uint8_t)rest->start[1]) == 1 &&
        (uint8_t)rest->start[0] >= 0xfe)
        return refuse(p, MC_CONFIG_BAD_ENCODING, "is UTF-16; save the file as UTF-8");
    if (rest->length >= 3 && slice_equals((struct slice){rest->start, 3}, "\xef\xbb\xbf"))
        *rest = slice_after(*rest, 3);
    return true;
}
_Static_assert(MC_MAX_CONFIG_SIZE == 64 * 1024, "text above");

static bool file_parse(struct parser *p)
{
    struct slice line;

    if (!file_check(p))
        return false;
    while (line_take(p, &line)) {
        bool is_text = line_check(p, line);
        line = trim(line);
        if (is_text && line.length > 0 && line.start[0] != '#')
            line_parse(p, line);
    }
    p->line = 0;
    return true;
}

/* struct parser.take, of entries */
static void entry_take(struct parser *p, struct slice key, struct slice value)
{
    struct entry_parser *entry = (struct entry_parser *)p;
    const struct mc_spec_key *row = mc_spec_find_key(key.start, key.length);
    uint64_t bit = row ? 1ull << (row - mc_spec_keys) : 0;
    const char *refusal;

    if (!row) {
        take_unknown(p, key, mc_spec_nearest_key(key.start, key.length));
        return;
    }
    if ((entry->seen & bit) != 0 && row->kind != MC_SPEC_PATHS && row->kind != MC_SPEC_SUMS) {
        (void)note(p, MC_CONFIG_DUPLICATE, key, "is given twice; the first line counts");
        return;
    }
    entry->seen |= bit;
    if (value.length == 0) {
        (void)note(p, MC_CONFIG_NO_VALUE, key, "has no value; write it after the key");
        if (row->kind == MC_SPEC_SUMS) /* a sum that is missing fits no file */
            (void)mc_spec_set(entry->spec, row, "", 0, NULL);
        return;
    }
    refusal = mc_spec_set(entry->spec, row, value.start, value.length, &entry->pool);
    if (refusal)
        note_value(p, key, value, refusal);
}

/* An entry that was not understood whole is not written to. */
static void protect(struct parser *p, struct mc_disk_spec *spec)
{
    static const struct slice mode = {"mode", 4};

    if (p->problems->nb == 0 || spec->mode != MC_MODE_READ_WRITE)
        return;
    spec->mode = MC_MODE_READ_ONLY;
    (void)note(p, MC_CONFIG_NOT_WRITTEN, mode, "is ro until the lines above are right");
}

bool mc_entry_parse(const char *text, size_t length, struct mc_entry *ret_entry,
                    struct mc_problems *ret_problems)
{
    static const struct slice image = {"image", 5};
    struct entry_parser entry = {
        .parser = {.rest = {text, length}, .problems = ret_problems, .take = entry_take},
        .spec = &ret_entry->spec,
        .pool = {.bytes = ret_entry->text, .size = sizeof(ret_entry->text)},
    };
    bool is_text;

    ret_problems->nb = 0;
    ret_entry->id[0] = '\0';
    mc_spec_init(&ret_entry->spec);
    is_text = file_parse(&entry.parser);
    ret_entry->nb_problems = ret_problems->nb;
    if (ret_problems->nb > 0)
        ret_entry->problem = ret_problems->list[0];
    if (ret_entry->spec.image) {
        protect(&entry.parser, &ret_entry->spec);
        return true;
    }
    if (is_text)
        (void)note(&entry.parser, MC_CONFIG_NO_IMAGE, image, "is missing; add a line 'image FILE'");
    return false;
}

/* A number of seconds, or a word. MC_MENU_TIMEOUT with 0 seconds is MC_MENU_HIDDEN. The seconds are
 * 0 before, because a key counts once. */
static bool timeout_parse(struct slice value, struct mc_settings *settings)
{
    uint32_t seconds = 0;

    settings->menu = slice_equals(value, "menu-force") ? MC_MENU_FORCE : MC_MENU_HIDDEN;
    if (settings->menu == MC_MENU_FORCE || slice_equals(value, "menu-hidden"))
        return true;
    for (size_t i = 0; i < value.length; i++) {
        char c = value.start[i];
        if (c >= '0' && c <= '9')
            seconds = seconds * 10 + (uint32_t)(c - '0');
        if (c < '0' || c > '9' || seconds > MC_MAX_TIMEOUT_SECONDS)
            return false;
    }
    settings->menu = seconds > 0 ? MC_MENU_TIMEOUT : MC_MENU_HIDDEN;
    settings->timeout_seconds = seconds;
    return true;
}

static void timeout_take(struct settings_parser *p, struct slice key, struct slice value)
{
    struct mc_settings settings = *p->settings;

    if (!timeout_parse(value, &settings))
        note_value(&p->parser, key, value,
                   "is neither a number of seconds up to 3600, nor menu-force, nor menu-hidden");
    else
        *p->settings = settings;
}
_Static_assert(MC_MAX_TIMEOUT_SECONDS == 3600, "text above");

static void default_take(struct settings_parser *p, struct slice key, struct slice value)
{
    if (value.length > MC_MAX_TEXT_LENGTH) {
        note_value(&p->parser, key, value, "is longer than 255 bytes");
        return;
    }
    for (size_t i = 0; i < value.length; i++)
        p->settings->default_entry[i] = value.start[i];
}
_Static_assert(MC_MAX_TEXT_LENGTH == 255, "text above");

static void editor_take(struct settings_parser *p, struct slice key, struct slice value)
{
    bool no = slice_equals(value, "no");

    if (!no && !slice_equals(value, "yes"))
        note_value(&p->parser, key, value, "is neither yes nor no");
    else
        p->settings->no_editor = no;
}

/* struct parser.take, of settings */
static void settings_take(struct parser *p, struct slice key, struct slice value)
{
    struct settings_parser *settings = (struct settings_parser *)p;
    size_t i = 0;

    while (settings_names[i] && !slice_equals(key, settings_names[i]))
        i++;
    if (!settings_names[i]) {
        take_unknown(p, key, mc_spec_nearest(settings_names, key.start, key.length));
        return;
    }
    if ((settings->seen & 1u << i) != 0) {
        (void)note(p, MC_CONFIG_DUPLICATE, key, "is given twice; the first line counts");
        return;
    }
    if (value.length == 0) {
        (void)note(p, MC_CONFIG_NO_VALUE, key, "has no value; write it after the key");
        return;
    }
    settings->seen |= 1u << i;
    if (i == 0)
        default_take(settings, key, value);
    else if (i == 1)
        timeout_take(settings, key, value);
    else
        editor_take(settings, key, value);
}

void mc_settings_parse(const char *text, size_t length, struct mc_settings *ret_settings,
                       struct mc_problems *ret_problems)
{
    struct settings_parser settings = {
        .parser = {.rest = {text, length}, .problems = ret_problems, .take = settings_take},
        .settings = ret_settings,
    };

    ret_problems->nb = 0;
    *ret_settings = (struct mc_settings){.menu = MC_MENU_HIDDEN};
    (void)file_parse(&settings.parser);
    ret_settings->nb_problems = ret_problems->nb;
    if (ret_problems->nb > 0)
        ret_settings->problem = ret_problems->list[0];
}

size_t mc_problem_format(const struct mc_problem *problem, const char *file, char *buffer,
                         size_t size)
{
    struct q2_line line = q2_line_start(buffer, size);

    q2_line_put(&line, file);
    if (problem->line != 0) {
        q2_line_put(&line, ", line ");
        q2_line_put_number(&line, problem->line, 10);
    }
    if (problem->key[0] != '\0') {
        q2_line_put(&line, ": ");
        q2_line_put(&line, problem->key);
    }
    if (problem->value[0] != '\0') {
        q2_line_put(&line, " '");
        q2_line_put(&line, problem->value);
        q2_line_put(&line, "'");
    }
    q2_line_put(&line, " ");
    q2_line_put(&line, problem->text);
    if (problem->nearest) {
        q2_line_put(&line, "; did you mean ");
        q2_line_put(&line, problem->nearest);
        q2_line_put(&line, "?");
    }
    return line.length;
}
