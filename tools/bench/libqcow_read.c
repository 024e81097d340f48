/* Read a whole image with libqcow into nothing, measured: a reader to compare ours with.
 *
 *   libqcow-read REQUEST IMAGE [BACKING]...    the backing chain from the top down
 */
#include <stdio.h>
#include <stdlib.h>

#include <libqcow.h>

#include "meter.h"

#define MAX_LAYERS 8

static void die(const char *what)
{
    fprintf(stderr, "libqcow-read: %s\n", what);
    exit(1);
}

static uint64_t read_all(libqcow_file_t *file, size_t request)
{
    size64_t size = 0;
    void *buffer = malloc(request);

    if (!buffer || libqcow_file_get_media_size(file, &size, NULL) != 1)
        die("no size");
    for (uint64_t offset = 0; offset < size; offset += request) {
        size_t length = size - offset < request ? (size_t)(size - offset) : request;
        if (libqcow_file_read_buffer_at_offset(file, buffer, length, (off64_t)offset, NULL) !=
            (ssize_t)length)
            die("read failed");
    }
    free(buffer);
    return size;
}

int main(int argc, char **argv)
{
    libqcow_file_t *files[MAX_LAYERS] = {NULL};
    struct meter meter;
    uint64_t size;

    if (argc < 3 || argc - 2 > MAX_LAYERS)
        die("libqcow-read REQUEST IMAGE [BACKING]...");
    meter_start(&meter);
    for (int i = argc - 3; i >= 0; i--) {
        if (libqcow_file_initialize(&files[i], NULL) != 1 ||
            libqcow_file_open(files[i], argv[i + 2], libqcow_get_access_flags_read(), NULL) != 1)
            die("cannot open");
        if (i < argc - 3 && libqcow_file_set_parent_file(files[i], files[i + 1], NULL) != 1)
            die("cannot chain");
    }
    size = read_all(files[0], strtoul(argv[1], NULL, 0));
    meter_print(&meter, size, 0);
    return 0;
}
