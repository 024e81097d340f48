/* What -t and -T say of the page cache: qemu-img's words, and what they mean for files here. */
#ifndef METALCOW_CACHE_H
#define METALCOW_CACHE_H

#include <stdbool.h>

enum file_cache {
    CACHE_UNSAID,
    CACHE_WRITEBACK,    /* writes are durable after a flush */
    CACHE_NONE,         /* the same; what was moved does not stay in the page cache */
    CACHE_WRITETHROUGH, /* a write is durable when it returns */
    CACHE_DIRECTSYNC,   /* both of these */
    CACHE_UNSAFE,       /* a flush does nothing */
};

/* enum q2_posix_flags of drivers/posix/source.h for files that are opened in this way. */
unsigned int cache_flags(enum file_cache cache);

/* Whether somebody asked that the output be durable at the end. */
bool cache_wants_flush(enum file_cache cache);

#endif
