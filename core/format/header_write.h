/* Encoding the header, and building the header cluster: header, extensions, backing file name.
 * (qcow2: "Header", "Header extensions")
 *
 * Pure functions on bytes.
 */
#ifndef Q2_CORE_HEADER_WRITE_H
#define Q2_CORE_HEADER_WRITE_H

#include "header.h"

/* Encode a header: the one place where its fields become bytes. Version 2 images have the first
 * Q2_HEADER_V2_LENGTH bytes only. */
void q2_header_encode(const struct q2_header *header, struct q2_header_disk *ret_disk);

/* Where fields first to last, which are neighbours, are stored in the header: offset, length. */
#define Q2_HEADER_FIELDS(first, last)                                                              \
    offsetof(struct q2_header_disk, first), offsetof(struct q2_header_disk, last) +                \
                                                sizeof(((struct q2_header_disk *)0)->last) -       \
                                                offsetof(struct q2_header_disk, first)

/* The bytes of a header cluster under construction. */
struct q2_header_bytes {
    uint8_t *bytes; /* size bytes */
    size_t size;    /* of the cluster, or of the buffer if that is smaller */
    size_t length;  /* used so far */
    bool full;      /* something did not fit */
};

/* Encode the header itself: 72 bytes, or header->header_length ones. */
void q2_header_bytes_start(struct q2_header_bytes *to, const struct q2_header *header);

/* Add an extension, padded to 8 bytes. */
void q2_header_bytes_extension(struct q2_header_bytes *to, uint32_t type, const void *data,
                               size_t length);

/* Add a string extension, if the string is not NULL and not empty. */
void q2_header_bytes_string(struct q2_header_bytes *to, uint32_t type, const char *string);

/* Add the names of all feature bits, if they fit; they are a courtesy to other readers. */
void q2_header_bytes_features(struct q2_header_bytes *to, size_t reserve);

/* End the extensions and add the backing file's name; "" or NULL: none. */
void q2_header_bytes_end(struct q2_header_bytes *to, const char *backing_file);

#endif
