/* The command line: getopt_long() driven by the table of options.
 *
 * May call size.c, output.c and the C library. Invariant: a value is stored only after it has
 * parsed.
 */
#include "arguments.h"

#include <getopt.h>
#include <stdio.h>
#include <string.h>

#include "core/spec/disk_spec.h"
#include "image_opts.h"
#include "output.h"
#include "size.h"
#include "tools/metalcow/options.h"

#define LONG_ONLY 256 /* getopt's value for row i of option_rows is LONG_ONLY + i */

/* A verb's options in the form that getopt_long() takes. */
struct getopt_table {
    char letters[1 + MAX_OPTION_ROWS * 2 + 1]; /* ':', each letter and its ':', NUL */
    struct option names[MAX_OPTION_ROWS + 1];
};

static void make_table(const struct verb *verb, struct getopt_table *ret_table)
{
    size_t nb_names = 0, nb_letters = 0;

    memset(ret_table, 0, sizeof(*ret_table));
    ret_table->letters[nb_letters++] = ':'; /* tell a missing value from an unknown option */
    for (size_t i = 0; i < nb_option_rows; i++) {
        const struct option_row *row = &option_rows[i];

        if ((row->verbs & verb_bit(verb)) == 0)
            continue;
        if (row->letter) {
            ret_table->letters[nb_letters++] = (char)row->letter;
            if (option_value(row))
                ret_table->letters[nb_letters++] = ':';
        }
        if (row->name)
            ret_table->names[nb_names++] = (struct option){
                .name = row->name,
                .has_arg = option_value(row) ? required_argument : no_argument,
                .val = LONG_ONLY + (int)i,
            };
    }
}

/* The row that getopt_long() has found: by its number, or by its letter. */
static const struct option_row *row_of(const struct verb *verb, int value)
{
    if (value >= LONG_ONLY)
        return &option_rows[value - LONG_ONLY];
    for (size_t i = 0; i < nb_option_rows; i++) {
        if (option_rows[i].letter == value && (option_rows[i].verbs & verb_bit(verb)) != 0)
            return &option_rows[i];
    }
    return NULL;
}

/* Values that are words of the host command alone, one row each. */
static const struct {
    enum option_kind kind;
    const char *word;
    int value;
} words[] = {
    {OPTION_OUTPUT, "human", false},
    {OPTION_OUTPUT, "json", true},
    {OPTION_MAP_OUTPUT, "human", MAP_HUMAN},
    {OPTION_MAP_OUTPUT, "json", MAP_JSON},
    {OPTION_MAP_OUTPUT, "html", MAP_HTML},
    {OPTION_MAP_OUTPUT, "svg", MAP_SVG},
    {OPTION_REPAIR, "leaks", REPAIR_LEAKS},
    {OPTION_REPAIR, "all", REPAIR_ALL},
    {OPTION_DISCARD, "unmap", false},
    {OPTION_DISCARD, "on", false},
    {OPTION_DISCARD, "ignore", true},
    {OPTION_DISCARD, "off", true},
    {OPTION_AIO, "threads", 0},
    {OPTION_CACHE, "writeback", CACHE_WRITEBACK},
    {OPTION_CACHE, "none", CACHE_NONE},
    {OPTION_CACHE, "writethrough", CACHE_WRITETHROUGH},
    {OPTION_CACHE, "directsync", CACHE_DIRECTSYNC},
    {OPTION_CACHE, "unsafe", CACHE_UNSAFE},
    {OPTION_PREALLOCATION, "off", PREALLOCATION_OFF},
    {OPTION_PREALLOCATION, "metadata", PREALLOCATION_METADATA},
    {OPTION_PREALLOCATION, "falloc", PREALLOCATION_FALLOC},
    {OPTION_PREALLOCATION, "full", PREALLOCATION_FULL},
};

static bool find_word(enum option_kind kind, const char *word, int *ret_value)
{
    for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
        if (words[i].kind == kind && strcmp(words[i].word, word) == 0) {
            *ret_value = words[i].value;
            return true;
        }
    }
    return false;
}

bool arguments_cache(const char *word, enum file_cache *ret_cache)
{
    int value = 0;

    if (!find_word(OPTION_CACHE, word, &value))
        return false;
    *ret_cache = (enum file_cache)value;
    return true;
}

bool arguments_aio(const char *word)
{
    int value;

    return find_word(OPTION_AIO, word, &value);
}

static bool store_options(struct option_texts *options, const char *text)
{
    if (options->nb == MAX_OPTION_TEXTS)
        return false;
    options->texts[options->nb++] = text;
    return true;
}

static bool store_command(struct command_lines *commands, const char *text)
{
    if (commands->nb == MAX_COMMAND_LINES)
        return false;
    commands->lines[commands->nb++] = text;
    return true;
}

static bool store_action(struct verb_actions *actions, const char *name, const char *value)
{
    if (actions->nb == MAX_ACTIONS)
        return false;
    actions->actions[actions->nb++] = (struct verb_action){name, value};
    return true;
}

/* Set a key that is a size: it is written as every size of this command, and the key has the limit.
 */
static const char *set_size(struct mc_disk_spec *spec, const struct mc_spec_key *key,
                            const char *text)
{
    char digits[24];
    uint64_t size;

    if (size_parse(text, &size)) {
        (void)snprintf(digits, sizeof(digits), "%llu", (unsigned long long)size);
        text = digits;
    }
    return mc_spec_set(spec, key, text, strlen(text), NULL);
}

/* Store a value of which a disk key says what it may be. Returns what is wrong with it, to be read
 * on after it; NULL: nothing. */
static const char *store_key(const struct mc_spec_key *key, const struct option_row *row,
                             const char *text, struct arguments *arguments)
{
    void *field = (char *)arguments + row->field;
    struct given_files *files = field;
    struct mc_disk_spec said = {.image = NULL};
    const char *refusal = key->kind == MC_SPEC_SIZE
                              ? set_size(&said, key, text)
                              : mc_spec_set(&said, key, text, strlen(text), NULL);

    if (refusal)
        return refusal;
    if (row->kind == OPTION_FORMAT) {
        *(enum format_choice *)field = said.format == Q2_FORMAT_RAW ? FORMAT_RAW : FORMAT_QCOW2;
    } else if (key->kind == MC_SPEC_WORD) {
        memcpy(field, (char *)&said + key->offset, sizeof(uint32_t));
    } else if (key->kind == MC_SPEC_SIZE) {
        memcpy(field, (char *)&said + key->offset, sizeof(uint64_t));
    } else if (key->kind == MC_SPEC_PATHS) {
        if (files->nb == sizeof(files->paths) / sizeof(files->paths[0]))
            return MC_SPEC_TOO_OFTEN;
        files->paths[files->nb++] = text;
    } else {
        *(const char **)field = text;
    }
    return NULL;
}

/* Store a value of an option of the host command alone; false if it does not parse. */
static bool store(const struct option_row *row, const char *text, struct arguments *arguments)
{
    void *field = (char *)arguments + row->field;
    int word = 0;

    switch (row->kind) {
    case OPTION_SET:
        *(bool *)field = true;
        return true;
    case OPTION_TEXT:
        *(const char **)field = text;
        return true;
    case OPTION_SIZE:
        return size_parse(text, field);
    case OPTION_ACTION:
        return store_action(field, row->name, text);
    case OPTION_COMMAND:
        return store_command(field, text);
    case OPTION_TEXTS:
        return store_options(field, text);
    case OPTION_PREALLOCATION:
        if (!find_word(row->kind, text, &word))
            return false;
        *(enum preallocation *)field = (enum preallocation)word;
        return true;
    case OPTION_AIO:
        return find_word(row->kind, text, &word);
    case OPTION_CACHE:
        return arguments_cache(text, field);
    case OPTION_MAP_OUTPUT:
        if (!find_word(row->kind, text, &word))
            return false;
        *(enum map_output *)field = (enum map_output)word;
        return true;
    case OPTION_REPAIR:
        if (!find_word(row->kind, text, &word))
            return false;
        *(enum repair_wish *)field = (enum repair_wish)word;
        return true;
    case OPTION_OUTPUT:
    case OPTION_DISCARD:
        if (!find_word(row->kind, text, &word))
            return false;
        *(bool *)field = word != 0;
        return true;
    case OPTION_KEY:
    case OPTION_FORMAT:
    case OPTION_HELP:
    case OPTION_PERMISSION:
    default:
        return true;
    }
}

/* A row as the user knows it. */
static void print_option(FILE *out, const struct option_row *row)
{
    if (row->name)
        fprintf(out, "--%s", row->name);
    else
        fprintf(out, "-%c", row->letter);
}

#define NOT_A_SIZE "a size; you may use the suffixes k, M, G, T, P and E"

/* The words that an option of this kind takes: "human, json". */
static void print_words(FILE *out, enum option_kind kind)
{
    const char *separator = "";

    for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
        if (words[i].kind == kind) {
            fprintf(out, "%s%s", separator, words[i].word);
            separator = ", ";
        }
    }
}

/* How often an option of this kind may be given; 0: as often as one likes, the last one counts. */
static unsigned most_times(enum option_kind kind)
{
    return kind == OPTION_TEXTS     ? MAX_OPTION_TEXTS
           : kind == OPTION_COMMAND ? MAX_COMMAND_LINES
           : kind == OPTION_ACTION  ? MAX_ACTIONS
                                    : 0;
}

static void say_bad_value(const struct option_row *row, const char *text)
{
    fputs("metalcow: ", stderr);
    print_option(stderr, row);
    if (most_times(row->kind) > 0) {
        fprintf(stderr, " is given too often; the most is %u times\n", most_times(row->kind));
        return;
    }
    fputs(": '", stderr);
    print_escaped(stderr, text);
    if (row->kind == OPTION_SIZE) {
        fputs("' is not " NOT_A_SIZE "\n", stderr);
        return;
    }
    fputs("' is not known; possible values: ", stderr);
    print_words(stderr, row->kind);
    fputc('\n', stderr);
}

static void say_refusal(const struct option_row *row, const char *text, const char *refusal)
{
    fputs("metalcow: ", stderr);
    print_option(stderr, row);
    fputs(": '", stderr);
    print_escaped(stderr, text);
    fprintf(stderr, "' %s\n", refusal);
}

/* Store a value; false, and said on stderr, if it is none of the option's. */
static bool take(const struct option_row *row, const char *text, struct arguments *arguments)
{
    const struct mc_spec_key *key = option_key(row);
    const char *refusal = key ? store_key(key, row, text, arguments) : NULL;

    if (refusal) {
        say_refusal(row, text, refusal);
        return false;
    }
    if (key || store(row, text, arguments))
        return true;
    say_bad_value(row, text);
    return false;
}

static void say_bad_option(int problem, char **argv)
{
    fprintf(stderr, "metalcow: %s '",
            problem == ':' ? "a value is missing after" : "unrecognized option");
    if (optopt > 0 && optopt < LONG_ONLY && problem == '?')
        fprintf(stderr, "-%c", optopt);
    else
        print_escaped(stderr, argv[optind - 1]);
    fputs("'\n", stderr);
}

static bool wants_options_help(const struct option_texts *texts)
{
    for (size_t i = 0; i < texts->nb; i++) {
        if (strcmp(texts->texts[i], "help") == 0 || strcmp(texts->texts[i], "?") == 0)
            return true;
    }
    return false;
}

static enum parse_result parse_options(const struct verb *verb, int argc, char **argv,
                                       struct arguments *arguments)
{
    struct getopt_table table;
    int value;

    make_table(verb, &table);
    optind = 1;
    opterr = 0;
    while ((value = getopt_long(argc, argv, table.letters, table.names, NULL)) != -1) {
        const struct option_row *row = row_of(verb, value);

        if (!row) {
            say_bad_option(value, argv);
            return PARSE_ERROR;
        }
        if (row->kind == OPTION_HELP)
            return PARSE_HELP;
        if (!take(row, optarg, arguments))
            return PARSE_ERROR;
    }
    return wants_options_help(&arguments->options) ? PARSE_OPTIONS_HELP : PARSE_OK;
}

bool arguments_spare_objects(const struct arguments *arguments)
{
    return arguments->objects.nb > 0 && !arguments->image_opts && !arguments->target_image_opts;
}

/* Verbs that look at their operands themselves. */
#define OWN_OPERANDS (VERB_BIT(CONVERT) | VERB_BIT(DD) | VERB_BIT(IO))
/* Verbs that have another use for --object. */
#define OWN_OBJECTS                                                                                \
    (VERB_BIT(AMEND) | VERB_BIT(CONVERT) | VERB_BIT(CREATE) | VERB_BIT(IO) | VERB_BIT(MEASURE))

/* What options say of both images; and --image-opts and --object: what they say goes into
 * arguments->image, and the operand becomes the file's name. */
static bool take_image_opts(const struct verb *verb, struct arguments *arguments)
{
    int nb_images = verb_bit(verb) == VERB_BIT(COMPARE) ? 2 : 1;

    arguments->image[1].names = arguments->image[0].names;
    arguments->image[1].backing_format = arguments->image[0].backing_format;
    arguments->image[1].share = arguments->image[0].share;
    arguments->image[1].cache = arguments->image[0].cache;
    arguments->image[0].objects = arguments->image[1].objects = &arguments->objects;
    if (!arguments->image_opts)
        return (verb_bit(verb) & OWN_OBJECTS) != 0 || !arguments_spare_objects(arguments) ||
               complain("--object is for encrypt.key-secret of --image-opts; give that too, or "
                        "--key-file instead");
    if (arguments->image[0].format != FORMAT_PROBED || arguments->image[1].format != FORMAT_PROBED)
        return complain("--image-opts and -f exclude each other; say driver=qcow2 or driver=raw");
    if ((verb_bit(verb) & OWN_OPERANDS) != 0)
        return true;
    for (int i = 0; i < nb_images && arguments->operands[i]; i++) {
        if (!image_opts_operand(arguments->all_operands[i], &arguments->operands[i],
                                &arguments->image[i]))
            return false;
    }
    return true;
}

enum parse_result arguments_parse(const struct verb *verb, int argc, char **argv,
                                  struct arguments *ret_arguments)
{
    struct arguments arguments = {
        .image = {{.names = Q2_NAMES_ANY}, {.names = Q2_NAMES_ANY}},
        .mode = MODE_UNSAID,
        .max_length = UINT64_MAX,
        .sparse_size = SPARSE_UNSAID,
        .nb_threads = THREADS_UNSAID,
        .bench = {.count = BENCH_UNSAID,
                  .depth = BENCH_UNSAID,
                  .flush_interval = BENCH_UNSAID,
                  .size = BENCH_UNSAID,
                  .step = BENCH_UNSAID,
                  .pattern = BENCH_UNSAID},
    };
    /* getopt() is not shown an operand that may look like an option. */
    int nb_hidden = verb->last_is_operand && argc > 2 ? 1 : 0;
    enum parse_result result = parse_options(verb, argc - nb_hidden, argv, &arguments);
    int nb_operands = argc - optind;

    if (result == PARSE_OK &&
        (nb_operands > verb->nb_operands || nb_operands < verb->nb_operands - verb->nb_optional)) {
        fprintf(stderr, "metalcow: %s expects %s\n", verb->name, verb->operands);
        result = PARSE_ERROR;
    }
    if (result == PARSE_ERROR)
        fprintf(stderr, "'metalcow help %s' lists its options\n", verb->name);
    if (result != PARSE_OK && result != PARSE_OPTIONS_HELP)
        return result;
    arguments.all_operands = argv + optind;
    arguments.nb_operands = nb_operands;
    for (int i = 0; i < nb_operands && i < MAX_OPERANDS; i++)
        arguments.operands[i] = argv[optind + i];
    *ret_arguments = arguments;
    if (result == PARSE_OK && !take_image_opts(verb, ret_arguments))
        return PARSE_ERROR;
    return result;
}

bool arguments_size(const char *operand, uint64_t *ret_size)
{
    if (size_parse(operand, ret_size))
        return true;
    fputs("metalcow: '", stderr);
    print_escaped(stderr, operand);
    fputs("' is not " NOT_A_SIZE "\n", stderr);
    return false;
}

bool arguments_discard(const char *word, bool *ret_ignore)
{
    int value = 0;
    bool known = find_word(OPTION_DISCARD, word, &value);

    *ret_ignore = value != 0;
    return known;
}

bool arguments_find_format(const char *word, enum q2_image_format *ret_format)
{
    struct mc_disk_spec said;

    if (mc_spec_set(&said, mc_spec_find_option("--format"), word, strlen(word), NULL))
        return false;
    *ret_format = said.format;
    return true;
}

bool arguments_format(const char *name, enum q2_image_format *ret_format)
{
    *ret_format = Q2_FORMAT_RAW;
    if (!name || arguments_find_format(name, ret_format))
        return true;
    fputs("metalcow: the output format '", stderr);
    print_escaped(stderr, name);
    fputs("' is not supported; qcow2 and raw are\n", stderr);
    return false;
}
