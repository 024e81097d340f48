/* The parts of a run that all others use. */
#include "run.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void run_start(struct run *r)
{
    memset(r, 0, sizeof(*r));
    world_start(&r->world);
    content_start(&r->content);
    r->next = crash_memory(NULL, GUEST_MAX + 65536);
    r->read = crash_memory(NULL, GUEST_MAX + 65536);
    r->stream = crash_memory(NULL, 2 * 65536 + 2);
    for (uint32_t i = 0; i < MAX_SNAPS; i++)
        r->snaps[i].bytes = crash_memory(NULL, GUEST_MAX);
}

void run_free(struct run *r)
{
    world_free(&r->world);
    content_free(&r->content);
    free(r->next);
    free(r->read);
    free(r->stream);
    for (uint32_t i = 0; i < MAX_SNAPS; i++)
        free(r->snaps[i].bytes);
}

uint64_t run_random(struct run *r, uint64_t below)
{
    return crash_random(&r->seed) % below;
}

void run_says(struct run *r, const char *format, ...)
{
    va_list args;

    if (!r->trace)
        return;
    va_start(args, format);
    (void)vprintf(format, args);
    va_end(args);
    printf("\n");
    (void)fflush(stdout);
}

bool run_wrong(struct run *r, const char *what, uint64_t value)
{
    (void)snprintf(r->why, sizeof(r->why), "%s 0x%llx", what, (unsigned long long)value);
    return false;
}

bool run_failed(struct run *r, const char *what, enum q2_status status)
{
    const struct q2_fault *fault = r->world.disk ? q2_disk_fault(r->world.disk) : &r->world.fault;
    char text[300] = "no fault";

    if (fault->status != Q2_OK)
        (void)q2_fault_format(fault, text, sizeof(text));
    (void)snprintf(r->why, sizeof(r->why), "%s: %s: %s", what, q2_status_name(status), text);
    return false;
}
