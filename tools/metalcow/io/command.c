/* The commands of io: splitting a line into words, the table of commands, help.
 *
 * May call the commands. Invariant: a command runs only with as many arguments as it
 * takes, and with a file if it needs one.
 */
#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "io.h"
#include "tools/metalcow/base/output.h"
#include "tools/metalcow/base/size.h"

/* Words of one line. readv, writev and their aio forms take any number of lengths. */
#define MAX_WORDS 64

static bool run_help(struct io *io, int argc, char **argv);

static bool run_quit(struct io *io, int argc, char **argv)
{
    (void)argc, (void)argv;
    io->done = true;
    return true;
}

static bool run_sleep(struct io *io, int argc, char **argv)
{
    uint64_t milliseconds;
    struct timespec time;

    (void)io, (void)argc;
    if (!io_number(argv[1], &milliseconds))
        return false;
    time.tv_sec = (time_t)(milliseconds / 1000);
    time.tv_nsec = (long)(milliseconds % 1000) * 1000000;
    while (nanosleep(&time, &time) != 0 && errno == EINTR)
        ;
    return true;
}

/* Scripts end io by a signal to see what a crash leaves, because nothing is flushed then. */
static bool run_sigraise(struct io *io, int argc, char **argv)
{
    uint64_t number;

    (void)io, (void)argc;
    if (!io_number(argv[1], &number))
        return false;
    (void)fflush(stdout);
    if (number <= (uint64_t)SIGRTMAX && raise((int)number) == 0)
        return true;
    printf("%ju is no signal\n", (uintmax_t)number);
    return false;
}

static const struct io_command help_command = {
    .name = "help",
    .alias = "?",
    .max_arguments = 1,
    .arguments = "[command]",
    .summary = "help for one or all commands",
    .run = run_help,
};

static const struct io_command quit_command = {
    .name = "quit",
    .alias = "q",
    .max_arguments = -1,
    .arguments = "",
    .summary = "exit the program",
    .run = run_quit,
};

static const struct io_command sigraise_command = {
    .name = "sigraise",
    .min_arguments = 1,
    .max_arguments = 1,
    .arguments = "signal",
    .summary = "raises a signal, by its number",
    .run = run_sigraise,
};

static const struct io_command sleep_command = {
    .name = "sleep",
    .min_arguments = 1,
    .max_arguments = 1,
    .arguments = "ms",
    .summary = "waits for a number of milliseconds",
    .run = run_sleep,
};

static const struct io_command *const commands[] = {
    &io_aio_flush_command, &io_aio_read_command, &io_aio_write_command, &io_alloc_command,
    &io_close_command,     &io_discard_command,  &io_flush_command,     &help_command,
    &io_length_command,    &io_map_command,      &io_open_command,      &quit_command,
    &io_read_command,      &io_readv_command,    &sigraise_command,     &sleep_command,
    &io_truncate_command,  &io_write_command,    &io_writev_command,
};
#define NB_COMMANDS (sizeof(commands) / sizeof(commands[0]))

static const struct io_command *find(const char *name)
{
    for (size_t i = 0; i < NB_COMMANDS; i++) {
        if (strcmp(commands[i]->name, name) == 0 ||
            (commands[i]->alias && strcmp(commands[i]->alias, name) == 0))
            return commands[i];
    }
    fflush(stdout);
    fputs("command \"", stderr);
    print_escaped(stderr, name);
    fputs("\" not found\n", stderr);
    return NULL;
}

bool io_usage(const struct io_command *command)
{
    printf("%s %s%s-- %s\n", command->name, command->arguments, command->arguments[0] ? " " : "",
           command->summary);
    return false;
}

static bool run_help(struct io *io, int argc, char **argv)
{
    const struct io_command *command;

    (void)io;
    if (argc == 1) {
        for (size_t i = 0; i < NB_COMMANDS; i++)
            (void)io_usage(commands[i]);
        puts("\nUse 'help commandname' for extended help.");
        return true;
    }
    command = find(argv[1]);
    if (!command)
        return false;
    (void)io_usage(command);
    if (command->help)
        printf("\n%s\n", command->help);
    return true;
}

bool io_number(const char *text, uint64_t *ret_value)
{
    enum size_verdict verdict = size_judge(text, ret_value);

    if (verdict == SIZE_GOOD && *ret_value <= INT64_MAX)
        return true;
    fputs(verdict == SIZE_BAD
              ? "Parsing error: non-numeric argument, or extraneous/unrecognized suffix -- "
              : "Parsing error: argument too large -- ",
          stdout);
    print_escaped(stdout, text);
    putchar('\n');
    return false;
}

/* Cut a line at its spaces. Returns the number of words; -1, and said on stderr: too many. */
static int split(char *line, char **words)
{
    char *rest = NULL;
    int nb = 0;

    for (char *word = strtok_r(line, " ", &rest); word; word = strtok_r(NULL, " ", &rest)) {
        if (nb == MAX_WORDS) {
            fflush(stdout);
            fprintf(stderr, "metalcow: the line has more than %d words; use several lines\n",
                    MAX_WORDS);
            return -1;
        }
        words[nb++] = word;
    }
    words[nb] = NULL;
    return nb;
}

static bool check_count(const struct io_command *command, const char *name, int nb)
{
    int min = command->min_arguments, max = command->max_arguments;

    if (nb >= min && (max < 0 || nb <= max))
        return true;
    fflush(stdout);
    fprintf(stderr, "metalcow: %s was given %d argument(s), but takes ", name, nb);
    if (max < 0)
        fprintf(stderr, "%d or more", min);
    else if (min == max)
        fprintf(stderr, "%d", min);
    else
        fprintf(stderr, "%d to %d", min, max);
    fprintf(stderr, "; see 'help %s'\n", name);
    return false;
}

bool io_run(struct io *io, char *line)
{
    char *words[MAX_WORDS + 1];
    int nb = split(line, words);
    const struct io_command *command;

    if (nb <= 0)
        return nb == 0;
    command = find(words[0]);
    if (!command)
        return false;
    if (command->needs_file && !io->image) {
        fflush(stdout);
        fputs("no file open, try 'help open'\n", stderr);
        return false;
    }
    return check_count(command, words[0], nb - 1) && command->run(io, nb, words);
}
