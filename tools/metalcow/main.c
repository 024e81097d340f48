/* metalcow, the host command: picks the verb.
 *
 * Top of tools/metalcow/: main -> arguments.c -> verb_NAME.c. Invariant: an exit status of 0 means
 * that everything printed has reached stdout.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tools/metalcow/base/output.h"
#include "tools/metalcow/verb/verbs.h"

#ifndef METALCOW_VERSION
#error "METALCOW_VERSION is set by tools/tools.mk"
#endif

static const struct verb *const verbs[] = {
    &verb_amend,   &verb_check,  &verb_commit, &verb_compare,  &verb_convert, &verb_create,
    &verb_discard, &verb_flush,  &verb_info,   &verb_io,       &verb_map,     &verb_measure,
    &verb_read,    &verb_rebase, &verb_resize, &verb_snapshot, &verb_write,   &verb_zero,
};
#define NB_VERBS (sizeof(verbs) / sizeof(verbs[0]))

static int help(void)
{
    puts("usage: metalcow VERB [options] ...\n\n"
         "Reads and writes qcow2 and raw disk images; verbs, flags and exit codes are those of "
         "qemu-img.\n"
         "\nverbs:");
    for (size_t i = 0; i < NB_VERBS; i++)
        printf("  %-10s %s\n", verbs[i]->name, verbs[i]->summary);
    puts("\n'metalcow VERB --help' lists a verb's options.\n"
         "Sizes and offsets are bytes, or carry a suffix k, M, G, T, P or E (powers of 1024).");
    return EXIT_SUCCESS;
}

static int run_verb(const struct verb *verb, int argc, char **argv)
{
    struct arguments arguments;

    switch (arguments_parse(verb, argc, argv, &arguments)) {
    case PARSE_OK:
        return verb->run(&arguments);
    case PARSE_HELP:
        arguments_help(verb);
        return EXIT_SUCCESS;
    case PARSE_ERROR:
    default:
        return verb->usage_status;
    }
}

static int run(int argc, char **argv)
{
    const char *name = argc > 1 ? argv[1] : NULL;

    if (!name) {
        fputs("metalcow: Not enough arguments\n", stderr);
    } else if (strcmp(name, "--help") == 0 || strcmp(name, "-h") == 0) {
        return help();
    } else if (strcmp(name, "--version") == 0 || strcmp(name, "-V") == 0) {
        puts("metalcow version " METALCOW_VERSION);
        return EXIT_SUCCESS;
    } else {
        for (size_t i = 0; i < NB_VERBS; i++) {
            if (strcmp(name, verbs[i]->name) == 0)
                return run_verb(verbs[i], argc - 1, argv + 1);
        }
        fputs("metalcow: Command not found: ", stderr);
        print_escaped(stderr, name);
        fputc('\n', stderr);
    }
    fputs("Try 'metalcow --help' for more information\n", stderr);
    return EXIT_ERROR;
}

int main(int argc, char **argv)
{
    int status = run(argc, argv);

    if (fflush(stdout) != 0 || ferror(stdout)) {
        fputs("metalcow: cannot write to standard output\n", stderr);
        return status == EXIT_SUCCESS ? EXIT_ERROR : status;
    }
    return status;
}
