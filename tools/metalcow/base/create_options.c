/* Creation options: a table of names, one parser for each kind of value.
 *
 * May call size.c. Invariant: an option is stored only after it has parsed.
 */
#include "create_options.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/range.h"
#include "output.h"
#include "size.h"

#define DEFAULT_CLUSTER_BITS  16u
#define DEFAULT_REFCOUNT_BITS 16u
#define MIN_EXTENDED_BITS     14u

/* (qcow2: header field crypt_method 1) The passphrase is the key, so guessing it costs nothing. */
#define LEGACY_REFUSED ": the legacy encryption is insecure; give encrypt.format=luks"

enum value_kind {
    VALUE_CLUSTER_SIZE,
    VALUE_COUNT,  /* uint32_t */
    VALUE_FLAG,   /* bool */
    VALUE_NUMBER, /* uint32_t */
    VALUE_SIZE,   /* uint64_t */
    VALUE_TEXT,   /* const char * */
    VALUE_WORD,   /* uint32_t, by the table words[] */
};

#define FIELD_OF(name) offsetof(struct create_options, name)

static const struct row {
    const char *name;
    enum value_kind kind;
    size_t field;
    bool raw;           /* raw files have it too */
    const char *preset; /* what a qcow2 image has if it is not given; NULL: nothing to print */
    const char *text;
} rows[] = {
    [CREATE_BACKING_FILE] = {"backing_file", VALUE_TEXT, FIELD_OF(image.backing_file), false, NULL,
                             "name of the base image, relative to the new one's folder"},
    [CREATE_BACKING_FMT] = {"backing_fmt", VALUE_TEXT, FIELD_OF(image.backing_format), false, NULL,
                            "format of the base image: qcow2, raw"},
    [CREATE_CLUSTER_SIZE] = {"cluster_size", VALUE_CLUSTER_SIZE, FIELD_OF(image.cluster_bits),
                             false, "65536", "size of a cluster, 512 to 2M"},
    [CREATE_COMPAT] = {"compat", VALUE_WORD, FIELD_OF(image.version), false, NULL,
                       "version of the format: 0.10 (v2) or 1.1 (v3)"},
    [CREATE_COMPRESSION_TYPE] = {"compression_type", VALUE_WORD, FIELD_OF(image.compression_type),
                                 false, "zlib", "how clusters are compressed: zlib, zstd"},
    [CREATE_DATA_FILE] = {"data_file", VALUE_TEXT, FIELD_OF(image.data_file), false, NULL,
                          "name of an external data file, relative to the image's folder"},
    [CREATE_DATA_FILE_RAW] = {"data_file_raw", VALUE_FLAG, FIELD_OF(image.raw_external_data), false,
                              NULL, "keep the external data file a raw image of the disk"},
    [CREATE_ENCRYPT_CIPHER_ALG] = {"encrypt.cipher-alg", VALUE_WORD, FIELD_OF(encrypt.cipher),
                                   false, NULL, "the cipher: aes-256 (default), aes-128"},
    [CREATE_ENCRYPT_CIPHER_MODE] = {"encrypt.cipher-mode", VALUE_WORD, FIELD_OF(encrypt.mode),
                                    false, NULL, "its mode: xts (default), cbc"},
    [CREATE_ENCRYPT_FORMAT] = {"encrypt.format", VALUE_WORD, FIELD_OF(encrypt.format), false, NULL,
                               "encrypt the disk: luks"},
    [CREATE_ENCRYPT_HASH_ALG] = {"encrypt.hash-alg", VALUE_WORD, FIELD_OF(encrypt.hash), false,
                                 NULL, "the hash of passphrases: sha256 (default), sha1, sha512"},
    [CREATE_ENCRYPT_ITER_TIME] = {"encrypt.iter-time", VALUE_COUNT, FIELD_OF(keys.iter_time), false,
                                  NULL, "ms that trying the passphrase takes (default 2000)"},
    [CREATE_ENCRYPT_IVGEN_ALG] = {"encrypt.ivgen-alg", VALUE_WORD, FIELD_OF(encrypt.ivgen), false,
                                  NULL,
                                  "what IVs are made of: plain64 (default), essiv (cbc only)"},
    [CREATE_ENCRYPT_IVGEN_HASH_ALG] = {"encrypt.ivgen-hash-alg", VALUE_WORD,
                                       FIELD_OF(encrypt.ivgen_hash), false, NULL,
                                       "the hash of essiv: sha256"},
    [CREATE_ENCRYPT_KEY_SECRET] = {"encrypt.key-secret", VALUE_TEXT, FIELD_OF(encrypt.secret),
                                   false, NULL, "id of the passphrase, which --object gives"},
    [CREATE_ENCRYPT_KEYSLOT] = {"encrypt.keyslot", VALUE_COUNT, FIELD_OF(keys.keyslot), false, NULL,
                                "the key slot, 0 to 7"},
    [CREATE_ENCRYPT_NEW_SECRET] = {"encrypt.new-secret", VALUE_TEXT, FIELD_OF(keys.new_secret),
                                   false, NULL, "id of the passphrase to add"},
    [CREATE_ENCRYPT_OLD_SECRET] = {"encrypt.old-secret", VALUE_TEXT, FIELD_OF(keys.old_secret),
                                   false, NULL, "id of the passphrase to erase"},
    [CREATE_ENCRYPT_STATE] = {"encrypt.state", VALUE_WORD, FIELD_OF(keys.state), false, NULL,
                              "what key slots become: active, inactive"},
    [CREATE_EXTENDED_L2] = {"extended_l2", VALUE_FLAG, FIELD_OF(image.extended_l2), false, "off",
                            "divide clusters into 32 subclusters (extended L2 entries)"},
    [CREATE_LAZY_REFCOUNTS] = {"lazy_refcounts", VALUE_FLAG, FIELD_OF(image.lazy_refcounts), false,
                               "off", "write late how often each cluster is used (refcounts)"},
    [CREATE_PREALLOCATION] = {"preallocation", VALUE_WORD, FIELD_OF(preallocation), true, NULL,
                              "what is allocated at once: off, metadata (qcow2), falloc, full"},
    [CREATE_REFCOUNT_BITS] = {"refcount_bits", VALUE_NUMBER, FIELD_OF(image.refcount_bits), false,
                              "16", "bits of the count of how often a cluster is used, 1 to 64"},
    [CREATE_SIZE] = {"size", VALUE_SIZE, FIELD_OF(image.virtual_size), true, NULL,
                     "size of the disk"},
};
_Static_assert(sizeof(rows) / sizeof(rows[0]) == NB_CREATE_OPTIONS, "a row for each option");
_Static_assert(sizeof(enum preallocation) == sizeof(uint32_t) &&
                   sizeof(enum key_state) == sizeof(uint32_t) &&
                   sizeof(enum encrypt_cipher) == sizeof(uint32_t) &&
                   sizeof(enum encrypt_mode) == sizeof(uint32_t) &&
                   sizeof(enum encrypt_ivgen) == sizeof(uint32_t) &&
                   sizeof(enum encrypt_hash) == sizeof(uint32_t),
               "stored as a word's value");

static const struct {
    enum create_option option;
    const char *word;
    uint32_t value;
} words[] = {
    {CREATE_COMPAT, "0.10", 2},
    {CREATE_COMPAT, "v2", 2},
    {CREATE_COMPAT, "1.1", 3},
    {CREATE_COMPAT, "v3", 3},
    {CREATE_COMPRESSION_TYPE, "zlib", Q2_COMPRESSION_ZLIB},
    {CREATE_COMPRESSION_TYPE, "zstd", Q2_COMPRESSION_ZSTD},
    {CREATE_ENCRYPT_CIPHER_ALG, "aes-128", ENCRYPT_AES_128},
    {CREATE_ENCRYPT_CIPHER_ALG, "aes-256", ENCRYPT_AES_256},
    {CREATE_ENCRYPT_CIPHER_MODE, "cbc", ENCRYPT_CBC},
    {CREATE_ENCRYPT_CIPHER_MODE, "xts", ENCRYPT_XTS},
    {CREATE_ENCRYPT_FORMAT, "luks", 0},
    {CREATE_ENCRYPT_HASH_ALG, "sha1", ENCRYPT_SHA1},
    {CREATE_ENCRYPT_HASH_ALG, "sha256", ENCRYPT_SHA256},
    {CREATE_ENCRYPT_HASH_ALG, "sha512", ENCRYPT_SHA512},
    {CREATE_ENCRYPT_IVGEN_ALG, "essiv", ENCRYPT_ESSIV},
    {CREATE_ENCRYPT_IVGEN_ALG, "plain64", ENCRYPT_PLAIN64},
    {CREATE_ENCRYPT_IVGEN_HASH_ALG, "sha256", ENCRYPT_SHA256},
    {CREATE_ENCRYPT_STATE, "active", KEY_ACTIVE},
    {CREATE_ENCRYPT_STATE, "inactive", KEY_INACTIVE},
    {CREATE_PREALLOCATION, "off", PREALLOCATION_OFF},
    {CREATE_PREALLOCATION, "metadata", PREALLOCATION_METADATA},
    {CREATE_PREALLOCATION, "falloc", PREALLOCATION_FALLOC},
    {CREATE_PREALLOCATION, "full", PREALLOCATION_FULL},
};

/* Some options say how a new image is encrypted, others change the keys of one that is. */
static bool is_known(unsigned option, bool amends)
{
    switch (option) {
    case CREATE_ENCRYPT_CIPHER_ALG:
    case CREATE_ENCRYPT_CIPHER_MODE:
    case CREATE_ENCRYPT_FORMAT:
    case CREATE_ENCRYPT_HASH_ALG:
    case CREATE_ENCRYPT_IVGEN_ALG:
    case CREATE_ENCRYPT_IVGEN_HASH_ALG:
    case CREATE_ENCRYPT_KEY_SECRET:
        return !amends;
    case CREATE_ENCRYPT_KEYSLOT:
    case CREATE_ENCRYPT_NEW_SECRET:
    case CREATE_ENCRYPT_OLD_SECRET:
    case CREATE_ENCRYPT_STATE:
        return amends;
    default:
        return true;
    }
}

/* "metalcow: WHAT 'TEXT'REST" */
static bool refuse(const char *what, const char *text, const char *rest)
{
    fprintf(stderr, "metalcow: %s '", what);
    print_escaped(stderr, text);
    fprintf(stderr, "'%s\n", rest);
    return false;
}

static bool parse_word(enum create_option option, const char *text, uint32_t *ret_value)
{
    for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
        if (words[i].option == option && strcmp(words[i].word, text) == 0) {
            *ret_value = words[i].value;
            return true;
        }
    }
    if (option == CREATE_COMPAT)
        return refuse("compat cannot be", text, "; give 0.10 or 1.1");
    if (option == CREATE_ENCRYPT_FORMAT && strcmp(text, "aes") == 0)
        return refuse("encrypt.format cannot be", text, LEGACY_REFUSED);
    fprintf(stderr, "metalcow: %s cannot be '", rows[option].name);
    print_escaped(stderr, text);
    fputs("'; give one of:", stderr);
    for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
        if (words[i].option == option)
            fprintf(stderr, " %s", words[i].word);
    }
    fputc('\n', stderr);
    return false;
}

static bool parse_flag(const char *name, const char *text, bool *ret_value)
{
    static const char *const on[] = {"on", "yes", "true", "y"};
    static const char *const off[] = {"off", "no", "false", "n"};

    for (size_t i = 0; i < sizeof(on) / sizeof(on[0]); i++) {
        if (strcmp(text, on[i]) == 0 || strcmp(text, off[i]) == 0) {
            *ret_value = strcmp(text, on[i]) == 0;
            return true;
        }
    }
    return refuse("option", name, " must be on or off");
}

static bool parse_size(const char *name, const char *text, uint64_t *ret_value)
{
    return size_parse(text, ret_value) ||
           refuse("option", name,
                  " needs a size: a number of bytes, or one with a suffix k, M, G, T, P or E");
}

static bool parse_cluster_size(const char *text, uint32_t *ret_bits)
{
    uint64_t size;

    if (!parse_size(rows[CREATE_CLUSTER_SIZE].name, text, &size))
        return false;
    for (uint32_t bits = 9; bits <= 21; bits++) {
        if (size == 1ull << bits) {
            *ret_bits = bits;
            return true;
        }
    }
    fputs("metalcow: cluster_size must be a power of two from 512 to 2M\n", stderr);
    return false;
}

static bool parse_refcount_bits(const char *text, uint32_t *ret_bits)
{
    char *end;
    unsigned long bits = strtoul(text, &end, 10);

    if (*end == '\0' && bits <= 64 && q2_is_power_of_two((uint32_t)bits)) {
        *ret_bits = (uint32_t)bits;
        return true;
    }
    fputs("metalcow: refcount_bits must be 1, 2, 4, 8, 16, 32 or 64\n", stderr);
    return false;
}

static bool parse_count(const char *name, const char *text, uint32_t *ret_count)
{
    char *end;
    unsigned long long count = strtoull(text, &end, 10);

    if (*text < '0' || *text > '9' || *end != '\0' || count > UINT32_MAX)
        return refuse("option", name, " needs a number");
    *ret_count = (uint32_t)count;
    return true;
}

static bool store(struct create_options *options, enum create_option option, const char *value)
{
    const struct row *row = &rows[option];
    void *field = (char *)options + row->field;

    switch (row->kind) {
    case VALUE_CLUSTER_SIZE:
        return parse_cluster_size(value, field);
    case VALUE_COUNT:
        return parse_count(row->name, value, field);
    case VALUE_FLAG:
        return parse_flag(row->name, value, field);
    case VALUE_NUMBER:
        return parse_refcount_bits(value, field);
    case VALUE_SIZE:
        return parse_size(row->name, value, field);
    case VALUE_WORD:
        return parse_word(option, value, field);
    case VALUE_TEXT:
    default:
        *(const char **)field = value;
        return true;
    }
}

bool create_options_set(struct create_options *options, enum create_option option,
                        const char *value)
{
    if (!store(options, option, value))
        return false;
    options->given[option] = true;
    options->values[option] = value;
    options->image.external_data = options->given[CREATE_DATA_FILE];
    return true;
}

/* Copy "NAME=VALUE" up to the next single comma into text[]; NULL if there is no room. */
static char *next_assignment(struct create_options *options, const char **text)
{
    size_t room = sizeof(options->text) - options->nb_text, n = 0;
    char *copy = options->text + options->nb_text;
    const char *c = *text;

    for (; *c != '\0' && !(*c == ',' && c[1] != ','); c += *c == ',' ? 2 : 1) {
        if (n + 1 >= room)
            return NULL;
        copy[n++] = *c;
    }
    if (n + 1 > room)
        return NULL;
    copy[n++] = '\0';
    options->nb_text += n;
    *text = *c == ',' ? c + 1 : c;
    return copy;
}

static bool add_assignment(struct create_options *options, enum q2_image_format format,
                           char *assignment)
{
    char *equal = strchr(assignment, '=');

    if (equal)
        *equal = '\0';
    if (!options->amends && strcmp(assignment, "encryption") == 0) {
        bool wanted;

        if (!parse_flag(assignment, equal ? equal + 1 : "on", &wanted))
            return false;
        if (!wanted) /* what an image is without it */
            return true;
        return refuse("option", assignment, LEGACY_REFUSED);
    }
    for (unsigned i = 0; i < NB_CREATE_OPTIONS; i++) {
        if (strcmp(rows[i].name, assignment) != 0 || (format == Q2_FORMAT_RAW && !rows[i].raw) ||
            !is_known(i, options->amends))
            continue;
        /* A flag without a value is set. */
        return create_options_set(options, (enum create_option)i,
                                  equal                        ? equal + 1
                                  : rows[i].kind == VALUE_FLAG ? "on"
                                                               : "");
    }
    return refuse("there is no option", assignment,
                  options->amends           ? "; 'metalcow amend -o help' lists them"
                  : format == Q2_FORMAT_RAW ? "; 'metalcow create -f raw -o help' lists them"
                                            : "; 'metalcow create -f qcow2 -o help' lists them");
}

bool create_options_add(struct create_options *options, enum q2_image_format format,
                        const char *text)
{
    while (*text != '\0') {
        char *assignment = next_assignment(options, &text);

        if (!assignment) {
            fputs("metalcow: the options are too long\n", stderr);
            return false;
        }
        if (!add_assignment(options, format, assignment))
            return false;
    }
    return true;
}

/* A value as -o takes it: commas doubled. */
static void print_value(const char *value)
{
    for (; *value != '\0'; value++) {
        const char text[] = {*value, '\0'};

        print_escaped(stdout, text);
        if (*value == ',')
            putchar(',');
    }
}

static void print_option(const struct create_options *options, enum create_option option,
                         bool presets)
{
    const struct row *row = &rows[option];
    const char *value = options->values[option];

    if (option == CREATE_SIZE) {
        printf(" size=%" PRIu64, options->image.virtual_size);
    } else if (option == CREATE_CLUSTER_SIZE && value) {
        printf(" cluster_size=%" PRIu64, create_options_cluster_size(options));
    } else if (value || (presets && row->preset)) {
        printf(" %s=", row->name);
        print_value(value ? value : row->preset);
    }
}

void create_options_print(const struct create_options *options, enum q2_image_format format,
                          const char *path)
{
    static const enum create_option order[] = {
        CREATE_ENCRYPT_FORMAT,
        CREATE_ENCRYPT_KEY_SECRET,
        CREATE_ENCRYPT_CIPHER_ALG,
        CREATE_ENCRYPT_CIPHER_MODE,
        CREATE_ENCRYPT_IVGEN_ALG,
        CREATE_ENCRYPT_IVGEN_HASH_ALG,
        CREATE_ENCRYPT_HASH_ALG,
        CREATE_ENCRYPT_ITER_TIME,
        CREATE_CLUSTER_SIZE,
        CREATE_EXTENDED_L2,
        CREATE_PREALLOCATION,
        CREATE_COMPRESSION_TYPE,
        CREATE_SIZE,
        CREATE_COMPAT,
        CREATE_BACKING_FILE,
        CREATE_BACKING_FMT,
        CREATE_DATA_FILE,
        CREATE_DATA_FILE_RAW,
        CREATE_LAZY_REFCOUNTS,
        CREATE_REFCOUNT_BITS,
    };
    bool qcow2 = format == Q2_FORMAT_QCOW2;

    fputs("Formatting '", stdout);
    print_escaped(stdout, path);
    printf("', fmt=%s", qcow2 ? "qcow2" : "raw");
    if (!qcow2) {
        print_option(options, CREATE_SIZE, false);
        print_option(options, CREATE_PREALLOCATION, false);
    }
    for (size_t i = 0; i < sizeof(order) / sizeof(order[0]) && qcow2; i++)
        print_option(options, order[i], true);
    putchar('\n');
}

static void print_help(unsigned option)
{
    static const char *const kinds[] = {
        [VALUE_CLUSTER_SIZE] = "=<size>",  [VALUE_COUNT] = "=<num>",
        [VALUE_FLAG] = "=<bool (on/off)>", [VALUE_NUMBER] = "=<num>",
        [VALUE_SIZE] = "=<size>",          [VALUE_TEXT] = "=<str>",
        [VALUE_WORD] = "=<str>",
    };
    char left[64];

    (void)snprintf(left, sizeof(left), "%s%s", rows[option].name, kinds[rows[option].kind]);
    printf("  %-22s - %s\n", left, rows[option].text);
}

void create_options_help(enum q2_image_format format)
{
    printf("Supported %s options:\n", format == Q2_FORMAT_RAW ? "raw" : "qcow2");
    for (unsigned i = 0; i < NB_CREATE_OPTIONS; i++) {
        if ((format != Q2_FORMAT_RAW || rows[i].raw) && is_known(i, false))
            print_help(i);
    }
}

bool create_options_is_amendable(enum create_option option)
{
    switch ((unsigned)option) {
    case CREATE_COMPAT:
    case CREATE_DATA_FILE:
    case CREATE_DATA_FILE_RAW:
    case CREATE_ENCRYPT_ITER_TIME:
    case CREATE_ENCRYPT_KEYSLOT:
    case CREATE_ENCRYPT_NEW_SECRET:
    case CREATE_ENCRYPT_OLD_SECRET:
    case CREATE_ENCRYPT_STATE:
    case CREATE_LAZY_REFCOUNTS:
    case CREATE_REFCOUNT_BITS:
    case CREATE_SIZE:
        return true;
    default:
        return false;
    }
}

void create_options_help_amend(void)
{
    puts("Amend options for 'qcow2':");
    for (unsigned i = 0; i < NB_CREATE_OPTIONS; i++) {
        if (create_options_is_amendable((enum create_option)i))
            print_help(i);
    }
}

uint64_t create_options_cluster_size(const struct create_options *options)
{
    return 1ull << (options->image.cluster_bits ? options->image.cluster_bits
                                                : DEFAULT_CLUSTER_BITS);
}

uint32_t create_options_refcount_bits(const struct create_options *options)
{
    return options->image.refcount_bits ? options->image.refcount_bits : DEFAULT_REFCOUNT_BITS;
}

bool create_options_check(const struct create_options *options)
{
    const struct q2_create_options *image = &options->image;
    const char *what = NULL;

    if (image->version == 2 && create_options_refcount_bits(options) != DEFAULT_REFCOUNT_BITS)
        what =
            "refcount_bits must be 16 with compat=0.10; use compat=1.1, or leave refcount_bits out";
    else if (image->extended_l2 && create_options_cluster_size(options) < 1u << MIN_EXTENDED_BITS)
        what = "extended_l2 needs a cluster_size of 16k or more";
    return !what || complain(what);
}
