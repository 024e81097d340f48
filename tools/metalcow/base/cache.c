/* The words of -t and -T as flags of the files' driver. May call nothing. */
#include "cache.h"

#include "drivers/posix/source.h"

unsigned int cache_flags(enum file_cache cache)
{
    switch (cache) {
    case CACHE_NONE:
        return Q2_POSIX_UNCACHED;
    case CACHE_WRITETHROUGH:
        return Q2_POSIX_THROUGH;
    case CACHE_DIRECTSYNC:
        return Q2_POSIX_UNCACHED | Q2_POSIX_THROUGH;
    case CACHE_UNSAFE:
        return Q2_POSIX_NO_FLUSH;
    case CACHE_UNSAID:
    case CACHE_WRITEBACK:
    default:
        return 0;
    }
}

bool cache_wants_flush(enum file_cache cache)
{
    return cache != CACHE_UNSAID && cache != CACHE_UNSAFE;
}
