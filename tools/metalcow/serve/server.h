/* The server of `metalcow serve`: a socket that listens, and a thread for each client. */
#ifndef METALCOW_SERVE_SERVER_H
#define METALCOW_SERVE_SERVER_H

#include <stdbool.h>
#include <stdint.h>

#include "drivers/nbd/disk_export.h"

/* Clients at a time: nbdcopy opens 4, fio as many as it has jobs. More wait until one goes. */
#define SERVE_MAX_CLIENTS 16

/* Where to listen. */
struct serve_place {
    const char *socket_path; /* a Unix socket; NULL: TCP */
    const char *address;     /* numeric, of this machine */
    uint16_t port;           /* 0: any free one */
};

/* Listen; said on stderr if that fails.
 *
 * A Unix socket that nobody listens to any more is replaced.
 *
 * returns  the descriptor, or -1
 */
int serve_listen(const struct serve_place *place);

/* Say on stdout where a listening socket can be reached, as an NBD URI. */
void serve_print_place(int listener, const struct serve_place *place);

/* From now on SIGINT, SIGTERM and SIGHUP come out of the descriptor that is returned, and end
 * nothing: done before a socket's file exists that somebody must remove. -1: out of descriptors. */
int serve_block_signals(void);

/* Serve clients until SIGINT, SIGTERM or SIGHUP; every client is gone then. False, and said on
 * stderr, if something failed that no client is to blame for.
 *
 * signals  of serve_block_signals(); closed at the end
 */
bool serve_clients(int listener, int signals, struct nbd_disk_export *export);

#endif
