/* Holes of sparse files: what the file system knows to read as zeros. */
#ifndef METALCOW_HOLES_H
#define METALCOW_HOLES_H

#include <stdbool.h>
#include <stdint.h>

/* The last run found, so that small pieces of one run cost one look. Zero at first. */
struct holes {
    int fd;
    bool is_hole;
    uint64_t begin, end; /* bytes; empty if equal */
};

/* Whether the file has a hole at offset, and for how many bytes (1..length) that answer holds.
 * Without an answer from the file system everything is data; so is everything past the end. */
bool holes_find(struct holes *holes, int fd, uint64_t offset, uint64_t length,
                uint64_t *ret_length);

#endif
