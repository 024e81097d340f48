/* metalcow io: runs qemu-io's commands, from -c flags or from standard input. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "io.h"
#include "tools/metalcow/base/output.h"
#include "tools/metalcow/verbs.h"

static bool open_file(struct io *io, const struct arguments *arguments)
{
    struct io_opening opening = {.how = io->preset,
                                 .snapshot = arguments->snapshot_mode,
                                 .ignore_discard = arguments->ignore_discard};

    if (!arguments->operands[0])
        return true;
    opening.how.writable = !arguments->read_only;
    opening.path = arguments->operands[0];
    return io_open(io, &opening, NULL, 0);
}

/* Run the lines of -c. A line that fails does not stop the others. */
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

int verb_io(const struct arguments *arguments)
{
    struct io io = {.preset = arguments->image[0],
                    .snapshot = arguments->snapshot_mode,
                    .preset_ignore_discard = arguments->ignore_discard,
                    .image_opts = arguments->image_opts};
    bool good;

    if (arguments->no_cache)
        io.preset.cache = CACHE_NONE;
    if (!open_file(&io, arguments))
        return EXIT_ERROR;
    good = arguments->commands.nb > 0 ? run_given(&io, &arguments->commands) : run_typed(&io);
    good = io_close(&io) && good;
    return good ? EXIT_SUCCESS : EXIT_ERROR;
}
