/* The progress bar of long work. May call stdio and the clock. */
#include "progress.h"

#include <unistd.h>

static double seconds_since(const struct timespec *start)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)(now.tv_sec - start->tv_sec) + (double)(now.tv_nsec - start->tv_nsec) / 1e9;
}

static void show(struct progress *progress, double percent)
{
    progress->last = percent;
    progress->shown = true;
    fprintf(progress->out, "    (%3.2f/100%%)\r", percent);
    fflush(progress->out);
}

void progress_begin(struct progress *progress, bool wanted, bool quiet)
{
    *progress = (struct progress){.automatic = !wanted};
    clock_gettime(CLOCK_MONOTONIC, &progress->start);
    if (quiet)
        return;
    if (wanted)
        progress->out = stdout;
    else if (isatty(STDERR_FILENO))
        progress->out = stderr;
    if (wanted)
        show(progress, 0);
}

void progress_update(struct progress *progress, uint64_t done, uint64_t total)
{
    double percent = total == 0 ? 100.0 : 100.0 * (double)done / (double)total;

    if (!progress->out || percent - progress->last < 1.0)
        return;
    if (progress->automatic && !progress->shown && seconds_since(&progress->start) < 1.0)
        return;
    show(progress, percent);
}

void progress_end(struct progress *progress, bool done)
{
    if (!progress->out || !(progress->shown || !progress->automatic))
        return;
    if (done)
        show(progress, 100.0);
    fputc('\n', progress->out);
    fflush(progress->out);
}
