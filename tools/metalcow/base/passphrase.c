/* Passphrases, from a file or from the terminal without echo.
 *
 * Invariant: whatever ends the reading, the terminal has its echo again; stdio never buffers the
 * bytes.
 */
#include "passphrase.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>

#include "drivers/crypto/wipe.h"

#include "output.h"

/* Read until the end or a full buffer. Negative: an error. */
static ssize_t read_whole(int fd, uint8_t *bytes, size_t size)
{
    size_t length = 0;
    ssize_t n;

    do {
        n = read(fd, bytes + length, size - length);
        length += n > 0 ? (size_t)n : 0;
    } while (n > 0 && length < size);
    return n < 0 ? -1 : (ssize_t)length;
}

/* Leave the first line of length bytes; returns its length. */
static size_t take_line(uint8_t *bytes, size_t length)
{
    static const uint8_t mark[] = {0xef, 0xbb, 0xbf};
    size_t begin = length >= sizeof(mark) && memcmp(bytes, mark, sizeof(mark)) == 0 ? 3 : 0;
    const uint8_t *feed = memchr(bytes + begin, '\n', length - begin);
    size_t end = feed ? (size_t)(feed - bytes) : length;

    if (feed && end > begin && bytes[end - 1] == '\r')
        end--;
    memmove(bytes, bytes + begin, end - begin);
    return end - begin;
}

bool passphrase_load(struct passphrase *passphrase, const char *path, bool line, size_t *ret_length)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
    ssize_t length = fd < 0 ? -1 : read_whole(fd, passphrase->bytes, sizeof(passphrase->bytes));
    const char *why = length < 0 ? strerror(errno) : "too long for a passphrase";

    if (fd >= 0)
        (void)close(fd);
    if (line && length >= 0)
        length = (ssize_t)take_line(passphrase->bytes, (size_t)length);
    if (length >= 0 && (size_t)length <= Q2_MAX_PASSPHRASE_LENGTH) {
        *ret_length = (size_t)length;
        return true;
    }
    fputs("metalcow: ", stderr);
    print_escaped(stderr, path);
    fprintf(stderr, ": %s\n", why);
    return false;
}

/* Signals that end the program. While the terminal has no echo they are blocked, except while
 * somebody types; there they are caught, and sent again when the echo is back. */
static const int ending[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT};
#define NB_ENDING (sizeof(ending) / sizeof(ending[0]))

static volatile sig_atomic_t caught;

static void catch_signal(int number)
{
    caught = number;
}

struct signals {
    sigset_t mask;
    struct sigaction actions[NB_ENDING];
};

static void hold_signals(struct signals *ret_before)
{
    struct sigaction catching = {.sa_handler = catch_signal};
    sigset_t blocked;

    caught = 0;
    (void)sigemptyset(&blocked);
    for (size_t i = 0; i < NB_ENDING; i++)
        (void)sigaddset(&blocked, ending[i]);
    (void)sigprocmask(SIG_BLOCK, &blocked, &ret_before->mask);
    for (size_t i = 0; i < NB_ENDING; i++)
        (void)sigaction(ending[i], &catching, &ret_before->actions[i]);
}

static void release_signals(const struct signals *before)
{
    for (size_t i = 0; i < NB_ENDING; i++)
        (void)sigaction(ending[i], &before->actions[i], NULL);
    (void)sigprocmask(SIG_SETMASK, &before->mask, NULL);
    if (caught != 0)
        (void)raise(caught);
}

static void print_prompt(int tty, const char *path, uint32_t nb_failed)
{
    FILE *out = fdopen(dup(tty), "w");

    if (!out)
        return;
    fputs(nb_failed > 0 ? "It does not fit. Passphrase of " : "Passphrase of ", out);
    print_escaped(out, path);
    fputs(": ", out);
    (void)fclose(out);
}

/* Wait for a line and take it without its end. Negative: an error or a signal. */
static ssize_t read_line(int tty, const sigset_t *mask, uint8_t *bytes, size_t size)
{
    struct pollfd typed = {.fd = tty, .events = POLLIN};
    ssize_t length = -1;

    if (ppoll(&typed, 1, NULL, mask) > 0)
        length = read(tty, bytes, size);
    return length > 0 && bytes[length - 1] == '\n' ? length - 1 : length;
}

/* Prompt for one line on a terminal that does not show it: the echo is off before the prompt is
 * there. */
static ssize_t read_hidden(int tty, const char *path, uint32_t nb_failed, uint8_t *bytes,
                           size_t size)
{
    struct termios shown, hidden;
    struct signals signals;
    ssize_t length;

    if (tcgetattr(tty, &shown) != 0)
        return -1;
    hidden = shown;
    hidden.c_lflag &= ~(tcflag_t)(ECHO | ECHOE | ECHOK);
    hidden.c_lflag |= ECHONL | ICANON;
    hold_signals(&signals);
    (void)tcsetattr(tty, TCSAFLUSH, &hidden);
    print_prompt(tty, path, nb_failed);
    length = read_line(tty, &signals.mask, bytes, size);
    (void)tcsetattr(tty, TCSAFLUSH, &shown);
    release_signals(&signals);
    return length;
}

/* q2_unlocker_passphrase.ask; an empty line gives up. */
static bool ask(struct q2_unlocker_passphrase *unlocker, const char *path, uint32_t nb_failed)
{
    struct passphrase *passphrase = unlocker->ask_context;
    int tty = open("/dev/tty", O_RDWR | O_CLOEXEC | O_NOCTTY);
    ssize_t length;

    if (tty < 0)
        return false;
    length = read_hidden(tty, path, nb_failed, passphrase->bytes, Q2_MAX_PASSPHRASE_LENGTH);
    (void)close(tty);
    if (length <= 0)
        return false;
    unlocker->passphrase = passphrase->bytes;
    unlocker->passphrase_length = (size_t)length;
    return true;
}

static void take_known(struct passphrase *passphrase, const struct image_options *options,
                       struct q2_unlocker_passphrase *unlocker)
{
    memcpy(passphrase->bytes, options->known->bytes, options->known_length);
    unlocker->passphrase = passphrase->bytes;
    unlocker->passphrase_length = options->known_length;
}

bool passphrase_provide(struct passphrase *passphrase, const struct image_options *options,
                        struct q2_unlocker_passphrase *unlocker)
{
    bool line = options->passphrase_file != NULL;
    const char *path = line ? options->passphrase_file : options->key_file;

    if (line && options->key_file) {
        fputs("metalcow: --passphrase-file and --key-file cannot be given together\n", stderr);
        return false;
    }
    if (path == NULL) {
        unlocker->ask = ask;
        unlocker->ask_context = passphrase;
        if (options->known)
            take_known(passphrase, options, unlocker);
        return true;
    }
    if (!passphrase_load(passphrase, path, line, &unlocker->passphrase_length))
        return false;
    unlocker->passphrase = passphrase->bytes;
    return true;
}

void passphrase_wipe(struct passphrase *passphrase, struct q2_unlocker_passphrase *unlocker)
{
    q2_wipe(passphrase, sizeof(*passphrase));
    unlocker->choose = NULL;
    unlocker->passphrase = NULL;
    unlocker->passphrase_length = 0;
}
