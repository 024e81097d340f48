/* Reading a disk of which a part cannot be read. May call the engine.
 *
 * Invariant: what can be read is read, whatever is around it.
 */
#include "salvage.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "tools/metalcow/base/output.h"

#define SECTOR 512u

/* A run of sectors that cannot be read. */
struct gap {
    uint64_t at, length; /* bytes; length 0: there is none */
    struct q2_fault why; /* of the first sector */
};

static void add(struct gap *gap, const struct image *image, uint64_t at, size_t length)
{
    if (gap->length == 0)
        *gap = (struct gap){.at = at, .why = *q2_disk_fault(image->disk)};
    gap->length += length;
}

/* The gap, if there is one, is over. */
static void end(struct gap *gap, const struct image *image, bool quiet)
{
    if (gap->length > 0 && !quiet) {
        fprintf(stderr,
                "metalcow: warning: %" PRIu64 " bytes of the disk at offset %" PRIu64
                " become zeros: ",
                gap->length, gap->at);
        print_cause(image->path, &gap->why);
    }
    gap->length = 0;
}

void salvage_read(struct image *image, uint64_t at, uint8_t *buffer, size_t length, bool quiet)
{
    struct gap gap = {.length = 0};

    while (length > 0) {
        size_t rest = SECTOR - (size_t)(at % SECTOR), n = length < rest ? length : rest;

        if (q2_disk_read(image->disk, at, buffer, n) == Q2_OK) {
            end(&gap, image, quiet);
        } else {
            memset(buffer, 0, n);
            add(&gap, image, at, n);
        }
        at += n;
        buffer += n;
        length -= n;
    }
    end(&gap, image, quiet);
}
