/* metalcow serve: serves an image as a disk to NBD clients. */
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "drivers/memory/overlay.h"
#include "server.h"
#include "tools/metalcow/base/image.h"
#include "tools/metalcow/base/output.h"
#include "tools/metalcow/verbs.h"

#define DEFAULT_ADDRESS "127.0.0.1"
#define DEFAULT_PORT    10809u

/* Memory that an overlay may take if nobody says: it is only used as it fills. */
#define DEFAULT_OVERLAY_SIZE (1ull << 30)

struct overlay {
    struct q2_source_memory source;
    void *memory;
    size_t size;
};

/* The image that is served; the export's callbacks find it by the export. */
struct served {
    struct nbd_disk_export export; /* first: the export's address is this struct's */
    struct image *image;
};

/* The disk is locked meanwhile. So what a pipe that nobody reads has no room for is not said. */
static void print_failure(struct nbd_disk_export *export, enum q2_status status)
{
    struct pollfd messages = {.fd = STDERR_FILENO, .events = POLLOUT};

    (void)status;
    if (poll(&messages, 1, 0) > 0)
        image_print_fault(((struct served *)export)->image);
}

/* The overlay needs the size of the disk, which is in the image. So the image is opened here once,
 * and opened again with the overlay by the caller. Its size is no secret, and a passphrase may come
 * out of a pipe, which can be read once. */
static bool make_overlay(const char *path, const struct image_options *given, uint64_t size,
                         struct overlay *overlay)
{
    struct image_options options = *given;
    struct image *image;
    struct q2_fault fault = {.status = Q2_OK};
    enum q2_status status;
    uint64_t disk_size;
    void *workspace;

    options.passphrase_file = NULL;
    options.key_file = NULL;
    image = image_open(path, &options, true);
    if (!image)
        return false;
    disk_size = q2_disk_size(image->disk);
    image_close(image);
    workspace = aligned_alloc(Q2_WORKSPACE_ALIGN, Q2_WORKSPACE_SIZE);
    overlay->size = (size_t)size;
    overlay->memory = mmap(NULL, overlay->size, PROT_READ | PROT_WRITE,
                           MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    status = overlay->memory == MAP_FAILED || !workspace
                 ? Q2_ERR_LIMIT
                 : q2_overlay_make(&overlay->source, overlay->memory, size, workspace, disk_size,
                                   &fault);
    free(workspace);
    if (status == Q2_OK)
        return true;
    fprintf(stderr, "metalcow: no overlay of %llu bytes: %s\n", (unsigned long long)size,
            q2_status_text(status));
    return false;
}

/* How the image is opened, by --mode and --read-only; false, and said, if they make no sense. */
static bool choose_mode(const struct arguments *arguments, struct image_options *options,
                        bool *ret_overlay)
{
    bool read_only = arguments->read_only || arguments->mode == MC_MODE_READ_ONLY;
    const char *wrong = NULL;

    *ret_overlay = arguments->mode == MC_MODE_OVERLAY;
    if (arguments->read_only && *ret_overlay)
        wrong = "--mode overlay and --read-only exclude each other";
    else if (arguments->read_only && arguments->mode == MC_MODE_READ_WRITE)
        wrong = "--mode rw and --read-only exclude each other";
    else if (arguments->overlay_size > 0 && !*ret_overlay)
        wrong = "--overlay-size is for --mode overlay; add that, or leave it out";
    else if (options->snapshot && !read_only && !*ret_overlay)
        wrong = "a snapshot cannot be written: give --read-only or --mode overlay";
    options->writable = !read_only;
    return !wrong || complain(wrong);
}

static bool choose_place(const struct arguments *arguments, struct serve_place *place)
{
    const char *port = arguments->port;
    char *end = NULL;
    unsigned long number = port ? strtoul(port, &end, 10) : DEFAULT_PORT;

    if (arguments->socket_path && (port || arguments->bind_address)) {
        fputs("metalcow: --socket excludes --port and --bind\n", stderr);
        return false;
    }
    if (arguments->socket_path && arguments->socket_path[0] == '\0')
        return complain("--socket needs a path that is not empty");
    if (port && (port[0] < '0' || port[0] > '9' || *end != '\0' || number > UINT16_MAX)) {
        fputs("metalcow: --port needs a number from 0 (any free port) to 65535\n", stderr);
        return false;
    }
    *place = (struct serve_place){
        .socket_path = arguments->socket_path,
        .address = arguments->bind_address ? arguments->bind_address : DEFAULT_ADDRESS,
        .port = (uint16_t)number,
    };
    return true;
}

static bool serve(struct image *image, const struct serve_place *place, bool writable)
{
    struct served served = {.image = image};
    int signals = serve_block_signals(), listener;
    bool good;

    listener = serve_listen(place);
    if (listener < 0) {
        (void)close(signals);
        return false;
    }
    nbd_disk_export_init(&served.export, image->disk, q2_disk_size(image->disk), !writable);
    served.export.failed = print_failure;
    serve_print_place(listener, place);
    good = serve_clients(listener, signals, &served.export);
    (void)close(listener);
    if (place->socket_path)
        (void)unlink(place->socket_path);
    return (!writable || image_flush(image)) && good;
}

int verb_serve(const struct arguments *arguments)
{
    struct image_options options = arguments->image[0];
    struct overlay overlay = {.memory = NULL};
    struct serve_place place;
    struct image *image;
    bool with_overlay, good;

    if (!choose_mode(arguments, &options, &with_overlay) || !choose_place(arguments, &place))
        return EXIT_ERROR;
    if (with_overlay) {
        options.writable = false;
        if (!make_overlay(arguments->operands[0], &options,
                          arguments->overlay_size ? arguments->overlay_size : DEFAULT_OVERLAY_SIZE,
                          &overlay))
            return EXIT_ERROR;
        options.overlay = &overlay.source.source;
        options.writable = true;
    }
    image = image_open(arguments->operands[0], &options, false);
    if (!image)
        return EXIT_ERROR;
    good = serve(image, &place, options.writable || with_overlay);
    image_close(image);
    return good ? EXIT_SUCCESS : EXIT_ERROR;
}
