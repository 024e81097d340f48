/* The image header: decode, then validate.  (qcow2: "Header")
 *
 * Pure functions on bytes; nothing here reads a file.
 */
#ifndef Q2_CORE_FORMAT_HEADER_H
#define Q2_CORE_FORMAT_HEADER_H

#include <stddef.h>

#include "q2_disk.h"
#include "core/base/bytes.h"

#define Q2_MAGIC 0x514649fbu /* "QFI\xfb" */

/* Bytes 0 to 71 are all of a version 2 header; version 3 goes on. */
struct q2_header_disk {
    be32 magic;
    be32 version;
    be64 backing_file_offset;
    be32 backing_file_size;
    be32 cluster_bits;
    be64 size;
    be32 crypt_method;
    be32 l1_size;
    be64 l1_table_offset;
    be64 refcount_table_offset;
    be32 refcount_table_clusters;
    be32 nb_snapshots;
    be64 snapshots_offset;
    be64 incompatible_features;
    be64 compatible_features;
    be64 autoclear_features;
    be32 refcount_order;
    be32 header_length;
    uint8_t compression_type; /* present if header_length > 104 */
    uint8_t padding[7];
};
_Static_assert(offsetof(struct q2_header_disk, incompatible_features) == 72, "qcow2, Header");
_Static_assert(offsetof(struct q2_header_disk, compression_type) == 104, "qcow2, Header");
_Static_assert(sizeof(struct q2_header_disk) == 112, "qcow2, Header");

#define Q2_HEADER_V2_LENGTH 72u
#define Q2_HEADER_V3_LENGTH 104u

/* Decode a header. Fields that the version does not have get the specification's defaults.
 *
 * disk     the first sizeof(*disk) bytes of the file, zeros where the file is shorter
 */
void q2_header_decode(const struct q2_header_disk *disk, struct q2_header *ret_header);

/* Is this a qcow2 header of a version we know?
 *
 * Q2_ERR_BAD_MAGIC  no
 * Q2_ERR_VERSION    version other than 2 and 3
 */
enum q2_status q2_header_identify(const struct q2_header_disk *disk, const char *path,
                                  struct q2_fault *fault);

/* Check every rule that needs no more than the header and the file's size. Unknown incompatible
 * features are not judged here: their names must be looked up first.
 *
 * Q2_ERR_BAD_HEADER  a field breaks the specification
 * Q2_ERR_LIMIT       a field is over one of include/q2_limits.h
 * Q2_ERR_TRUNCATED   the L1 table is not inside the file
 */
enum q2_status q2_header_validate(const struct q2_header *header, uint64_t file_size,
                                  const char *path, struct q2_fault *fault);

/* log2 of the bytes that one L2 table maps: the reach of an L1 entry. */
uint32_t q2_header_l1_reach_bits(const struct q2_header *header);

#endif
