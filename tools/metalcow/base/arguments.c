/* The command line: getopt_long() driven by a verb's table of flags.
 *
 * main.c -> here -> size.c. Invariant: a value is stored only after it has parsed.
 */
#include "arguments.h"

#include <getopt.h>
#include <stdio.h>
#include <string.h>

#include "output.h"
#include "size.h"

#define MAX_FLAGS 24
#define LONG_ONLY 256 /* getopt's value for row i without a letter is LONG_ONLY + i */

/* A verb's table in the form that getopt_long() takes. */
struct getopt_table {
    char letters[MAX_FLAGS * 2 + 2];
    struct option names[MAX_FLAGS + 1];
};

static void make_table(const struct verb *verb, struct getopt_table *ret_table)
{
    size_t nb_names = 0, nb_letters = 0;

    memset(ret_table, 0, sizeof(*ret_table));
    ret_table->letters[nb_letters++] = ':'; /* tell a missing value from an unknown flag */
    for (size_t i = 0; i < verb->nb_flags && i < MAX_FLAGS; i++) {
        const struct flag *flag = &verb->flags[i];
        int value = flag->letter ? flag->letter : LONG_ONLY + (int)i;

        if (flag->letter) {
            ret_table->letters[nb_letters++] = (char)flag->letter;
            if (flag->value)
                ret_table->letters[nb_letters++] = ':';
        }
        if (flag->name)
            ret_table->names[nb_names++] = (struct option){
                .name = flag->name,
                .has_arg = flag->value ? required_argument : no_argument,
                .val = value,
            };
    }
}

static const struct flag *flag_of(const struct verb *verb, int value)
{
    for (size_t i = 0; i < verb->nb_flags; i++) {
        if (verb->flags[i].letter == value || LONG_ONLY + (int)i == value)
            return &verb->flags[i];
    }
    return NULL;
}

/* Values that are words, one row each. */
static const struct {
    enum flag_kind kind;
    const char *word;
    int value;
} words[] = {
    {FLAG_FORMAT, "qcow2", Q2_FORMAT_QCOW2},
    {FLAG_FORMAT, "raw", Q2_FORMAT_RAW},
    {FLAG_RAW, "raw", true},
    {FLAG_OUTPUT, "human", false},
    {FLAG_OUTPUT, "json", true},
    {FLAG_MAP_OUTPUT, "human", MAP_HUMAN},
    {FLAG_MAP_OUTPUT, "json", MAP_JSON},
    {FLAG_MAP_OUTPUT, "html", MAP_HTML},
    {FLAG_MAP_OUTPUT, "svg", MAP_SVG},
    {FLAG_REPAIR, "leaks", REPAIR_LEAKS},
    {FLAG_REPAIR, "all", REPAIR_ALL},
    {FLAG_DISCARD, "unmap", false},
    {FLAG_DISCARD, "on", false},
    {FLAG_DISCARD, "ignore", true},
    {FLAG_DISCARD, "off", true},
    {FLAG_PREALLOCATION, "off", PREALLOCATION_OFF},
    {FLAG_PREALLOCATION, "metadata", PREALLOCATION_METADATA},
    {FLAG_PREALLOCATION, "falloc", PREALLOCATION_FALLOC},
    {FLAG_PREALLOCATION, "full", PREALLOCATION_FULL},
    {FLAG_NAMES, "below", Q2_NAMES_BELOW},
    {FLAG_NAMES, "none", Q2_NAMES_NONE},
    {FLAG_NAMES, "any", Q2_NAMES_ANY},
};

static bool find_word(enum flag_kind kind, const char *word, int *ret_value)
{
    for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
        if (words[i].kind == kind && strcmp(words[i].word, word) == 0) {
            *ret_value = words[i].value;
            return true;
        }
    }
    return false;
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

/* Store a flag's value; false if it does not parse. */
static bool store(const struct flag *flag, const char *text, struct arguments *arguments)
{
    void *field = (char *)arguments + flag->field;
    int word = 0;

    switch (flag->kind) {
    case FLAG_SET:
        *(bool *)field = true;
        return true;
    case FLAG_TEXT:
        *(const char **)field = text;
        return true;
    case FLAG_SIZE:
        return size_parse(text, field);
    case FLAG_COMMAND:
        return store_command(field, text);
    case FLAG_OPTIONS:
        return store_options(field, text);
    case FLAG_FORMAT:
        if (!find_word(flag->kind, text, &word))
            return false;
        *(enum q2_image_format *)field = (enum q2_image_format)word;
        return true;
    case FLAG_PREALLOCATION:
        if (!find_word(flag->kind, text, &word))
            return false;
        *(enum preallocation *)field = (enum preallocation)word;
        return true;
    case FLAG_NAMES:
        if (!find_word(flag->kind, text, &word))
            return false;
        *(enum q2_name_policy *)field = (enum q2_name_policy)word;
        return true;
    case FLAG_MAP_OUTPUT:
        if (!find_word(flag->kind, text, &word))
            return false;
        *(enum map_output *)field = (enum map_output)word;
        return true;
    case FLAG_REPAIR:
        if (!find_word(flag->kind, text, &word))
            return false;
        *(enum repair_wish *)field = (enum repair_wish)word;
        return true;
    case FLAG_RAW:
    case FLAG_OUTPUT:
    case FLAG_DISCARD:
        if (!find_word(flag->kind, text, &word))
            return false;
        *(bool *)field = word != 0;
        return true;
    case FLAG_HELP:
    case FLAG_IGNORED:
    default:
        return true;
    }
}

/* A flag as the user knows it. */
static void print_flag(FILE *out, const struct flag *flag)
{
    if (flag->name)
        fprintf(out, "--%s", flag->name);
    else
        fprintf(out, "-%c", flag->letter);
}

#define NOT_A_SIZE "a size; you may use the suffixes k, M, G, T, P and E"

static void say_bad_value(const struct flag *flag, const char *text)
{
    fputs("metalcow: ", stderr);
    print_flag(stderr, flag);
    fputs(": '", stderr);
    print_escaped(stderr, text);
    fprintf(stderr, "' is not %s\n", flag->kind == FLAG_SIZE ? NOT_A_SIZE : flag->value);
}

static void say_bad_flag(int problem, char **argv)
{
    fprintf(stderr, "metalcow: %s '",
            problem == ':' ? "a value is missing behind" : "unrecognized option");
    if (optopt > 0 && optopt < LONG_ONLY && problem == '?')
        fprintf(stderr, "-%c", optopt);
    else
        print_escaped(stderr, argv[optind - 1]);
    fputs("'\n", stderr);
}

static enum parse_result parse_flags(const struct verb *verb, int argc, char **argv,
                                     struct arguments *arguments)
{
    struct getopt_table table;
    int value;

    make_table(verb, &table);
    optind = 1;
    opterr = 0;
    while ((value = getopt_long(argc, argv, table.letters, table.names, NULL)) != -1) {
        const struct flag *flag = flag_of(verb, value);

        if (!flag) {
            say_bad_flag(value, argv);
            return PARSE_ERROR;
        }
        if (flag->kind == FLAG_HELP)
            return PARSE_HELP;
        if (!store(flag, optarg, arguments)) {
            say_bad_value(flag, optarg);
            return PARSE_ERROR;
        }
    }
    return PARSE_OK;
}

enum parse_result arguments_parse(const struct verb *verb, int argc, char **argv,
                                  struct arguments *ret_arguments)
{
    struct arguments arguments = {.max_length = UINT64_MAX, .sparse_size = 4096};
    /* getopt() is not shown an operand that may look like a flag. */
    int nb_hidden = verb->last_is_operand && argc > 2 ? 1 : 0;
    enum parse_result result = parse_flags(verb, argc - nb_hidden, argv, &arguments);
    int nb_operands = argc - optind;

    if (result == PARSE_OK &&
        (nb_operands > verb->nb_operands || nb_operands < verb->nb_operands - verb->nb_optional)) {
        fprintf(stderr, "metalcow: %s expects %s\n", verb->name, verb->operands);
        result = PARSE_ERROR;
    }
    if (result == PARSE_ERROR)
        fprintf(stderr, "Try 'metalcow %s --help' for more information\n", verb->name);
    if (result != PARSE_OK)
        return result;
    for (int i = 0; i < nb_operands; i++)
        arguments.operands[i] = argv[optind + i];
    *ret_arguments = arguments;
    return PARSE_OK;
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

bool arguments_format(const char *name, enum q2_image_format *ret_format)
{
    int value = Q2_FORMAT_RAW;

    if (name && !find_word(FLAG_FORMAT, name, &value)) {
        fputs("metalcow: the output format '", stderr);
        print_escaped(stderr, name);
        fputs("' is not supported; qcow2 and raw are\n", stderr);
        return false;
    }
    *ret_format = (enum q2_image_format)value;
    return true;
}

#define HELP_COLUMN 31u /* where texts begin */
#define HELP_WIDTH  80u

static void print_indent(void)
{
    printf("\n%*s", (int)HELP_COLUMN, "");
}

/* Print text from HELP_COLUMN on, broken at spaces. */
static void print_wrapped(const char *text)
{
    size_t at = HELP_COLUMN;

    while (*text != '\0') {
        size_t n = strcspn(text, " ");

        if (at > HELP_COLUMN && at + 1 + n > HELP_WIDTH) {
            print_indent();
            at = HELP_COLUMN;
        } else if (at > HELP_COLUMN) {
            putchar(' ');
            at++;
        }
        printf("%.*s", (int)n, text);
        at += n;
        text += n + strspn(text + n, " ");
    }
    putchar('\n');
}

static void print_flag_help(const struct flag *flag)
{
    char left[64];
    int length;

    if (flag->letter && flag->name)
        length = snprintf(left, sizeof(left), "  -%c, --%s", flag->letter, flag->name);
    else if (flag->letter)
        length = snprintf(left, sizeof(left), "  -%c", flag->letter);
    else
        length = snprintf(left, sizeof(left), "      --%s", flag->name);
    if (flag->value)
        length += snprintf(left + length, sizeof(left) - (size_t)length, "%s%s",
                           flag->name ? "=" : " ", flag->value);
    if ((unsigned)length < HELP_COLUMN)
        printf("%-*s", (int)HELP_COLUMN, left);
    else
        printf("%s\n%*s", left, (int)HELP_COLUMN, "");
    print_wrapped(flag->text);
}

void arguments_help(const struct verb *verb)
{
    printf("usage: metalcow %s [options] %s\n\n%s\n\noptions:\n", verb->name, verb->operands,
           verb->summary);
    for (size_t i = 0; i < verb->nb_flags; i++)
        print_flag_help(&verb->flags[i]);
}
