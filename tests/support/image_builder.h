/* Builds small qcow2 images in memory, right ones and wrong ones, with the bytes that they must
 * read as.
 *
 * For tests that need an image without qemu-img. What the functions
 * build is right (refcounts and COPIED flags included, so that a consistency check finds nothing)
 * until image_field_set() and image_put*() make it wrong. Out of memory or room aborts.
 *
 * Guest content is a pattern of seed and guest offset that is never zero, so that bytes which were
 * lost and read as zeros are seen.
 */
#ifndef METALCOW_TESTS_IMAGE_BUILDER_H
#define METALCOW_TESTS_IMAGE_BUILDER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define IMAGE_MAX_SNAPSHOTS 8
/* Larger disks have no model: nobody compares them whole. */
#define IMAGE_MAX_MODEL (16u << 20)

struct image_spec {
    uint64_t size;          /* guest bytes */
    uint32_t version;       /* 2 or 3; 0 means 3 */
    uint32_t cluster_bits;  /* 0 means 16 */
    uint32_t l1_size;       /* entries; 0 means as many as size needs */
    uint32_t header_length; /* version 3; 0 means 112 */
    uint32_t refcount_bits; /* version 3; 0 means 16 */
    uint32_t max_clusters;  /* what the refcount blocks cover; 0 means 256 */
    bool extended;          /* extended L2 entries */
    bool external;          /* guest data is in an external data file */
    uint8_t compression_type;
};

/* One state of the guest: what reads must give, and which sectors this layer holds itself. */
struct image_model {
    uint8_t *bytes; /* spec.size; NULL if larger than IMAGE_MAX_MODEL */
    bool *held;     /* one per 512 bytes: allocated or zero here, not left to the backing file */
};

struct image_snapshot_spec {
    const char *id, *name;
    const void *extra; /* NULL: what version 3 demands, in version 3 */
    uint32_t extra_size;
    uint32_t vm_state_size;
    uint32_t date_sec, date_nsec;
    uint64_t vm_clock_nsec;
};

struct image {
    struct image_spec spec; /* with the defaults filled in */
    uint8_t *bytes;         /* the image file */
    uint64_t size;          /* its size, a multiple of the cluster */
    uint8_t *data;          /* the data file, if external */
    uint64_t data_size;
    struct image_model model;
    struct image_model snapshot_models[IMAGE_MAX_SNAPSHOTS];
    uint32_t nb_snapshots;
    /* Private. */
    uint64_t capacity;       /* bytes allocated */
    uint64_t extensions_end; /* where the next extension goes */
    uint64_t stream_end;     /* where the next compressed stream goes; 0: in a new cluster */
    uint8_t snapshot_table[8192];
    size_t snapshot_table_length;
};

/* An image that is all unallocated. */
void image_start(struct image *image, const struct image_spec *spec);
void image_free(struct image *image);

uint64_t image_cluster_size(const struct image *image);

/* A header field by the specification's name ("l1_size"). */
void image_field_set(struct image *image, const char *field, uint64_t value);
uint64_t image_field(const struct image *image, const char *field);

/* Bytes of the image file; big-endian numbers. */
void image_put(struct image *image, uint64_t offset, const void *bytes, size_t length);
void image_put64(struct image *image, uint64_t offset, uint64_t value);
void image_put32(struct image *image, uint64_t offset, uint32_t value);
uint64_t image_get64(const struct image *image, uint64_t offset);

/* Give the file nb clusters more, zeroed, refcount 1 each; returns the first one's offset. */
uint64_t image_alloc(struct image *image, uint32_t nb);
void image_refcount_set(struct image *image, uint64_t cluster_index, uint64_t refcount);
uint64_t image_refcount(const struct image *image, uint64_t cluster_index);

/* Append a header extension; returns the offset of its type field. */
uint64_t image_extension(struct image *image, uint32_t type, const void *bytes, uint32_t length);
/* Name a backing file (before nothing else needs the end of the first cluster). format may be NULL.
 */
void image_backing(struct image *image, const char *name, const char *format);
void image_data_name(struct image *image, const char *name);

/* Offset of the L1 entry, or of the L2 entry, that maps a guest offset; the L2 table is made. */
uint64_t image_l1_entry(const struct image *image, uint64_t guest_offset);
uint64_t image_l2_entry(struct image *image, uint64_t guest_offset);

/* Give a guest cluster its content; guest_offset is anywhere in it. All return the host offset. */
uint64_t image_data(struct image *image, uint64_t guest_offset, uint32_t seed);
uint64_t image_zero(struct image *image, uint64_t guest_offset, bool allocated);
/* Extended: subclusters of alloc hold data, those of zero read as zeros. */
uint64_t image_subclusters(struct image *image, uint64_t guest_offset, uint32_t alloc,
                           uint32_t zero, uint32_t seed);
/* Clusters of 16 KiB, and nb_tables L2 tables that all want the slices of the L1 table's set, which
 * are fewer. Each table has three clusters of data at its beginning. */
#define IMAGE_CROWDED_CLUSTER (16u * 1024)
#define IMAGE_CROWDED_REACH   (32ull * 1024 * 1024) /* guest bytes of a table */
void image_start_crowded(struct image *image, uint64_t nb_tables);

/* A compressed cluster with this stream; the model is not changed. */
uint64_t image_stream(struct image *image, uint64_t guest_offset, const uint8_t *stream,
                      size_t length);
/* A compressed cluster in the fake codec's coding. */
uint64_t image_compressed(struct image *image, uint64_t guest_offset, uint32_t seed);

/* Make the current state a snapshot; the active state starts again, all unallocated. */
void image_snapshot(struct image *image, const struct image_snapshot_spec *spec);
/* Write the snapshot table; returns its offset. */
uint64_t image_snapshots_write(struct image *image);

/* Byte of the pattern. Never zero. */
uint8_t image_byte(uint32_t seed, uint64_t guest_offset);

/* What a chain reads as: fill, in the model of top, what it does not hold from base; zeros where
 * base ends. */
void image_model_over(struct image *top, const uint8_t *base, uint64_t base_size);

#endif
