/* <assert.h> for third-party code in firmware: as with NDEBUG, nothing is checked or printed.
 *
 * Included instead of libc's header by zstd's copy of xxHash only (drivers/codec/codec.mk).
 */
#ifndef METALCOW_FREESTANDING_ASSERT_H
#define METALCOW_FREESTANDING_ASSERT_H

#define assert(condition) ((void)0)

#endif
