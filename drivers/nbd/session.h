/* One client of an NBD server: handshake, then requests until it goes.
 *
 * A session knows no sockets. Bytes are read and written through a struct nbd_stream of the caller,
 * which is a client's socket, or a socket pair with the kernel. Keeps to
 * the protocol whatever the client sends; a client that breaks it is left, and nothing of a request
 * that was not received whole reaches the export but bytes of a write that was cut off.
 */
#ifndef Q2_DRIVERS_NBD_SESSION_H
#define Q2_DRIVERS_NBD_SESSION_H

#include "export.h"
#include "protocol.h"

struct nbd_stream {
    /* Exactly length bytes; false: the client is gone. */
    bool (*receive)(struct nbd_stream *stream, void *buffer, size_t length);
    bool (*send)(struct nbd_stream *stream, const void *buffer, size_t length);
};

/* Longest data of an option: an export name or query of 4096 bytes, as the protocol allows for
 * strings, with what stands around it. */
#define NBD_MAX_OPTION_LENGTH (8u * 1024)

/* Options of one client before it must begin to read; a client needs five. */
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
    bool base_allocation; /* so was the context base:allocation, */
    uint32_t export_flags;
};

#define NBD_MIN_BUFFER_SIZE (64u * 1024) /* what a client may ask for in one piece */
#define NBD_CONTEXT_ID      1u

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

/* The two parts of a session. The first is true if the second shall follow. */
bool nbd_handshake(struct nbd_session *session);
void nbd_transmission(struct nbd_session *session);

#endif
