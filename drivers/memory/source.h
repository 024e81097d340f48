/* A byte source over a buffer in memory.
 *
 * For overlays, for files that are read into memory, and for tests. Implements
 * include/q2_source.h. The buffer is the caller's and must outlive the source.
 */
#ifndef Q2_DRIVERS_SOURCE_MEMORY_H
#define Q2_DRIVERS_SOURCE_MEMORY_H

#include "q2_source.h"

struct q2_source_memory {
    struct q2_source source;
    uint8_t *buffer;
    uint64_t capacity; /* bytes of buffer; source.size can grow to it */
};

/* Make a source of size bytes that are stored at buffer.
 *
 * capacity  bytes at buffer, >= size; what is past size is overwritten with zeros by grow()
 * path      a name for messages, not copied
 */
void q2_source_memory_init(struct q2_source_memory *memory, void *buffer, uint64_t size,
                           uint64_t capacity, bool writable, const char *path);

#endif
