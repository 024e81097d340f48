/* metalcow write: writes bytes from standard input or a file onto the disk.
 *
 * Invariant: an input whose length is known and that does not fit changes nothing.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "tools/metalcow/base/image.h"
#include "tools/metalcow/base/output.h"
#include "tools/metalcow/verbs.h"

#define BUFFER_SIZE ((size_t)1 << 20)

struct input {
    const char *path; /* as the user knows it */
    FILE *file;
};

static bool fail(const char *path)
{
    const char *why = strerror(errno);

    fputs("metalcow: ", stderr);
    print_escaped(stderr, path);
    fprintf(stderr, ": %s\n", why);
    return false;
}

static bool open_input(const char *path, struct input *ret_input)
{
    *ret_input = (struct input){.path = "standard input", .file = stdin};
    if (!path)
        return true;
    *ret_input = (struct input){.path = path, .file = fopen(path, "rb")};
    return ret_input->file || fail(path);
}

/* Whether the rest of a regular file fits. The length of a pipe is not known: if too much comes
 * through it, the write past the end of the disk fails. */
static bool input_fits(const struct input *input, const struct image *image, uint64_t offset)
{
    struct stat stat;
    off_t at = ftello(input->file);

    if (fstat(fileno(input->file), &stat) != 0 || !S_ISREG(stat.st_mode) || at < 0 ||
        at > stat.st_size)
        return image_has_range(image, offset, 0);
    return image_has_range(image, offset, (uint64_t)(stat.st_size - at));
}

static bool copy_in(const struct input *input, struct image *image, uint64_t offset,
                    uint8_t *buffer)
{
    size_t n;

    while ((n = fread(buffer, 1, BUFFER_SIZE, input->file)) > 0) {
        if (q2_disk_write(image->disk, offset, buffer, n) != Q2_OK) {
            image_print_fault(image);
            return false;
        }
        offset += n;
    }
    return !ferror(input->file) || fail(input->path);
}

/* What was written before something failed is made durable too. */
static bool write_image(const struct input *input, struct image *image, uint64_t offset)
{
    uint8_t *buffer = malloc(BUFFER_SIZE);
    bool done = false;

    if (!buffer)
        fputs("metalcow: out of memory\n", stderr);
    else if (input_fits(input, image, offset))
        done = copy_in(input, image, offset, buffer);
    free(buffer);
    return image_flush(image) && done;
}

int verb_write(const struct arguments *arguments)
{
    struct image_options options = arguments->image[0];
    struct image *image;
    struct input input;
    uint64_t offset;
    bool done = false;

    options.writable = true;
    if (!arguments_size(arguments->operands[0], &offset) ||
        !open_input(arguments->operands[2], &input))
        return EXIT_ERROR;
    image = image_open(arguments->operands[1], &options, false);
    if (image)
        done = write_image(&input, image, offset);
    image_close(image);
    if (input.file != stdin)
        (void)fclose(input.file);
    return done ? EXIT_SUCCESS : EXIT_ERROR;
}
