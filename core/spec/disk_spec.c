/* The table of a disk's keys, and setting one of them from text.
 *
 * May call its own folder and core/base/. Invariant: a member is written only after its value has
 * passed the row's check.
 */
#include "disk_spec.h"

#include "core/base/text.h"
#include "spec_path.h"

#define AT(member) offsetof(struct mc_disk_spec, member)

static const struct mc_spec_word names_words[] = {
    {"below", Q2_NAMES_BELOW}, {"none", Q2_NAMES_NONE}, {"any", Q2_NAMES_ANY}, {NULL, 0}};
static const struct mc_spec_word format_words[] = {
    {"qcow2", Q2_FORMAT_QCOW2}, {"raw", Q2_FORMAT_RAW}, {NULL, 0}};
static const struct mc_spec_word backing_format_words[] = {
    {"raw", Q2_UNSAID_RAW}, {"qcow2", Q2_UNSAID_QCOW2}, {NULL, 0}};
static const struct mc_spec_word mode_words[] = {
    {"ro", MC_MODE_READ_ONLY}, {"rw", MC_MODE_READ_WRITE}, {"overlay", MC_MODE_OVERLAY}, {NULL, 0}};
static const struct mc_spec_word handoff_words[] = {{"auto", MC_HANDOFF_AUTO},
                                                    {"server", MC_HANDOFF_SERVER},
                                                    {"ramdisk", MC_HANDOFF_RAMDISK},
                                                    {"none", MC_HANDOFF_NONE},
                                                    {NULL, 0}};
static const struct mc_spec_word yes_words[] = {{"yes", 1}, {"no", 0}, {NULL, 0}};
static const struct mc_spec_word sector_size_words[] = {{"512", 512}, {"4096", 4096}, {NULL, 0}};

const struct mc_spec_key mc_spec_keys[] = {
    {"title", NULL, AT(title), MC_SPEC_TEXT, .value = "TEXT",
     .help = "what a menu shows; else the entry's id"},
    {"image", NULL, AT(image), MC_SPEC_PATH, .value = "FILE", .help = "the image; required"},
    {"format", "--format", AT(format), MC_SPEC_WORD, format_words, "is neither qcow2 nor raw",
     "qcow2|raw", "qcow2", .help = "the image's format"},
    {"data-file", "--data-file", AT(data_file), MC_SPEC_PATH, .value = "FILE",
     .help = "its external data file; else the name in the image"},
    {"backing-file", "--backing-file", AT(backing_files), MC_SPEC_PATHS, .value = "FILE",
     .help = "its backing file, said again that one's, and so on; else the names in the images"},
    {"backing-format", "--backing-format", AT(backing_format), MC_SPEC_WORD, backing_format_words,
     "is neither raw nor qcow2", "raw|qcow2", NULL,
     .help = "the format of backing files whose format no image says"},
    {"snapshot", "--snapshot", AT(snapshot), MC_SPEC_TEXT, .value = "NAME",
     .help = "id or name of an internal snapshot; else the active state"},
    {"names", "--names", AT(names), MC_SPEC_WORD, names_words, "is none of below, none, any",
     "below|none|any", "below", .help = "which names in images may be opened"},
    {"passphrase-file", "--passphrase-file", AT(passphrase_file), MC_SPEC_PATH, .value = "FILE",
     .help = "its first line is the passphrase of an encrypted image"},
    {"key-file", "--key-file", AT(key_file), MC_SPEC_PATH, .value = "FILE",
     .help = "all its bytes are the passphrase of an encrypted image"},
    {"mode", "--mode", AT(mode), MC_SPEC_WORD, mode_words, "is none of ro, rw, overlay",
     "ro|rw|overlay", "ro", .help = "where writes go: nowhere, into the image, into memory"},
    {"room", "--room", AT(room), MC_SPEC_SIZE, NULL, NULL, "SIZE", "64M",
     .help =
         "mode rw: how much longer the file is made ahead of writes, at most; 0: it never grows"},
    {"overlay-size", "--overlay-size", AT(overlay_size), MC_SPEC_SIZE, NULL, NULL, "SIZE", "64M",
     .help = "mode overlay: memory for what is written"},
    {"sector-size", "--sector-size", AT(sector_size), MC_SPEC_WORD, sector_size_words,
     "is neither 512 nor 4096", "512|4096", NULL,
     .help = "the disk's sectors; else what its partition table shows"},
    {"attach", NULL, AT(no_attach), MC_SPEC_NO, NULL, "is neither yes nor no", "yes|no", "yes",
     .help = "whether the driver attaches it by itself"},
    {"boot", NULL, AT(boot), MC_SPEC_PATH, .value = "FILE",
     .help = "the loader on the disk; else it is looked for"},
    {"handoff", "--handoff", AT(handoff), MC_SPEC_WORD, handoff_words,
     "is none of auto, server, ramdisk, none", "auto|server|ramdisk|none", "auto",
     .help = "how a system keeps the disk after the firmware's end"},
    {"handoff-secure-boot", "--handoff-secure-boot", AT(handoff_secure_boot), MC_SPEC_WORD,
     yes_words, "is neither yes nor no", "yes|no", "no",
     .help = "give Linux the program that keeps its disk although Secure Boot is on"},
    {"verify", NULL, AT(sums), MC_SPEC_SUMS, .value = "SHA256",
     .help = "the image's SHA-256, said again its data file's, and so on; only where it is read"},
    {"sort-key", NULL, AT(sort_key), MC_SPEC_TEXT, .value = "TEXT",
     .help = "entries with one come first, in its order"},
    {"machine-id", NULL, AT(machine_id), MC_SPEC_TEXT, .value = "TEXT",
     .help = "then by this, in its order"},
    {"version", NULL, AT(version), MC_SPEC_TEXT, .value = "TEXT",
     .help = "then by this, the newest first"},
};
const size_t mc_spec_nb_keys = sizeof(mc_spec_keys) / sizeof(mc_spec_keys[0]);
_Static_assert(sizeof(enum mc_mode) == sizeof(uint32_t) &&
                   sizeof(enum q2_name_policy) == sizeof(uint32_t),
               "MC_SPEC_WORD writes 32 bits");

/* Are length bytes of text the whole of word? */
static bool is_word(const char *text, size_t length, const char *word)
{
    for (size_t i = 0; i < length; i++) {
        if (word[i] == '\0' || text[i] != word[i])
            return false;
    }
    return word[length] == '\0';
}

const struct mc_spec_key *mc_spec_find_key(const char *text, size_t length)
{
    for (size_t i = 0; i < mc_spec_nb_keys; i++) {
        if (is_word(text, length, mc_spec_keys[i].key))
            return &mc_spec_keys[i];
    }
    return NULL;
}

const struct mc_spec_key *mc_spec_find_option(const char *text)
{
    size_t length = q2_text_length(text);

    for (size_t i = 0; i < mc_spec_nb_keys; i++) {
        if (mc_spec_keys[i].option && is_word(text, length, mc_spec_keys[i].option))
            return &mc_spec_keys[i];
    }
    return NULL;
}

void mc_spec_init(struct mc_disk_spec *spec)
{
    *spec = (struct mc_disk_spec){.image = NULL};
    for (size_t i = 0; i < mc_spec_nb_keys; i++) {
        const struct mc_spec_key *key = &mc_spec_keys[i];
        if (key->fallback)
            (void)mc_spec_set(spec, key, key->fallback, q2_text_length(key->fallback), NULL);
    }
}

const char **mc_spec_string(struct mc_disk_spec *spec, const struct mc_spec_key *key, size_t index)
{
    const char **strings = (const char **)(void *)((char *)spec + key->offset);

    if (key->kind == MC_SPEC_PATHS)
        return index < MC_MAX_BACKING_FILES ? &strings[index] : NULL;
    if (key->kind != MC_SPEC_TEXT && key->kind != MC_SPEC_PATH)
        return NULL;
    return index == 0 ? strings : NULL;
}

/* Copy a text into the pool; NULL: it has no room. */
static const char *keep_text(struct mc_spec_pool *pool, const char *text, size_t length)
{
    char *copy = pool->bytes + pool->used;

    if (length >= pool->size - pool->used)
        return NULL;
    for (size_t i = 0; i < length; i++)
        copy[i] = text[i];
    copy[length] = '\0';
    pool->used += length + 1;
    return copy;
}

/* The same for a path, with '/' in front and between its components. */
static const char *keep_path(struct mc_spec_pool *pool, const char *path, size_t length)
{
    char *copy = pool->bytes + pool->used;
    size_t n = mc_path_form(path, length, copy, pool->size - pool->used);

    pool->used += n;
    return n > 0 ? copy : NULL;
}

static const char *set_string(struct mc_disk_spec *spec, const struct mc_spec_key *key,
                              const char *text, size_t length, struct mc_spec_pool *pool)
{
    const char **to = mc_spec_string(spec, key, 0);
    size_t index = 0;

    while (to && *to && key->kind == MC_SPEC_PATHS)
        to = mc_spec_string(spec, key, ++index);
    if (!to)
        return MC_SPEC_TOO_OFTEN;
    if (pool)
        text = key->kind == MC_SPEC_TEXT ? keep_text(pool, text, length)
                                         : keep_path(pool, text, length);
    if (!text)
        return "does not fit: the paths and texts of one disk are too long together";
    *to = text;
    return NULL;
}

static bool hex_digit(char c, uint32_t *ret_digit)
{
    char lower = c >= 'A' && c <= 'F' ? (char)(c - 'A' + 'a') : c;

    *ret_digit = lower >= 'a' ? (uint32_t)(lower - 'a') + 10 : (uint32_t)(lower - '0');
    return (c >= '0' && c <= '9') || (lower >= 'a' && lower <= 'f');
}

bool mc_sum_parse(const char *text, uint8_t ret_sum[MC_SUM_LENGTH])
{
    for (size_t i = 0; i < MC_SUM_LENGTH; i++) {
        uint32_t high, low;
        if (!hex_digit(text[2 * i], &high) || !hex_digit(text[2 * i + 1], &low))
            return false;
        ret_sum[i] = (uint8_t)(high << 4 | low);
    }
    return text[2 * MC_SUM_LENGTH] == '\0';
}

/* What is no sum is kept as "", which fits no file; one too many spoils the last one. */
static const char *set_sum(struct mc_disk_spec *spec, const char *text, size_t length,
                           struct mc_spec_pool *pool)
{
    uint8_t sum[MC_SUM_LENGTH];
    const char *refusal = NULL;
    size_t n = 0;

    while (n < MC_MAX_SUMS && spec->sums[n])
        n++;
    if (n == MC_MAX_SUMS) {
        spec->sums[n - 1] = "";
        return "is said for more than 16 files";
    }
    if (length != (size_t)2 * MC_SUM_LENGTH)
        refusal = "is no SHA-256: 64 hexadecimal digits";
    else if (pool)
        text = keep_text(pool, text, length);
    if (!refusal && !text)
        refusal = "does not fit: the paths and texts of one disk are too long together";
    if (!refusal && !mc_sum_parse(text, sum))
        refusal = "is no SHA-256: 64 hexadecimal digits";
    spec->sums[n] = refusal ? "" : text;
    return refusal;
}
_Static_assert(MC_MAX_SUMS == 16 && MC_SUM_LENGTH == 32, "texts above");

static const char *set_word(struct mc_disk_spec *spec, const struct mc_spec_key *key,
                            const char *text, size_t length)
{
    const struct mc_spec_word *word = key->words;

    while (word->word && !is_word(text, length, word->word))
        word++;
    if (!word->word)
        return key->refusal;
    __builtin_memcpy((char *)spec + key->offset, &word->value, sizeof(word->value));
    return NULL;
}

static const char *set_no(struct mc_disk_spec *spec, const struct mc_spec_key *key,
                          const char *text, size_t length)
{
    bool no = is_word(text, length, "no");

    if (!no && !is_word(text, length, "yes"))
        return key->refusal;
    *(bool *)(void *)((char *)spec + key->offset) = no;
    return NULL;
}

static const char *set_size(struct mc_disk_spec *spec, const struct mc_spec_key *key,
                            const char *text, size_t length)
{
    uint64_t size;

    if (!mc_size_parse(text, length, &size))
        return "is no size up to 1024G, such as 64M";
    __builtin_memcpy((char *)spec + key->offset, &size, sizeof(size));
    return NULL;
}
_Static_assert(MC_MAX_SIZE == 1024ull << 30, "text above");

const char *mc_spec_set(struct mc_disk_spec *spec, const struct mc_spec_key *key, const char *text,
                        size_t length, struct mc_spec_pool *pool)
{
    const char *refusal = NULL;

    switch (key->kind) {
    case MC_SPEC_WORD:
        return set_word(spec, key, text, length);
    case MC_SPEC_NO:
        return set_no(spec, key, text, length);
    case MC_SPEC_SIZE:
        return set_size(spec, key, text, length);
    case MC_SPEC_SUMS:
        return set_sum(spec, text, length, pool);
    case MC_SPEC_TEXT:
        refusal = length > MC_MAX_TEXT_LENGTH ? "is longer than 255 bytes" : NULL;
        break;
    case MC_SPEC_PATH:
    case MC_SPEC_PATHS:
        refusal = pool ? mc_path_refusal(text, length) : NULL;
        break;
    }
    return refusal ? refusal : set_string(spec, key, text, length, pool);
}
_Static_assert(MC_MAX_TEXT_LENGTH == 255, "text above");

bool mc_size_parse(const char *text, size_t length, uint64_t *ret_size)
{
    uint64_t size = 0;
    uint32_t bits = 0;
    char unit = length > 0 ? text[length - 1] : '\0';

    bits = unit == 'K' || unit == 'k' ? 10 : unit == 'M' || unit == 'm' ? 20 : 0;
    bits = unit == 'G' || unit == 'g' ? 30 : bits;
    length -= bits != 0 ? 1 : 0;
    if (length == 0)
        return false;
    for (size_t i = 0; i < length; i++) {
        if (text[i] < '0' || text[i] > '9')
            return false;
        size = size * 10 + (uint64_t)(text[i] - '0');
        if (size > MC_MAX_SIZE >> bits)
            return false;
    }
    *ret_size = size << bits;
    return true;
}
