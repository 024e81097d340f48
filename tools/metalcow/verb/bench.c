/* metalcow bench: how long requests of one size take, one after the other.
 *
 * Invariant: the disk is written only if the command line says so.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "tools/metalcow/base/image.h"
#include "tools/metalcow/base/output.h"
#include "tools/metalcow/verbs.h"

#define DEFAULT_COUNT 75000u
#define DEFAULT_SIZE  4096u
#define MAX_SIZE      (1ull << 30)
#define MAX_STEP      INT32_MAX /* as in qemu-img */

/* The requests of a run. */
struct plan {
    bool writes;
    uint64_t count, size, step, offset; /* offset: of the next request, bytes of the disk */
    uint64_t flush_interval;            /* writes; 0: none is followed by a flush */
    uint8_t pattern;
    bool step_said;
    uint64_t disk_size;
};

static uint64_t unless_said(uint64_t said, uint64_t otherwise)
{
    return said == BENCH_UNSAID ? otherwise : said;
}

static bool make_plan(const struct arguments *arguments, struct plan *ret_plan)
{
    const struct bench_options *said = &arguments->bench;
    const char *wrong = NULL;

    *ret_plan = (struct plan){
        .writes = said->writes,
        .count = unless_said(said->count, DEFAULT_COUNT),
        .size = unless_said(said->size, DEFAULT_SIZE),
        .offset = said->offset,
        .flush_interval = unless_said(said->flush_interval, 0),
        .pattern = (uint8_t)unless_said(said->pattern, 0),
        .step_said = said->step != BENCH_UNSAID,
    };
    ret_plan->step = unless_said(said->step, ret_plan->size);
    if (ret_plan->size == 0 || ret_plan->size > MAX_SIZE)
        wrong = "-s: a request has 1 byte to 1 GiB";
    else if (ret_plan->step > MAX_STEP)
        wrong = "-S: requests are at most 2147483647 bytes apart";
    else if (ret_plan->count == 0)
        wrong = "-c: at least one request must be made";
    else if (unless_said(said->depth, 1) != 1)
        wrong = "-d: requests are made one after the other, so the depth can only be 1";
    else if (unless_said(said->pattern, 0) > 255)
        wrong = "--pattern: a byte has a value of 0 to 255";
    else if (!said->writes && (said->pattern != BENCH_UNSAID || ret_plan->flush_interval > 0))
        wrong = "--pattern and --flush-interval are for writes; add -w";
    return !wrong || complain(wrong);
}

/* The offset wraps at the end of the disk. A request that would leave the disk starts at 0. */
static bool make_request(struct image *image, struct plan *plan, uint8_t *buffer)
{
    enum q2_status status;

    if (plan->offset > plan->disk_size - plan->size)
        plan->offset = 0;
    status = plan->writes ? q2_disk_write(image->disk, plan->offset, buffer, plan->size)
                          : q2_disk_read(image->disk, plan->offset, buffer, plan->size);
    plan->offset = (plan->offset + plan->step % plan->disk_size) % plan->disk_size;
    if (status != Q2_OK)
        image_print_fault(image);
    return status == Q2_OK;
}

static bool run(struct image *image, struct plan *plan, uint8_t *buffer)
{
    for (uint64_t i = 1; i <= plan->count; i++) {
        if (!make_request(image, plan, buffer))
            return false;
        if (plan->flush_interval > 0 && i % plan->flush_interval == 0 && !image_flush(image))
            return false;
    }
    return true;
}

static void say_plan(const struct plan *plan)
{
    printf("%llu %s of %llu bytes, one after the other, from offset %llu on, %llu bytes apart\n",
           (unsigned long long)plan->count, plan->writes ? "writes" : "reads",
           (unsigned long long)plan->size, (unsigned long long)plan->offset,
           (unsigned long long)plan->step);
    if (plan->flush_interval > 0)
        printf("Flush after each %llu\n", (unsigned long long)plan->flush_interval);
    (void)fflush(stdout);
}

static double now(void)
{
    struct timespec time;

    (void)clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

/* A step to where no request has room takes every request to the disk's start. */
static bool check_step(const struct plan *plan)
{
    if (!plan->step_said || plan->step % plan->disk_size <= plan->disk_size - plan->size)
        return true;
    fputs("metalcow: -S: a request would leave the disk after one step; give a smaller -S or -s\n",
          stderr);
    return false;
}

static bool measure(struct image *image, struct plan *plan, bool quiet)
{
    uint8_t *buffer;
    double start;
    bool done;

    plan->disk_size = q2_disk_size(image->disk);
    if (!image_has_range(image, plan->offset, plan->size) || !check_step(plan))
        return false;
    buffer = malloc(plan->size);
    if (!buffer) {
        fputs("metalcow: out of memory\n", stderr);
        return false;
    }
    memset(buffer, plan->pattern, plan->size);
    if (!quiet)
        say_plan(plan);
    start = now();
    done = run(image, plan, buffer);
    if (plan->writes)
        done = image_flush(image) && done;
    if (done && !quiet)
        printf("Run completed in %.3f seconds.\n", now() - start);
    free(buffer);
    return done;
}

int verb_bench(const struct arguments *arguments)
{
    struct image_options options = arguments->image[0];
    struct image *image;
    struct plan plan;
    bool done;

    if (!make_plan(arguments, &plan))
        return EXIT_ERROR;
    options.writable = plan.writes;
    image = image_open(arguments->operands[0], &options, false);
    done = image && measure(image, &plan, arguments->quiet);
    image_close(image);
    return done ? EXIT_SUCCESS : EXIT_ERROR;
}
