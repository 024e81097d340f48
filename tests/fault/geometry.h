/* The images that the fault tests start from, one per geometry, made by qemu-img.
 *
 * Every image has the same layout in clusters, so that one script of
 * operations fits all. Two zones of the guest are modelled; nothing else is ever written.
 *
 *   zone A  clusters 0 to 23: 0 to 7 data (compressed in some), 8 to 11 unallocated, 12 zeros,
 *           13 allocated zeros, 14 and 15 discarded data, 16 to 23 unallocated
 *   zone B  from 3 clusters before the reach of the first L2 table to 5 after it and the disk's
 *           end: the 2 clusters before the border are data, the second L2 table does not exist
 */
#ifndef METALCOW_TESTS_GEOMETRY_H
#define METALCOW_TESTS_GEOMETRY_H

#include "crash_states.h"

#define ZONE_A_CLUSTERS 24u
#define ZONE_B_BEFORE   3u
#define ZONE_B_BEHIND   5u

enum geometry_data {
    DATA_INSIDE,
    DATA_FILE,
    DATA_FILE_RAW,
};

struct geometry {
    const char *name;
    const char *options; /* of qemu-img create, beside cluster size and data file */
    uint32_t cluster_bits;
    bool extended;
    bool version_2;
    enum geometry_data data;
    const char *backing; /* format of a backing file that ends in zone A; NULL: none */
    bool compressed;
    bool snapshot; /* taken before cluster 1 and half of 2 were written again */
    bool bitmap;
    bool one_table;   /* the border of zone B is not one of L2 tables but of slices in one */
    bool scattered;   /* the clusters of zone A are far apart in the file */
    uint32_t tail;    /* bytes of the disk beyond its last whole cluster */
    uint32_t fill;    /* clusters of data after zone B, to bring a table to its limit */
    bool grows_table; /* the refcount table must grow on the way */
    bool grows_block; /* a refcount block must be added on the way */
};

/* Can its images have more snapshots? */
bool geometry_has_snapshots(const struct geometry *geometry);

extern const struct geometry geometries[];
extern const uint32_t nb_geometries;

/* One geometry, loaded. */
struct subject {
    const struct geometry *geometry;
    const char *folder;
    char image_name[64], data_name[64], base_name[64];
    uint64_t cluster_size;
    uint64_t border;    /* guest offset where the second L2 table begins */
    uint64_t disk_size; /* guest bytes */
    uint64_t zone_length[2];
    uint64_t zone_start[2];
    uint64_t model_size; /* both zones, one after the other */
    uint32_t nb_files;   /* image, and the data file if there is one */
    uint8_t *files[CRASH_MAX_FILES];
    uint64_t sizes[CRASH_MAX_FILES];
    uint64_t capacities[CRASH_MAX_FILES];
    uint8_t *base; /* backing file, NULL if none */
    uint64_t base_size;
    uint8_t *initial;          /* model_size bytes that qemu-img reads */
    uint8_t *snapshot_initial; /* of the snapshot; NULL if none */
};

/* Make the geometry's files in folder and load them; they stay there for qemu-img. */
void subject_load(struct subject *subject, const struct geometry *geometry, const char *folder);
void subject_free(struct subject *subject);

/* The folder for a test program's files, made empty: PROGRAM.files beside it. */
const char *subject_folder(const char *program);

/* Run a shell command; abort the test program if it fails. */
void subject_run(const char *format, ...) __attribute__((format(printf, 1, 2)));
int subject_try(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* What qemu-img reads in the zones of the image in the folder: model_size bytes, to be freed.
 * option is qemu-img convert's, "" for the active state. */
uint8_t *subject_read(const struct subject *subject, const char *option);

/* Write a file into the subject's folder. */
void subject_store(const struct subject *subject, const char *name, const uint8_t *bytes,
                   uint64_t size);

#endif
