/* metalcow read: writes bytes of the disk to stdout. The image is only read. */
#include <stdio.h>
#include <stdlib.h>

#include "tools/metalcow/base/image.h"
#include "tools/metalcow/base/output.h"
#include "tools/metalcow/verbs.h"

#define BUFFER_SIZE ((size_t)1 << 20)

static int copy_out(struct image *image, uint64_t offset, uint64_t length)
{
    uint8_t *buffer = malloc(BUFFER_SIZE);
    int ret = EXIT_SUCCESS;

    if (!buffer) {
        fputs("metalcow: out of memory\n", stderr);
        return EXIT_ERROR;
    }
    do { /* once also for a length of 0, because reading checks the offset */
        size_t n = length < BUFFER_SIZE ? (size_t)length : BUFFER_SIZE;

        if (q2_disk_read(image->disk, offset, buffer, n) != Q2_OK) {
            image_print_fault(image);
            ret = EXIT_ERROR;
            break;
        }
        if (fwrite(buffer, 1, n, stdout) != n) {
            ret = EXIT_ERROR; /* main() says so */
            break;
        }
        offset += n;
        length -= n;
    } while (length > 0);
    free(buffer);
    return ret;
}

int verb_read(const struct arguments *arguments)
{
    struct image *image;
    uint64_t offset, length;
    int status;

    if (!arguments_size(arguments->operands[0], &offset) ||
        !arguments_size(arguments->operands[1], &length))
        return EXIT_ERROR;
    image = image_open(arguments->operands[2], &arguments->image[0], false);
    if (!image)
        return EXIT_ERROR;
    status = image_has_range(image, offset, length) ? copy_out(image, offset, length) : EXIT_ERROR;
    image_close(image);
    return status;
}
