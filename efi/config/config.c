/* The configuration: files to structs.
 *
 * Called by efi/ at start; calls nothing but utf8.h and size.h. Two steps: every line is split,
 * looked up in a table of keys and its value checked, which leaves slices of the text; only a file
 * that is right to its end is then copied into the caller's struct. Invariant: what is written to a
 * result has passed the check that its row names, and fits by the row's limit.
 */
#include "config.h"

#include "size.h"
#include "core/base/utf8.h"

struct slice {
    const char *start;
    size_t length;
};

/* What a known key was given. line 0: it was not. */
struct value {
    struct slice text;
    uint32_t line;
    uint32_t number; /* WORD: index into the words; TIMEOUT: seconds or TIMEOUT_FORCE */
    uint64_t size;   /* SIZE: bytes */
};

enum value_kind {
    KIND_TEXT,
    KIND_PATH,
    KIND_WORD,
    KIND_SIZE,
    KIND_TIMEOUT,
};

/* The words that a key allows, and how to say that it was given another. */
struct words {
    const char *word[4];
    const char *refusal;
};

struct rule {
    const char *key;
    enum value_kind kind;
    const struct words *words;
};

struct parser {
    struct slice rest; /* of the file */
    uint32_t line;     /* number of the line taken last */
    const struct rule *rules;
    size_t nb_rules;
    struct value *values; /* one per rule */
    struct mc_unknown_keys unknown;
    struct mc_config_error *error;
};

/* Indexed by enum q2_name_policy. */
static const struct words names_words = {
    {"below", "none", "any"},
    "is none of below, none, any",
};

static const struct words backing_format_words = {
    {"raw"},
    "is not raw; other formats must stand in the image",
};

/* Indexed by enum mc_mode. */
static const struct words mode_words = {
    {"ro", "rw", "overlay"},
    "is none of ro, rw, overlay",
};

/* "no" is 0. */
static const struct words attach_words = {
    {"no", "yes"},
    "is neither yes nor no",
};

/* Indexed by enum mc_handoff, less one: a file cannot say "unset". */
static const struct words handoff_words = {
    {"nbd", "ramdisk", "none"},
    "is none of nbd, ramdisk, none",
};

enum entry_key {
    KEY_TITLE,
    KEY_IMAGE,
    KEY_DATA_FILE,
    KEY_BACKING_FILE,
    KEY_BACKING_FORMAT,
    KEY_SNAPSHOT,
    KEY_NAMES,
    KEY_MODE,
    KEY_OVERLAY_SIZE,
    KEY_ROOM,
    KEY_ATTACH,
    KEY_BOOT,
    KEY_HANDOFF,
    KEY_PASSPHRASE_FILE,
    KEY_KEY_FILE,
    KEY_SORT_KEY,
    KEY_MACHINE_ID,
    KEY_VERSION,
    NB_ENTRY_KEYS
};

static const struct rule entry_rules[] = {
    [KEY_TITLE] = {"title", KIND_TEXT, NULL},
    [KEY_IMAGE] = {"image", KIND_PATH, NULL},
    [KEY_DATA_FILE] = {"data-file", KIND_PATH, NULL},
    [KEY_BACKING_FILE] = {"backing-file", KIND_PATH, NULL},
    [KEY_BACKING_FORMAT] = {"backing-format", KIND_WORD, &backing_format_words},
    [KEY_SNAPSHOT] = {"snapshot", KIND_TEXT, NULL},
    [KEY_NAMES] = {"names", KIND_WORD, &names_words},
    [KEY_MODE] = {"mode", KIND_WORD, &mode_words},
    [KEY_OVERLAY_SIZE] = {"overlay-size", KIND_SIZE, NULL},
    [KEY_ROOM] = {"room", KIND_SIZE, NULL},
    [KEY_ATTACH] = {"attach", KIND_WORD, &attach_words},
    [KEY_BOOT] = {"boot", KIND_PATH, NULL},
    [KEY_HANDOFF] = {"handoff", KIND_WORD, &handoff_words},
    [KEY_PASSPHRASE_FILE] = {"passphrase-file", KIND_PATH, NULL},
    [KEY_KEY_FILE] = {"key-file", KIND_PATH, NULL},
    [KEY_SORT_KEY] = {"sort-key", KIND_TEXT, NULL},
    [KEY_MACHINE_ID] = {"machine-id", KIND_TEXT, NULL},
    [KEY_VERSION] = {"version", KIND_TEXT, NULL},
};
_Static_assert(sizeof entry_rules / sizeof *entry_rules == NB_ENTRY_KEYS, "a rule for each key");

enum settings_key {
    KEY_DEFAULT,
    KEY_TIMEOUT,
    NB_SETTINGS_KEYS
};

static const struct rule settings_rules[] = {
    [KEY_DEFAULT] = {"default", KIND_TEXT, NULL},
    [KEY_TIMEOUT] = {"timeout", KIND_TIMEOUT, NULL},
};
_Static_assert(sizeof settings_rules / sizeof *settings_rules == NB_SETTINGS_KEYS,
               "a rule for each key");

#define TIMEOUT_FORCE UINT32_MAX

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
static struct slice slice_behind(struct slice s, size_t n)
{
    return n == 0 ? s : (struct slice){s.start + n, s.length - n};
}

static enum mc_config_status fail(struct parser *p, enum mc_config_status status, const char *key,
                                  const char *text)
{
    struct mc_config_error *error = p->error;
    size_t n = 0;

    error->status = status;
    error->line = p->line;
    error->text = text;
    for (; key[n] != '\0' && n < MC_MAX_KEY_LENGTH; n++)
        error->key[n] = key[n];
    error->key[n] = '\0';
    return status;
}

/* Take the next line off the rest of the file, without its LF or CRLF; false at the end. */
static bool line_take(struct parser *p, struct slice *ret_line)
{
    struct slice line = {p->rest.start, 0};

    if (p->rest.length == 0)
        return false;
    while (line.length < p->rest.length && line.start[line.length] != '\n')
        line.length++;
    p->rest = slice_behind(p->rest, line.length + (line.length < p->rest.length ? 1 : 0));
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

/* Comments too: a file with such bytes is no text, or made to look different from what it is. */
static enum mc_config_status line_check(struct parser *p, struct slice line)
{
    uint32_t c = 0;

    for (size_t n; line.length > 0; line = slice_behind(line, n)) {
        n = mc_utf8_decode(line.start, line.length, &c);
        if (n == 0)
            return fail(p, MC_CONFIG_BAD_ENCODING, "", "is not UTF-8; save the file as UTF-8");
        if (c == 0)
            return fail(p, MC_CONFIG_BAD_CHARACTER, "", "has a NUL byte");
        if (is_control(c))
            return fail(p, MC_CONFIG_BAD_CHARACTER, "", "has a control character");
    }
    return MC_CONFIG_OK;
}

static bool is_separator(char c)
{
    return c == '/' || c == '\\';
}

/* Take the next component off a path, past separators and "." components; false at the end. */
static bool component_take(struct slice *path, struct slice *ret_component)
{
    struct slice component;

    do {
        while (path->length > 0 && is_separator(path->start[0]))
            *path = slice_behind(*path, 1);
        component = (struct slice){path->start, 0};
        while (component.length < path->length && !is_separator(path->start[component.length]))
            component.length++;
        *path = slice_behind(*path, component.length);
    } while (slice_equals(component, "."));
    *ret_component = component;
    return component.length > 0;
}

/* What no file name on FAT or in the UEFI file protocol can have; NULL: nothing.
 * (UEFI: "EFI_FILE_PROTOCOL.Open()"; file names are UCS-2 there) */
static const char *component_refusal(struct slice component)
{
    uint32_t c = 0, nb_units = 0;

    if (slice_equals(component, ".."))
        return "has \"..\"; paths begin at the top of the volume";
    for (size_t n; component.length > 0; component = slice_behind(component, n)) {
        n = mc_utf8_decode(component.start, component.length, &c);
        if (c == ':')
            return "names a device; paths lie on the configuration's own volume";
        if (c == '"' || c == '*' || c == '<' || c == '>' || c == '?' || c == '|' || c == '\t')
            return "has a character that no file name can have";
        if (c >= 0xfffe)
            return "has a character that UEFI cannot have in a file name";
        if (++nb_units > Q2_MAX_COMPONENT_LENGTH)
            return "has a file name over 255 characters";
    }
    return NULL;
}

/* The line is UTF-8 by now. */
static enum mc_config_status path_check(struct parser *p, const char *key, struct slice path)
{
    struct slice component;
    const char *refusal = NULL;

    if (is_separator(path.start[path.length - 1]))
        return fail(p, MC_CONFIG_BAD_PATH, key, "names a folder, not a file");
    /* The separator that copy_path() may put in front counts. */
    if (path.length > Q2_MAX_PATH_LENGTH - 1)
        return fail(p, MC_CONFIG_TOO_LONG, key, "is longer than 2046 bytes");
    if (!component_take(&path, &component))
        return fail(p, MC_CONFIG_BAD_PATH, key, "names a folder, not a file");
    do {
        refusal = component_refusal(component);
    } while (refusal == NULL && component_take(&path, &component));
    return refusal == NULL ? MC_CONFIG_OK : fail(p, MC_CONFIG_BAD_PATH, key, refusal);
}
_Static_assert(Q2_MAX_PATH_LENGTH - 1 == 2046 && Q2_MAX_COMPONENT_LENGTH == 255, "texts above");

static enum mc_config_status text_check(struct parser *p, const char *key, struct slice text)
{
    if (text.length > MC_MAX_TEXT_LENGTH)
        return fail(p, MC_CONFIG_TOO_LONG, key, "is longer than 255 bytes");
    return MC_CONFIG_OK;
}
_Static_assert(MC_MAX_TEXT_LENGTH == 255, "text above");

static enum mc_config_status word_check(struct parser *p, const struct rule *rule,
                                        struct value *value)
{
    const struct words *words = rule->words;

    for (uint32_t i = 0; i < sizeof words->word / sizeof *words->word; i++) {
        if (words->word[i] != NULL && slice_equals(value->text, words->word[i])) {
            value->number = i;
            return MC_CONFIG_OK;
        }
    }
    return fail(p, MC_CONFIG_BAD_VALUE, rule->key, words->refusal);
}

static enum mc_config_status size_check(struct parser *p, const char *key, struct value *value)
{
    if (!mc_size_parse(value->text.start, value->text.length, &value->size))
        return fail(p, MC_CONFIG_BAD_VALUE, key, "is no size up to 1024G, such as 64M");
    return MC_CONFIG_OK;
}
_Static_assert(MC_MAX_SIZE == 1024ull << 30, "text above");

static enum mc_config_status timeout_check(struct parser *p, const char *key, struct value *value)
{
    uint32_t seconds = 0;

    value->number = slice_equals(value->text, "menu-force") ? TIMEOUT_FORCE : 0;
    if (value->number == TIMEOUT_FORCE || slice_equals(value->text, "menu-hidden"))
        return MC_CONFIG_OK;
    for (size_t i = 0; i < value->text.length; i++) {
        char c = value->text.start[i];
        if (c >= '0' && c <= '9')
            seconds = seconds * 10 + (uint32_t)(c - '0');
        if (c < '0' || c > '9' || seconds > MC_MAX_TIMEOUT_SECONDS)
            return fail(p, MC_CONFIG_BAD_VALUE, key,
                        "is neither 0 to 3600 seconds nor menu-force or menu-hidden");
    }
    value->number = seconds;
    return MC_CONFIG_OK;
}
_Static_assert(MC_MAX_TIMEOUT_SECONDS == 3600, "text above");

static enum mc_config_status value_check(struct parser *p, const struct rule *rule,
                                         struct value *value)
{
    switch (rule->kind) {
    case KIND_TEXT:
        return text_check(p, rule->key, value->text);
    case KIND_PATH:
        return path_check(p, rule->key, value->text);
    case KIND_WORD:
        return word_check(p, rule, value);
    case KIND_SIZE:
        return size_check(p, rule->key, value);
    case KIND_TIMEOUT:
        return timeout_check(p, rule->key, value);
    }
    return fail(p, MC_CONFIG_BAD_VALUE, rule->key, "has no check");
}

static void unknown_count(struct parser *p, struct slice key)
{
    struct mc_unknown_keys *unknown = &p->unknown;
    size_t n = 0;

    if (unknown->nb++ > 0)
        return;
    unknown->line = p->line;
    for (; n < key.length && n < MC_MAX_KEY_LENGTH; n++)
        unknown->key[n] = key.start[n] > ' ' && key.start[n] < 0x7f ? key.start[n] : '?';
    unknown->key[n] = '\0';
}

/* A line with something on it. */
static enum mc_config_status setting_take(struct parser *p, struct slice line)
{
    struct slice key = {line.start, 0};
    size_t i = 0;
    struct value *value;

    while (key.length < line.length && !is_blank(line.start[key.length]))
        key.length++;
    while (i < p->nb_rules && !slice_equals(key, p->rules[i].key))
        i++;
    if (i == p->nb_rules) {
        unknown_count(p, key);
        return MC_CONFIG_OK;
    }
    value = &p->values[i];
    if (value->line != 0)
        return fail(p, MC_CONFIG_DUPLICATE, p->rules[i].key, "is there for the second time");
    value->line = p->line;
    value->text = trim(slice_behind(line, key.length));
    if (value->text.length == 0)
        return fail(p, MC_CONFIG_NO_VALUE, p->rules[i].key, "has no value");
    return value_check(p, &p->rules[i], value);
}

/* What is wrong with the file as a whole; takes the byte order mark off. */
static enum mc_config_status file_check(struct parser *p)
{
    struct slice *rest = &p->rest;

    if (rest->length > MC_MAX_CONFIG_SIZE)
        return fail(p, MC_CONFIG_TOO_LARGE, "", "is larger than 64 KiB");
    if (rest->length >= 2 && ((uint8_t)rest->start[0] ^ (uint8_t)rest->start[1]) == 1 &&
        (uint8_t)rest->start[0] >= 0xfe)
        return fail(p, MC_CONFIG_BAD_ENCODING, "", "is UTF-16; save the file as UTF-8");
    if (rest->length >= 3 && slice_equals((struct slice){rest->start, 3}, "\xef\xbb\xbf"))
        *rest = slice_behind(*rest, 3);
    return MC_CONFIG_OK;
}
_Static_assert(MC_MAX_CONFIG_SIZE == 64 * 1024, "text above");

/* Split and check every line; the values point into the text. */
static enum mc_config_status file_parse(struct parser *p)
{
    struct slice line;
    enum mc_config_status status = file_check(p);

    while (status == MC_CONFIG_OK && line_take(p, &line)) {
        status = line_check(p, line);
        line = trim(line);
        if (status == MC_CONFIG_OK && line.length > 0 && line.start[0] != '#')
            status = setting_take(p, line);
    }
    return status;
}

/* to has room for MC_MAX_TEXT_LENGTH bytes and a NUL: text_check(). */
static void copy_text(char *to, const struct value *value)
{
    for (size_t i = 0; i < value->text.length; i++)
        to[i] = value->text.start[i];
    to[value->text.length] = '\0';
}

/* to has room for Q2_MAX_PATH_LENGTH bytes and a NUL: path_check(). */
static void copy_path(char *to, const struct value *value)
{
    struct slice path = value->text;
    struct slice component;
    size_t n = 0;

    while (component_take(&path, &component)) {
        to[n++] = '/';
        for (size_t i = 0; i < component.length; i++)
            to[n++] = component.start[i];
    }
    to[n] = '\0';
}

static void entry_fill(struct mc_entry *entry, const struct value *values)
{
    static const struct value default_boot = {
        .text = {MC_DEFAULT_BOOT_PATH, sizeof MC_DEFAULT_BOOT_PATH - 1},
    };
    const struct value *boot = &values[KEY_BOOT];

    entry->id[0] = '\0';
    copy_text(entry->title, &values[KEY_TITLE]);
    copy_text(entry->snapshot, &values[KEY_SNAPSHOT]);
    copy_text(entry->sort_key, &values[KEY_SORT_KEY]);
    copy_text(entry->machine_id, &values[KEY_MACHINE_ID]);
    copy_text(entry->version, &values[KEY_VERSION]);
    copy_path(entry->image, &values[KEY_IMAGE]);
    copy_path(entry->data_file, &values[KEY_DATA_FILE]);
    copy_path(entry->backing_file, &values[KEY_BACKING_FILE]);
    copy_path(entry->boot, boot->line != 0 ? boot : &default_boot);
    copy_path(entry->passphrase_file, &values[KEY_PASSPHRASE_FILE]);
    copy_path(entry->key_file, &values[KEY_KEY_FILE]);
    entry->names = (enum q2_name_policy)values[KEY_NAMES].number;
    entry->mode = (enum mc_mode)values[KEY_MODE].number;
    entry->overlay_size = values[KEY_OVERLAY_SIZE].line != 0 ? values[KEY_OVERLAY_SIZE].size
                                                             : MC_DEFAULT_OVERLAY_SIZE;
    entry->room = values[KEY_ROOM].line != 0 ? values[KEY_ROOM].size : MC_DEFAULT_ROOM;
    entry->backing_raw = values[KEY_BACKING_FORMAT].line != 0;
    entry->attach = values[KEY_ATTACH].line == 0 || values[KEY_ATTACH].number == 1;
    entry->handoff = MC_HANDOFF_UNSET;
    if (values[KEY_HANDOFF].line != 0)
        entry->handoff = (enum mc_handoff)(values[KEY_HANDOFF].number + MC_HANDOFF_NBD);
}
_Static_assert(Q2_NAMES_BELOW == 0 && Q2_NAMES_NONE == 1 && Q2_NAMES_ANY == 2, "names_words");
_Static_assert(MC_MODE_READ_ONLY == 0 && MC_MODE_READ_WRITE == 1 && MC_MODE_OVERLAY == 2,
               "mode_words");

enum mc_config_status mc_entry_parse(const char *text, size_t length, struct mc_entry *ret_entry,
                                     struct mc_config_error *ret_error)
{
    struct value values[NB_ENTRY_KEYS] = {0};
    struct parser p = {.rest = {text, length},
                       .rules = entry_rules,
                       .nb_rules = NB_ENTRY_KEYS,
                       .values = values,
                       .error = ret_error};
    enum mc_config_status status = file_parse(&p);

    if (status != MC_CONFIG_OK)
        return status;
    if (values[KEY_IMAGE].line == 0) {
        p.line = 0;
        return fail(&p, MC_CONFIG_NO_IMAGE, "image", "is missing");
    }
    entry_fill(ret_entry, values);
    ret_entry->unknown = p.unknown;
    return MC_CONFIG_OK;
}

enum mc_config_status mc_settings_parse(const char *text, size_t length,
                                        struct mc_settings *ret_settings,
                                        struct mc_config_error *ret_error)
{
    struct value values[NB_SETTINGS_KEYS] = {0};
    struct parser p = {.rest = {text, length},
                       .rules = settings_rules,
                       .nb_rules = NB_SETTINGS_KEYS,
                       .values = values,
                       .error = ret_error};
    enum mc_config_status status = file_parse(&p);
    uint32_t timeout = values[KEY_TIMEOUT].number;

    if (status != MC_CONFIG_OK)
        return status;
    copy_text(ret_settings->default_entry, &values[KEY_DEFAULT]);
    ret_settings->menu = timeout == TIMEOUT_FORCE ? MC_MENU_FORCE
                         : timeout > 0            ? MC_MENU_TIMEOUT
                                                  : MC_MENU_HIDDEN;
    ret_settings->timeout_seconds = timeout == TIMEOUT_FORCE ? 0 : timeout;
    ret_settings->unknown = p.unknown;
    return MC_CONFIG_OK;
}

/* A line of text that grows; what does not fit is counted only. */
struct line {
    char *buffer;
    size_t size;
    size_t length;
};

static void line_add(struct line *line, const char *text)
{
    for (; *text != '\0'; text++, line->length++) {
        if (line->length + 1 < line->size)
            line->buffer[line->length] = *text;
    }
}

static void line_add_number(struct line *line, uint32_t number)
{
    char digits[sizeof "4294967295"];
    char *first = digits + sizeof digits - 1;

    *first = '\0';
    do {
        *--first = (char)('0' + number % 10);
        number /= 10;
    } while (number != 0);
    line_add(line, first);
}

size_t mc_config_error_format(const struct mc_config_error *error, const char *file, char *buffer,
                              size_t size)
{
    struct line line = {buffer, size, 0};

    line_add(&line, file);
    if (error->line != 0) {
        line_add(&line, ", line ");
        line_add_number(&line, error->line);
    }
    if (error->key[0] != '\0') {
        line_add(&line, ": ");
        line_add(&line, error->key);
    }
    line_add(&line, " ");
    line_add(&line, error->text);
    buffer[line.length < size ? line.length : size - 1] = '\0';
    return line.length;
}
