/* metalcow, the host command: picks the verb.
 *
 * May call the tables, base/ and the verbs. Invariant: an exit status of 0 means that everything
 * printed has reached stdout.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/arguments.h"
#include "base/create_options.h"
#include "base/help.h"
#include "base/output.h"
#include "verbs.h"

#ifndef METALCOW_VERSION
#error "METALCOW_VERSION is set by tools/tools.mk"
#endif

static bool is_any(const char *word, const char *a, const char *b)
{
    return strcmp(word, a) == 0 || strcmp(word, b) == 0;
}

static int refuse_verb(const char *name)
{
    fputs("metalcow: there is no verb '", stderr);
    print_escaped(stderr, name);
    fputs("'; 'metalcow help' lists the verbs\n", stderr);
    return EXIT_ERROR;
}

static int run_options_help(const struct verb *verb, const struct arguments *arguments)
{
    enum q2_image_format format;

    if (verb == &verbs[VERB_AMEND]) {
        create_options_help_amend();
        return EXIT_SUCCESS;
    }
    if (!arguments_format(arguments->output_format, &format))
        return EXIT_ERROR;
    create_options_help(format);
    return EXIT_SUCCESS;
}

static int run_verb(const struct verb *verb, int argc, char **argv)
{
    struct arguments arguments;

    switch (arguments_parse(verb, argc, argv, &arguments)) {
    case PARSE_OK:
        return verb->run(&arguments);
    case PARSE_HELP:
        help_verb(verb);
        return EXIT_SUCCESS;
    case PARSE_OPTIONS_HELP:
        return run_options_help(verb, &arguments);
    case PARSE_ERROR:
    default:
        return verb->usage_status;
    }
}

/* "help", "help VERB", "help --list" */
static int run_help(const char *name)
{
    const struct verb *verb;

    if (!name || is_any(name, "--help", "-h")) {
        help_all();
        return EXIT_SUCCESS;
    }
    if (strcmp(name, "--list") == 0) {
        help_list();
        return EXIT_SUCCESS;
    }
    verb = verb_find(name);
    if (!verb)
        return refuse_verb(name);
    help_verb(verb);
    return EXIT_SUCCESS;
}

static int run(int argc, char **argv)
{
    const struct verb *verb;

    if (argc < 2) { /* a script whose verb is empty must not go on as if it were done */
        help_all();
        return EXIT_ERROR;
    }
    if (is_any(argv[1], "--version", "-V")) {
        puts("metalcow version " METALCOW_VERSION);
        return EXIT_SUCCESS;
    }
    if (is_any(argv[1], "--help", "-h"))
        return run_help(NULL);
    if (strcmp(argv[1], "help") == 0)
        return run_help(argc > 2 ? argv[2] : NULL);
    verb = verb_find(argv[1]);
    return verb ? run_verb(verb, argc - 1, argv + 1) : refuse_verb(argv[1]);
}

/* A reader of stdout that has gone, and the limit of a file's size, are errors of a write. They do
 * not end work in the middle. */
static void ignore_signals_of_writes(void)
{
    (void)signal(SIGPIPE, SIG_IGN);
    (void)signal(SIGXFSZ, SIG_IGN);
}

int main(int argc, char **argv)
{
    int status;

    ignore_signals_of_writes();
    status = run(argc, argv);
    if (fflush(stdout) != 0 || ferror(stdout)) {
        fputs("metalcow: cannot write to standard output\n", stderr);
        return status == EXIT_SUCCESS ? EXIT_ERROR : status;
    }
    return status;
}
