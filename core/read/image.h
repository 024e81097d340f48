/* One opened layer: a qcow2 image (its active state or one snapshot), or a raw file.
 *
 * The layer holds decoded numbers only; tables stay in the file and pass through the slice cache.
 */
#ifndef Q2_CORE_IMAGE_H
#define Q2_CORE_IMAGE_H

#include "core/format/l2_entry.h"
#include "q2_cipher.h"
#include "q2_disk.h"
#include "slice_cache.h"

struct q2_image {
    enum q2_image_format format;
    struct q2_source *source; /* the image file */
    struct q2_cipher *cipher; /* of guest data; NULL if it is plain */
    struct q2_source *data;   /* where clusters are stored: source, or the external data file */
    bool owns_source, owns_data;
    bool is_snapshot;
    bool is_beside;          /* its file or data file was found beside the image that names it */
    bool has_data_file_name; /* the extension is there */
    bool has_backing;        /* header names a backing file */
    struct q2_header header;
    struct q2_l2_rules rules;
    uint64_t virtual_size; /* of the opened state */
    uint64_t l1_table_offset;
    uint32_t l1_size;
    uint32_t l2_bits;        /* log2 of the entries of an L2 table */
    uint32_t entry_bits;     /* log2 of the bytes of an L2 entry: 3, or 4 if extended */
    uint64_t bitmaps_offset; /* bitmap directory; 0 if there is none */
    uint64_t bitmaps_length; /* bytes */
    uint32_t nb_bitmaps;
    uint64_t encryption_offset; /* LUKS header; 0 if there is none */
    uint64_t encryption_length; /* bytes */
    char backing_file[Q2_MAX_NAME_LENGTH + 1];
    char backing_format[Q2_MAX_FORMAT_LENGTH + 1];
    char data_file[Q2_MAX_NAME_LENGTH + 1];
};

/* Read and check the header and its extensions; opens no other file.  (qcow2: "Header",
 * "Header extensions")
 *
 * source     the image file; not owned
 * ret_image  set on Q2_OK: the active state, data == source
 *
 * Q2_ERR_BAD_MAGIC, Q2_ERR_VERSION, Q2_ERR_BAD_HEADER, Q2_ERR_BAD_EXTENSION, Q2_ERR_BAD_NAME,
 * Q2_ERR_FEATURE, Q2_ERR_LIMIT, Q2_ERR_TRUNCATED, Q2_ERR_IO ...
 */
enum q2_status q2_image_open(struct q2_slice_cache *cache, struct q2_source *source,
                             struct q2_fault *fault, struct q2_image *ret_image);

/* A raw file as a layer: guest offset is host offset. */
void q2_image_open_raw(struct q2_source *source, struct q2_image *ret_image);

/* Check that a snapshot's L1 table can be walked and covers its size.  (qcow2: "Snapshots")
 *
 * Q2_ERR_BAD_SNAPSHOT  the snapshot's L1 table breaks a rule
 * Q2_ERR_LIMIT         it is too large
 * Q2_ERR_TRUNCATED     it is not inside the file
 */
enum q2_status q2_image_check_snapshot(const struct q2_image *image,
                                       const struct q2_snapshot *snapshot, struct q2_fault *fault);

/* Turn an opened image to one of its snapshots: own L1 table, own virtual size. Errors as above. */
enum q2_status q2_image_use_snapshot(struct q2_image *image, const struct q2_snapshot *snapshot,
                                     struct q2_fault *fault);

static inline bool q2_image_has_data_file(const struct q2_image *image)
{
    return (image->header.incompatible_features & Q2_INCOMPAT_DATA_FILE) != 0;
}

/* Is the external data file the disk itself, byte by byte? */
static inline bool q2_image_is_raw_external(const struct q2_image *image)
{
    return (image->header.autoclear_features & Q2_AUTOCLEAR_RAW_EXTERNAL) != 0;
}

#endif
