/* The opener of the host: paths of the file system, no policy (core/read/name_gate.c has it).
 *
 * Implements include/q2_opener.h. The struct (about 140 KiB) is the caller's; no memory is
 * allocated.
 */
#ifndef Q2_DRIVERS_OPENER_POSIX_H
#define Q2_DRIVERS_OPENER_POSIX_H

#include "q2_limits.h"
#include "q2_opener.h"
#include "source.h"

/* Every layer of a chain, each with a data file. */
#define Q2_POSIX_MAX_OPEN (Q2_MAX_LAYERS * 2)

struct q2_opener_posix {
    struct q2_opener opener;
    bool block_devices; /* names may lead to block devices; false after init */
    bool share;         /* files that are read may be written by others; false after init */
    /* Q2_POSIX_UNCACHED, _THROUGH, _NO_FLUSH, of files that are written and of others; 0 after
     * init */
    unsigned int cache, read_cache;
    struct q2_source_posix files[Q2_POSIX_MAX_OPEN];
    bool used[Q2_POSIX_MAX_OPEN];
};

void q2_opener_posix_init(struct q2_opener_posix *posix);

#endif
