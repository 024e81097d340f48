/* <stdlib.h> for third-party code in firmware: an allocator that never has memory.
 *
 * Included instead of libc's header by zstd only (drivers/codec/codec.mk). All that zstd needs is
 * in the arena that its caller gives; a path that would allocate fails cleanly instead.
 */
#ifndef METALCOW_FREESTANDING_STDLIB_H
#define METALCOW_FREESTANDING_STDLIB_H

#include <stddef.h>

#define malloc(size)        ((void)(size), (void *)NULL)
#define calloc(count, size) ((void)(count), (void)(size), (void *)NULL)
#define free(pointer)       ((void)(pointer))

#endif
