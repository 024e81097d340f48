/* Command lines of the fault tests. */
#include "choice.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void refuse(const char *program, const char *word)
{
    fprintf(stderr,
            "%s: unknown word '%s'\n"
            "usage: %s [--full] [--all-qemu] [--stop] [--seed N] [--ops N] [PART...]\n",
            program, word, program);
    exit(2);
}

static uint64_t number(char **argv, const char *word)
{
    char *end;
    uint64_t value = word ? strtoull(word, &end, 0) : 0;

    if (!word || *word == '\0' || *end != '\0')
        refuse(argv[0], word ? word : "(no number)");
    return value;
}

struct choice choice_read(int argc, char **argv)
{
    struct choice choice = {.folder = subject_folder(argv[0]), .seed = 1};
    int i = 1;

    for (; i < argc && strncmp(argv[i], "--", 2) == 0; i++) {
        if (strcmp(argv[i], "--full") == 0)
            choice.full = true;
        else if (strcmp(argv[i], "--all-qemu") == 0)
            choice.all_qemu = true;
        else if (strcmp(argv[i], "--stop") == 0)
            choice.stop = true;
        else if (strcmp(argv[i], "--seed") == 0)
            choice.seed = number(argv, argv[++i]);
        else if (strcmp(argv[i], "--ops") == 0)
            choice.nb_ops = (uint32_t)number(argv, argv[++i]);
        else
            refuse(argv[0], argv[i]);
    }
    choice.parts = argv + i;
    printf("# seed %" PRIu64 "\n", choice.seed);
    return choice;
}

bool choice_has(const struct choice *choice, const char *name)
{
    bool chosen = *choice->parts == NULL;

    for (char **part = choice->parts; *part; part++)
        chosen = chosen || strstr(name, *part) != NULL;
    return chosen;
}

bool choice_run_scripts(const struct choice *choice, const struct geometry *geometry,
                        const char *prefix, script_case *run, void *context)
{
    struct subject subject;
    struct bench bench;
    bool loaded = false, ok = true;

    for (uint32_t i = 0; i < nb_scripts && (ok || !choice->stop); i++) {
        char name[128];

        (void)snprintf(name, sizeof(name), "%s_%s_%s", prefix, geometry->name, scripts[i].name);
        if (!choice_has(choice, name) || !script_fits(&scripts[i], geometry))
            continue;
        if (!loaded) {
            subject_load(&subject, geometry, choice->folder);
            bench_start(&bench, &subject);
            loaded = true;
        }
        ok = run(context, &bench, &scripts[i], name) && ok;
    }
    if (loaded) {
        bench_free(&bench);
        subject_free(&subject);
    }
    return ok;
}
