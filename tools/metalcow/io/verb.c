/* metalcow io: qemu-io's commands, from -c flags or from standard input. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "io.h"
#include "tools/metalcow/base/output.h"
#include "tools/metalcow/verb/verbs.h"

static const struct flag flags[] = {
    FLAGS_WRITING,
    {'c', "cmd", "COMMAND", "run this line instead of those of standard input; again for more",
     FLAG_COMMAND, FIELD(commands)},
    {'r', "read-only", NULL, "open FILE for reading only", FLAG_SET, FIELD(read_only)},
    {'d', "discard", "MODE", "what discard does: unmap (default) or ignore", FLAG_DISCARD,
     FIELD(ignore_discard)},
    {0, "image-opts", NULL, "FILE is KEY=VALUE,...: 'help open' lists the keys", FLAG_SET,
     FIELD(image_opts)},
    FLAGS_FILES,
    {'n', "nocache", NULL, "accepted; the page cache is always used", FLAG_IGNORED, 0},
    {'t', "cache", "CACHE", "accepted; what was written is durable after flush, close and exit",
     FLAG_IGNORED, 0},
    {'k', "native-aio", NULL, "accepted; one request at a time", FLAG_IGNORED, 0},
    {'m', "misalign", NULL, "accepted; any alignment is good", FLAG_IGNORED, 0},
};

static bool open_file(struct io *io, const struct arguments *arguments)
{
    struct image_options how = io->preset;
    const char *path = arguments->operands[0];

    if (!path)
        return true;
    how.writable = !arguments->read_only;
    return arguments->image_opts ? io_open(io, NULL, &how, &path, 1)
                                 : io_open(io, path, &how, NULL, 0);
}

/* The lines of -c, all of them whatever the ones before did. */
static bool run_given(struct io *io, const struct command_lines *commands)
{
    bool good = true;

    for (size_t i = 0; i < commands->nb && !io->done; i++) {
        char *line = strdup(commands->lines[i]);

        good = line && io_run(io, line) && good;
        free(line);
    }
    return good;
}

static bool run_typed(struct io *io)
{
    char *line = NULL;
    size_t size = 0;
    bool good = true;

    while (!io->done) {
        fputs("metalcow> ", stdout);
        fflush(stdout);
        if (getline(&line, &size, stdin) < 0)
            break;
        line[strcspn(line, "\n")] = '\0';
        good = io_run(io, line) && good;
    }
    free(line);
    return good;
}

static int run(const struct arguments *arguments)
{
    struct io io = {.preset = arguments->image[0], .ignore_discard = arguments->ignore_discard};
    bool good;

    if (!open_file(&io, arguments))
        return EXIT_ERROR;
    good = arguments->commands.nb > 0 ? run_given(&io, &arguments->commands) : run_typed(&io);
    good = io_close(&io) && good;
    return good ? EXIT_SUCCESS : EXIT_ERROR;
}

const struct verb verb_io = {
    .name = "io",
    .operands = "[FILE]",
    .summary = "read and write ranges by qemu-io's commands",
    VERB_FLAGS(flags),
    .nb_operands = 1,
    .nb_optional = 1,
    .usage_status = EXIT_ERROR,
    .run = run,
};
