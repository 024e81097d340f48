/* The images that the fault tests start from, made by qemu-img. */
#include "geometry.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "q2_limits.h"

/* clang-format off */
const struct geometry geometries[] = {
    {.name = "512", .cluster_bits = 9},
    {.name = "512-refcount-block", .cluster_bits = 9, .fill = 228, .grows_block = true},
    {.name = "512-refcount-table", .cluster_bits = 9, .options = "refcount_bits=64", .fill = 3950,
     .grows_table = true},
    {.name = "512-scattered", .cluster_bits = 9, .options = "refcount_bits=64", .fill = 2952,
     .scattered = true},
    {.name = "512-backing", .cluster_bits = 9, .backing = "qcow2"},
    {.name = "512-snapshot", .cluster_bits = 9, .snapshot = true},
    {.name = "512-compressed", .cluster_bits = 9, .compressed = true},
    {.name = "512-data-file", .cluster_bits = 9, .data = DATA_FILE},
    {.name = "4k", .cluster_bits = 12},
    {.name = "4k-refcount-1", .cluster_bits = 12, .options = "refcount_bits=1"},
    {.name = "4k-refcount-64", .cluster_bits = 12, .options = "refcount_bits=64", .fill = 482,
     .grows_block = true},
    {.name = "4k-lazy", .cluster_bits = 12, .options = "lazy_refcounts=on"},
    {.name = "4k-v2", .cluster_bits = 12, .version_2 = true},
    {.name = "4k-v2-backing", .cluster_bits = 12, .version_2 = true, .backing = "raw"},
    {.name = "4k-backing", .cluster_bits = 12, .backing = "raw"},
    {.name = "4k-snapshot", .cluster_bits = 12, .snapshot = true},
    {.name = "4k-snapshot-compressed", .cluster_bits = 12, .snapshot = true, .compressed = true},
    {.name = "4k-compressed", .cluster_bits = 12, .compressed = true},
    {.name = "4k-bitmap", .cluster_bits = 12, .bitmap = true},
    {.name = "4k-data-file", .cluster_bits = 12, .data = DATA_FILE},
    {.name = "4k-data-file-backing", .cluster_bits = 12, .data = DATA_FILE, .backing = "raw"},
    {.name = "4k-data-file-raw", .cluster_bits = 12, .data = DATA_FILE_RAW, .tail = 1536},
    {.name = "4k-tail", .cluster_bits = 12, .tail = 1536},
    {.name = "16k-extended", .cluster_bits = 14, .extended = true},
    {.name = "16k-extended-backing", .cluster_bits = 14, .extended = true, .backing = "qcow2"},
    {.name = "16k-extended-snapshot", .cluster_bits = 14, .extended = true, .snapshot = true},
    {.name = "16k-extended-data-file", .cluster_bits = 14, .extended = true, .data = DATA_FILE,
     .tail = 512},
    {.name = "16k-extended-data-file-raw", .cluster_bits = 14, .extended = true,
     .data = DATA_FILE_RAW},
    {.name = "64k", .cluster_bits = 16},
    {.name = "64k-slices", .cluster_bits = 16, .one_table = true},
    {.name = "64k-extended-slices", .cluster_bits = 16, .extended = true, .one_table = true},
    {.name = "64k-extended", .cluster_bits = 16, .extended = true, .tail = 5120},
};
/* clang-format on */
const uint32_t nb_geometries = sizeof(geometries) / sizeof(geometries[0]);

bool geometry_has_snapshots(const struct geometry *geometry)
{
    return geometry->data == DATA_INSIDE &&
           !(geometry->options && strcmp(geometry->options, "refcount_bits=1") == 0);
}

/* --- files and commands ---------------------------------------------------------------------- */

static int run(const char *format, va_list arguments)
{
    char command[2048];

    if (vsnprintf(command, sizeof(command), format, arguments) >= (int)sizeof(command))
        return -1;
    return system(command);
}

int subject_try(const char *format, ...)
{
    va_list arguments;
    int status;

    va_start(arguments, format);
    status = run(format, arguments);
    va_end(arguments);
    return status;
}

void subject_run(const char *format, ...)
{
    va_list arguments;
    int status;

    va_start(arguments, format);
    status = run(format, arguments);
    va_end(arguments);
    if (status == 0)
        return;
    printf("# a command failed (%d): %s\n", status, format);
    abort();
}

const char *subject_folder(const char *program)
{
    static char folder[512];

    (void)snprintf(folder, sizeof(folder), "%s.files", program);
    subject_run("rm -rf '%s' && mkdir -p '%s'", folder, folder);
    return folder;
}

static FILE *open_in(const struct subject *subject, const char *name, const char *mode)
{
    char path[640];
    FILE *file;

    (void)snprintf(path, sizeof(path), "%s/%s", subject->folder, name);
    file = fopen(path, mode);
    if (!file) {
        printf("# %s cannot be opened\n", path);
        abort();
    }
    return file;
}

static void read_part(FILE *file, uint64_t offset, uint8_t *bytes, uint64_t length)
{
    if (fseeko(file, (off_t)offset, SEEK_SET) != 0 || fread(bytes, 1, length, file) != length) {
        printf("# a file is shorter than it must be\n");
        abort();
    }
}

/* Load a whole file; there is room for room bytes more, zeroed. */
static uint8_t *load(const struct subject *subject, const char *name, uint64_t room,
                     uint64_t *ret_size)
{
    FILE *file = open_in(subject, name, "rb");
    struct stat info;
    uint8_t *bytes;

    if (fstat(fileno(file), &info) != 0)
        abort();
    *ret_size = (uint64_t)info.st_size;
    bytes = crash_memory(NULL, *ret_size + room);
    memset(bytes + *ret_size, 0, room);
    read_part(file, 0, bytes, *ret_size);
    (void)fclose(file);
    return bytes;
}

/* The old file is overwritten and cut, not made anew: file systems wait for the disk then. */
void subject_store(const struct subject *subject, const char *name, const uint8_t *bytes,
                   uint64_t size)
{
    char path[640];
    int file;

    (void)snprintf(path, sizeof(path), "%s/%s", subject->folder, name);
    file = open(path, O_WRONLY | O_CREAT, 0644);
    if (file < 0 || pwrite(file, bytes, size, 0) != (ssize_t)size ||
        ftruncate(file, (off_t)size) != 0 || close(file) != 0) {
        printf("# %s cannot be written\n", path);
        abort();
    }
}

/* --- making an image --------------------------------------------------------------------------*/

/* One cluster of its own pattern, `first` for cluster 0 and so on. */
static void write_clusters(const struct subject *s, const char *name, const char *format,
                           const char *option, uint64_t offset, uint32_t nb, unsigned first)
{
    char commands[1400] = "";

    for (uint32_t i = 0; i < nb; i++) {
        size_t used = strlen(commands);
        (void)snprintf(commands + used, sizeof(commands) - used,
                       " -c 'write %s -P %u %" PRIu64 " %" PRIu64 "'", option, first + i,
                       offset + i * s->cluster_size, s->cluster_size);
    }
    subject_run("cd '%s' && qemu-io -t unsafe -f %s %s %s >/dev/null", s->folder, format, commands,
                name);
}

static void make_base(const struct subject *s)
{
    const char *format = s->geometry->backing;

    subject_run("cd '%s' && qemu-img create -q -f %s %s %" PRIu64, s->folder, format, s->base_name,
                20 * s->cluster_size + 512);
    write_clusters(s, s->base_name, format, "", 0, 10, 100);
    write_clusters(s, s->base_name, format, "", 10 * s->cluster_size, 10, 110);
}

static void create(const struct subject *s)
{
    const struct geometry *g = s->geometry;
    char data[128] = "", backing[128] = "";

    if (g->data != DATA_INSIDE)
        (void)snprintf(data, sizeof(data), ",data_file=%s,data_file_raw=%s", s->data_name,
                       g->data == DATA_FILE_RAW ? "on" : "off");
    if (g->backing)
        (void)snprintf(backing, sizeof(backing), "-b %s -F %s", s->base_name, g->backing);
    subject_run("cd '%s' && qemu-img create -q -f qcow2 -o compat=%s,cluster_size=%" PRIu64
                "%s%s%s%s %s %s %" PRIu64,
                s->folder, g->version_2 ? "0.10" : "1.1", s->cluster_size,
                g->extended ? ",extended_l2=on" : "", g->options ? "," : "",
                g->options ? g->options : "", data, backing, s->image_name, s->disk_size);
}

/* Bytes of one value after zone B, from fill cluster `first` on. */
static void write_fill(const struct subject *s, uint32_t first, uint32_t nb)
{
    uint64_t start = s->zone_start[1] + s->zone_length[1] + first * s->cluster_size;

    subject_run("cd '%s' && qemu-io -t unsafe -f qcow2 -c 'write -P 9 %" PRIu64 " %" PRIu64
                "' %s >/dev/null",
                s->folder, start, nb * s->cluster_size, s->image_name);
}

/* The layout of zone A and zone B. */
static void write_layout(const struct subject *s)
{
    const struct geometry *g = s->geometry;
    uint64_t size = s->cluster_size;

    /* As far apart as the slices of one set of the cache that hold their refcounts. */
    for (uint32_t i = 0; g->scattered && i < ZONE_A_CLUSTERS; i++) {
        write_clusters(s, s->image_name, "qcow2", "", i * size, 1, 50 + i);
        write_fill(s, i * (g->fill / ZONE_A_CLUSTERS), g->fill / ZONE_A_CLUSTERS);
    }
    write_clusters(s, s->image_name, "qcow2", g->compressed ? "-c" : "", 0, 8, 1);
    write_clusters(s, s->image_name, "qcow2", "", 13 * size, 3, 20);
    write_clusters(s, s->image_name, "qcow2", "", s->border - 2 * size, 2, 30);
    subject_run("cd '%s' && qemu-io -t unsafe -f qcow2 -c 'discard %" PRIu64 " %" PRIu64
                "' %s >/dev/null",
                s->folder, 14 * size, 2 * size, s->image_name);
    if (!g->version_2)
        subject_run("cd '%s' && qemu-io -t unsafe -f qcow2 -c 'write -z %" PRIu64 " %" PRIu64
                    "' %s >/dev/null",
                    s->folder, 12 * size, 2 * size, s->image_name);
    if (!g->scattered && g->fill > 0)
        write_fill(s, 0, g->fill);
}

static void make(const struct subject *s)
{
    const struct geometry *g = s->geometry;

    if (g->backing)
        make_base(s);
    create(s);
    write_layout(s);
    if (g->snapshot) {
        subject_run("cd '%s' && qemu-img snapshot -c before %s", s->folder, s->image_name);
        subject_run("cd '%s' && qemu-io -t unsafe -f qcow2 -c 'write -P 40 %" PRIu64 " %" PRIu64
                    "' %s >/dev/null",
                    s->folder, s->cluster_size, s->cluster_size * 3 / 2, s->image_name);
    }
    if (g->bitmap)
        subject_run("cd '%s' && qemu-img bitmap --add %s dirty", s->folder, s->image_name);
}

/* --- loading ----------------------------------------------------------------------------------*/

uint8_t *subject_read(const struct subject *s, const char *option)
{
    uint8_t *bytes = crash_memory(NULL, s->model_size);
    FILE *file;

    subject_run(
        "cd '%s' && qemu-img convert -t unsafe -f qcow2 %s -O raw %s content.raw 2>/dev/null",
        s->folder, option, s->image_name);
    file = open_in(s, "content.raw", "rb");
    read_part(file, s->zone_start[0], bytes, s->zone_length[0]);
    read_part(file, s->zone_start[1], bytes + s->zone_length[0], s->zone_length[1]);
    (void)fclose(file);
    subject_run("rm '%s/content.raw'", s->folder);
    return bytes;
}

static void lay_out(struct subject *s)
{
    const struct geometry *g = s->geometry;
    uint32_t entry_bits = g->extended ? 4 : 3;

    s->cluster_size = 1ull << g->cluster_bits;
    s->border = 1ull << (2 * g->cluster_bits - entry_bits);
    if (g->one_table)
        s->border = s->cluster_size * (Q2_SLICE_SIZE >> entry_bits);
    s->zone_length[0] = ZONE_A_CLUSTERS * s->cluster_size;
    s->zone_start[1] = s->border - ZONE_B_BEFORE * s->cluster_size;
    s->zone_length[1] = (ZONE_B_BEFORE + ZONE_B_BEHIND) * s->cluster_size + g->tail;
    s->model_size = s->zone_length[0] + s->zone_length[1];
    s->disk_size = s->zone_start[1] + s->zone_length[1] + g->fill * s->cluster_size;
    (void)snprintf(s->image_name, sizeof(s->image_name), "%s.qcow2", g->name);
    (void)snprintf(s->data_name, sizeof(s->data_name), "%s.data", g->name);
    (void)snprintf(s->base_name, sizeof(s->base_name), "%s.base", g->name);
}

void subject_load(struct subject *s, const struct geometry *geometry, const char *folder)
{
    uint64_t room;

    memset(s, 0, sizeof(*s));
    s->geometry = geometry;
    s->folder = folder;
    lay_out(s);
    make(s);
    /* New tables and clusters for everything that a script can touch, several times. */
    room = 200 * s->cluster_size + 65536;
    s->files[0] = load(s, s->image_name, room, &s->sizes[0]);
    s->capacities[0] = s->sizes[0] + room;
    s->nb_files = 1;
    if (geometry->data != DATA_INSIDE) {
        s->files[1] = load(s, s->data_name, s->cluster_size + s->disk_size, &s->sizes[1]);
        s->capacities[1] = s->sizes[1] + s->cluster_size + s->disk_size;
        s->nb_files = 2;
    }
    if (geometry->backing)
        s->base = load(s, s->base_name, 0, &s->base_size);
    s->initial = subject_read(s, "");
    if (geometry->snapshot)
        s->snapshot_initial = subject_read(s, "-l before");
}

void subject_free(struct subject *s)
{
    for (uint32_t i = 0; i < CRASH_MAX_FILES; i++)
        free(s->files[i]);
    free(s->base);
    free(s->initial);
    free(s->snapshot_initial);
    memset(s, 0, sizeof(*s));
}
