/* One client of an NBD server: handshake, then requests until it goes.
 *
 * A session knows no sockets. Bytes are read and written through a struct nbd_stream of the caller,
 * which is a client's socket, or a socket pair with the kernel. The session keeps to the protocol
 * whatever the client sends, and ends if the client breaks it. A request reaches the export only
 * after it was received whole; a long write reaches it piece by piece.
 */
#ifndef Q2_DRIVERS_NBD_SESSION_H
#define Q2_DRIVERS_NBD_SESSION_H

#include "export.h"
#include "protocol.h"

struct nbd_stream {
    /* Exactly length bytes; false: the client is gone. */
    bool (*receive)(struct nbd_stream *stream, void *buffer, size_t length);

    /* All bytes of a head and of the payload that follows it, which may have none; false: the
     * client is gone. */
    bool (*send)(struct nbd_stream *stream, const void *head, size_t head_length,
                 const void *payload, size_t payload_length);

    /* Called before each request is received, when the one before was answered. NULL: nothing is to
     * be done then. */
    void (*await)(struct nbd_stream *stream);
};

/* Longest data of an option: an export name or query of 4096 bytes, the protocol's limit for
 * strings, and the fields around it. */
#define NBD_MAX_OPTION_LENGTH (8u * 1024)

/* Options of one client before the transmission phase must begin; a client needs five. */
#define NBD_MAX_OPTIONS 256u

/* Descriptors of one answer about block status. */
#define NBD_MAX_EXTENTS 512u

struct nbd_session {
    struct nbd_stream *stream;
    struct nbd_export *export;
    uint8_t *buffer;    /* of the caller; must hold NBD_MAX_OPTION_LENGTH, and the descriptors */
    size_t buffer_size; /* larger requests are served in pieces of this size */
    bool no_zeroes;
    bool structured;      /* structured replies were agreed on */
    bool base_allocation; /* the metadata context base:allocation was agreed on */
};

#define NBD_MIN_BUFFER_SIZE (64u * 1024) /* a read of this length can have NBD_CMD_FLAG_DF */
#define NBD_CONTEXT_ID      1u           /* of base:allocation */

/* Serve a client that connected just now: handshake and requests.
 *
 * buffer  aligned as the export's sources like it; buffer_size >= NBD_MIN_BUFFER_SIZE
 */
void nbd_serve_client(struct nbd_stream *stream, struct nbd_export *export, void *buffer,
                      size_t buffer_size);

/* Serve a client that knows size and flags already: the kernel, which got them by netlink. */
void nbd_serve_requests(struct nbd_stream *stream, struct nbd_export *export, void *buffer,
                        size_t buffer_size);

/* Transmission flags of an export. */
uint32_t nbd_export_flags(const struct nbd_export *export);

/* The two parts of a session. nbd_transmission() follows if nbd_handshake() returns true. */
bool nbd_handshake(struct nbd_session *session);
void nbd_transmission(struct nbd_session *session);

#endif
