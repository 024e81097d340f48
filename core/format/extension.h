/* Header extensions and the feature name table.  (qcow2: "Header extensions", "Feature name table")
 *
 * On-disk layouts and constants only.
 */
#ifndef Q2_CORE_FORMAT_EXTENSION_H
#define Q2_CORE_FORMAT_EXTENSION_H

#include "core/base/bytes.h"

#define Q2_EXTENSION_END            0x00000000u
#define Q2_EXTENSION_BACKING_FORMAT 0xe2792acau
#define Q2_EXTENSION_FEATURE_NAMES  0x6803f857u
#define Q2_EXTENSION_BITMAPS        0x23852875u
#define Q2_EXTENSION_ENCRYPTION     0x0537be77u
#define Q2_EXTENSION_DATA_FILE      0x44415441u
/* Ours: spans bytes of no meaning, as every reader does with types that it does not know. Stands in
 * an image only while core/write/header_change.c is at work. */
#define Q2_EXTENSION_FILLER 0x6d6f6f66u

/* Each extension: this, then length bytes, then padding to a multiple of 8. */
struct q2_extension_disk {
    be32 type;
    be32 length;
};
_Static_assert(sizeof(struct q2_extension_disk) == 8, "qcow2, Header extensions");

/* One row of the feature name table. */
struct q2_feature_name_disk {
    uint8_t type; /* 0 incompatible, 1 compatible, 2 autoclear */
    uint8_t bit;
    char name[46]; /* padded with NUL, not terminated if full */
};
_Static_assert(sizeof(struct q2_feature_name_disk) == 48, "qcow2, Feature name table");

/* Bitmaps extension. */
struct q2_bitmaps_disk {
    be32 nb_bitmaps;
    be32 reserved;
    be64 directory_size;
    be64 directory_offset;
};
_Static_assert(sizeof(struct q2_bitmaps_disk) == 24, "qcow2, Bitmaps extension");

/* Full disk encryption header pointer. */
struct q2_encryption_disk {
    be64 offset;
    be64 length;
};
_Static_assert(sizeof(struct q2_encryption_disk) == 16, "qcow2, Full disk encryption header");

#endif
