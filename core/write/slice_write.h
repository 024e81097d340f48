/* The slice cache: changing what it holds, and writing what waits.
 *
 * Every change of metadata goes through here or through store.h, so that the cache never shows what
 * is no longer in the file.
 */
#ifndef Q2_CORE_SLICE_WRITE_H
#define Q2_CORE_SLICE_WRITE_H

#include "core/read/slice_cache.h"

/* Get metadata bytes to change in memory; they wait for q2_slice_write().
 *
 * offset, length  inside one sector of 512 bytes, inside the file
 * ret_bytes       the length bytes, as they are; good until the next call into the cache
 *
 * Before the first change of a slice the source reserves its room, so that what waits can be
 * written when the device is full.
 *
 * Q2_ERR_LIMIT      every slice that could be replaced waits to be written: commit first
 * Q2_ERR_NO_SPACE   the source has no room for what would wait
 * Q2_ERR_TRUNCATED, Q2_ERR_IO ...   nothing waits
 */
enum q2_status q2_slice_edit(struct q2_slice_cache *cache, struct q2_source *source,
                             uint64_t offset, size_t length, enum q2_dirty kind,
                             uint8_t **ret_bytes);

/* The same, with what they shall be. */
enum q2_status q2_slice_put(struct q2_slice_cache *cache, struct q2_source *source, uint64_t offset,
                            const void *bytes, size_t length, enum q2_dirty kind);

/* Is it time to commit? True while a few more q2_slice_put() still have room. */
bool q2_slice_is_crowded(const struct q2_slice_cache *cache);

/* Does any slice wait to be written? */
bool q2_slice_any_dirty(const struct q2_slice_cache *cache);

/* Does any sector of a kind wait to be written? */
bool q2_slice_is_dirty(const struct q2_slice_cache *cache, enum q2_dirty kind);

/* Write every waiting sector of a kind; not flushed.
 *
 * source  where they go; all dirty slices are of this one file
 *
 * Q2_ERR_IO ...  some may have been written; the ones that were not still wait
 */
enum q2_status q2_slice_write(struct q2_slice_cache *cache, struct q2_source *source,
                              enum q2_dirty kind);

/* L1 or L2 entries were written without going through this cache, or another L1 table is in force:
 * whatever was looked up before is void. */
void q2_slice_cache_expire(struct q2_slice_cache *cache);

/* Take over bytes that were written to a file beside the cache, so that a slice that shares their
 * place does not bring the old ones back. */
void q2_slice_cache_overwrite(struct q2_slice_cache *cache, const struct q2_source *source,
                              uint64_t offset, const void *bytes, size_t length);

/* The file has grown from old_size: the slice at its old end is longer now, with zeros. */
void q2_slice_cache_grow(struct q2_slice_cache *cache, const struct q2_source *source,
                         uint64_t old_size);

#endif
