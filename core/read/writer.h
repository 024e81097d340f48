/* What a disk remembers for writing, apart from the slice cache.
 *
 * Only plain data: struct q2_disk embeds it, and core/write/ gives it its meaning. Everything here
 * is about the top image, because backing files are never written.
 */
#ifndef Q2_CORE_WRITER_H
#define Q2_CORE_WRITER_H

#include <stdbool.h>
#include <stdint.h>

#include "q2_limits.h"

/* A piece of the caller's data is put together with old bytes here; 256 KiB hold the common cluster
 * sizes whole. */
#define Q2_BOUNCE_SIZE (256u * 1024)

/* Ranges whose references are gone but whose refcounts must wait for the entries to be durable. */
#define Q2_MAX_FREES 1024u

struct q2_free_range {
    uint64_t offset, length; /* bytes into the image; a multiple of clusters unless compressed */
};

/* Bitmaps that writes are recorded in. Backup tools keep one or two; each further one would cost
 * every write a look. */
#define Q2_MAX_RECORDED 32u

/* A dirty bitmap that this disk keeps up to date. It is marked as in use in the file until
 * q2_disk_bitmaps_store(). */
struct q2_recorded_bitmap {
    uint64_t entry_at;               /* of its directory entry, bytes into the image */
    uint64_t table_offset;           /* bytes into the image */
    uint64_t size;                   /* guest bytes that it covers */
    uint64_t known_first, known_end; /* bits that are set for sure: [first, end) */
    uint32_t flags;                  /* as they are to be stored: not in use */
    uint8_t granularity_bits;
};

struct q2_writer {
    bool writable;
    bool repairable;          /* open for q2_disk_repair() alone */
    bool latched;             /* O10: metadata could not be written; read-only until reopened */
    bool header_ready;        /* O7 is done */
    bool repaired;            /* it was dirty and has been repaired while it was opened */
    bool keep_bitmaps;        /* record writes in dirty bitmaps */
    uint32_t nb_bitmaps_lost; /* marked as in use for good since the image was opened */
    uint32_t nb_recorded;
    struct q2_recorded_bitmap recorded[Q2_MAX_RECORDED];
    uint64_t first_free; /* no host cluster with a lower index is free */
    uint64_t end;        /* no host cluster with this index or a higher one is in use */
    uint64_t packed_end; /* where the last compressed stream ends in its host cluster; 0: none */
    uint32_t nb_frees;
    struct q2_free_range frees[Q2_MAX_FREES];
    _Alignas(Q2_BUFFER_ALIGN) uint8_t bounce[Q2_BOUNCE_SIZE];
};

#endif
