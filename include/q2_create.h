/* Making images.
 *
 * Implemented by core/write/create.c. Like everything in the engine it works in the caller's
 * workspace and allocates nothing.
 */
#ifndef Q2_CREATE_H
#define Q2_CREATE_H

#include "q2_disk.h"

/* What a new image shall be. Zero means the default. (qemu-img's creation options of the same
 * names) */
struct q2_create_options {
    uint64_t virtual_size;      /* bytes, <= 2^62; QEMU rounds up to 512, so does q2_create() */
    uint32_t version;           /* 2 (compat 0.10) or 3 (1.1); 0: 3 */
    uint32_t cluster_bits;      /* 9..21; 0: 16 */
    uint32_t refcount_bits;     /* 1, 2, 4, .. 64; 0: 16. Version 2: 16 only */
    uint32_t compression_type;  /* Q2_COMPRESSION_* */
    bool extended_l2;           /* version 3, cluster_bits >= 14 */
    bool lazy_refcounts;        /* version 3 */
    bool external_data;         /* version 3: guest data is stored in an external data file */
    bool raw_external_data;     /* with external_data */
    const char *data_file;      /* name for the header; NULL: none is written */
    const char *backing_file;   /* name for the header; NULL: none. Not with raw_external_data */
    const char *backing_format; /* NULL: none is written */
    /* The encryption header of an image that is encrypted with LUKS, which is stored as it is. Not
     * with raw_external_data. */
    const void *encryption;
    uint32_t encryption_length; /* bytes; 0: the image is not encrypted */
};

/* Write a new, empty image into a source. Preallocation is a call of its own on the opened image
 * (q2_disk_preallocate()); QEMU asks for it where external data is raw.
 *
 * workspace  Q2_WORKSPACE_SIZE bytes at Q2_WORKSPACE_ALIGN; content undefined before and after
 * image      writable; a file of size 0 that can grow, or a device, which cannot: what it held is
 *            lost as far as the new metadata goes. Flushed before Q2_OK is returned. After an
 *            error, and after a power cut, it holds nothing that opens, or the whole image: the
 *            header's first sector is written last (qcow2: "Header", "Full disk encryption header
 *            pointer"). A device that fails in its first write still holds what it held
 * fault      filled on any error
 *
 * Q2_ERR_ARGUMENT   options contradict each other or are out of range; fault names the one
 * Q2_ERR_LIMIT      the virtual size needs a larger L1 table or refcount table than the
 *                   limits allow, or the device is smaller than the metadata
 * Q2_ERR_NO_SPACE   the file cannot grow so far
 * Q2_ERR_IO, Q2_ERR_NO_MEDIA, Q2_ERR_MEDIA_CHANGED   the file cannot be written
 */
enum q2_status q2_create(void *workspace, struct q2_source *image,
                         const struct q2_create_options *options, struct q2_fault *fault);

#endif
