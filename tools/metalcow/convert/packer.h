/* The packer: threads that encode clusters, stored in guest order by the thread that submits them.
 *
 * What is stored, and in which order, does not depend on the number of threads or on how they are
 * scheduled.
 */
#ifndef METALCOW_PACKER_H
#define METALCOW_PACKER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct packer;

/* One cluster, or the shorter last one of the disk, on its way into the image. */
struct packed {
    uint64_t at; /* guest offset, bytes */
    const uint8_t *bytes;
    size_t length;         /* of bytes */
    bool zero;             /* all bytes are zero, and zeros are looked for; not encoded */
    const uint8_t *stream; /* NULL: does not get shorter by encoding */
    size_t stream_length;
};

/* Stores a cluster; false ends the work. Called from packer_buffer() and packer_drain() only. */
typedef bool packer_store(void *context, const struct packed *packed);

struct packer_options {
    unsigned nb_threads;             /* >= 1 */
    size_t cluster_size, chunk_size; /* bytes; the second a multiple of the first */
    uint32_t compression_type;       /* Q2_COMPRESSION_* */
    bool find_zeros;                 /* else they are encoded like anything else */
    packer_store *store;
    void *context;
};

/* Start the threads; NULL: no memory, or no threads. */
struct packer *packer_new(const struct packer_options *options);

/* chunk_size bytes to fill for the next packer_submit(); NULL: storing what came before failed. */
uint8_t *packer_buffer(struct packer *packer);

/* Encode and store length bytes of what packer_buffer() gave; at is a multiple of the cluster size.
 * Stored later, in the order of submission. */
void packer_submit(struct packer *packer, uint64_t at, size_t length);

/* Store everything submitted so far; false: storing failed. */
bool packer_drain(struct packer *packer);

/* Stop the threads and free everything, stored or not; packer may be NULL. */
void packer_free(struct packer *packer);

#endif
