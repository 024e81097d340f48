/* Every limit of the engine, with the reason for its number. Over a limit is a clean error that
 * names it (Q2_ERR_LIMIT), never a cut.
 */
#ifndef Q2_LIMITS_H
#define Q2_LIMITS_H

/* qcow2, header: cluster_bits. The specification's minimum; QEMU's maximum (no image is larger). */
#define Q2_MIN_CLUSTER_BITS 9
#define Q2_MAX_CLUSTER_BITS 21
#define Q2_MAX_CLUSTER_SIZE (1u << Q2_MAX_CLUSTER_BITS)

/* 32 MiB of L1 table, as QEMU: 2 EiB in clusters of 2 MiB, 64 TiB need 128 KiB of them. */
#define Q2_MAX_L1_ENTRIES (32u * 1024 * 1024 / 8)

/* 8 MiB of refcount table, as QEMU. */
#define Q2_MAX_REFCOUNT_TABLE_SIZE (8u * 1024 * 1024)

/* As QEMU: 65536 snapshots; their table no longer than 64 MiB; 1024 bytes of extra data each. */
#define Q2_MAX_SNAPSHOTS           65536u
#define Q2_MAX_SNAPSHOT_TABLE_SIZE (64u * 1024 * 1024)
#define Q2_MAX_SNAPSHOT_EXTRA_SIZE 1024u

/* Names in the header: the specification allows a backing file name of 1023 bytes; the data file's
 * name gets the same room. */
#define Q2_MAX_NAME_LENGTH 1023u

/* Name of the backing file's format: twice what QEMU reads. */
#define Q2_MAX_FORMAT_LENGTH 31u

/* One component of a path, in units of UTF-16: what FAT and the UEFI file protocol hold. */
#define Q2_MAX_COMPONENT_LENGTH 255u

/* A joined path. Longer than any path that FAT can hold (260 units). */
#define Q2_MAX_PATH_LENGTH 2047u

/* Layers of a chain, top image and raw base included. Labs stack a handful; 200 is an attack. */
#define Q2_MAX_LAYERS 32u

/* Bitmaps, as QEMU. */
#define Q2_MAX_BITMAPS 65535u

/* As QEMU: the clusters with the bits of one bitmap. */
#define Q2_MAX_BITMAP_LENGTH (512ull * 1024 * 1024)

/* One slice of a metadata table: the unit of the slice cache. 4 KiB costs a device what 512 bytes
 * cost, and a slice of L2 entries maps 32 MiB of 64 KiB clusters. */
#define Q2_SLICE_BITS 12
#define Q2_SLICE_SIZE (1u << Q2_SLICE_BITS)

/* The slice cache: 16 sets of 16 ways. Slice n of a file lives in set n % 16, so that 16 slices in
 * a row are stored in a row in memory and can be fetched in one request. 1 MiB maps 8 GiB of 64 KiB
 * clusters. */
#define Q2_SLICE_SETS 16u
#define Q2_SLICE_WAYS 16u

/* Read-ahead windows: 1 MiB costs a device little more than 4 KiB; one each for a chain of three
 * and one to spare. */
#define Q2_WINDOW_SIZE (1024u * 1024)
#define Q2_NB_WINDOWS  4u

/* Where buffers are stored that a source reads into: at pages. Host controllers take such a buffer
 * as it is; AHCI and NVMe drivers of EDK2 go 4 to 16 times slower with others. */
#define Q2_BUFFER_ALIGN 4096u

/* Decoded compressed clusters that are kept: 4 MiB, so two of the largest clusters. */
#define Q2_DECODED_CACHE_SIZE (2u * Q2_MAX_CLUSTER_SIZE)
#define Q2_DECODED_SLOTS      64u

/* Compressed bytes read at once. A stream is never longer than its cluster in images that QEMU
 * writes (it stores such clusters plain); a descriptor spans up to 2 sectors more. */
#define Q2_COMPRESSED_BUFFER_SIZE (Q2_MAX_CLUSTER_SIZE + 1024u)

#endif
