/* Make a record and its cpio on a host, from the image of a stick: what firmware does when a loader
 * asks for the initrd. Tests boot guests with it, without our firmware.
 *
 *   make_record STICK START SIZE SCHEME ID IMAGE PROGRAM OUT [KEY=VALUE]...
 *
 *   STICK        the stick's image, not opened for writing
 *   START, SIZE  of the partition with the FAT volume, bytes
 *   SCHEME, ID   "gpt" and the partition's GUID, "mbr" and the disk signature (hex), "none" and -
 *   IMAGE        path of the disk image on the volume
 *   PROGRAM      build/linux/handoff
 *   OUT          the cpio; OUT.record gets the record alone
 *   KEY=VALUE    mode=ro|overlay|rw (ro)  lane=auto|server  format=qcow2|raw  snapshot=NAME
 *                overlay-size=BYTES  room-mark=BYTES  data-file=PATH  backing-raw=1
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/fs/fat_chain.h"
#include "drivers/codec/zlib.h"
#include "drivers/codec/zstd.h"
#include "drivers/extents/source.h"
#include "drivers/extents/handoff_files.h"
#include "q2_handoff_cpio.h"

#define MAX_EXTENTS 65536u
#define WORK_SIZE   (1u << 20)

struct fat_opener {
    struct q2_opener opener;
    const struct q2_fat_volume *volume;
    struct q2_source_extents sources[Q2_HANDOFF_MAX_FILES];
    size_t nb;
};

static uint8_t work[WORK_SIZE] __attribute__((aligned(4096)));
static uint8_t bounce[65536] __attribute__((aligned(4096)));
static struct q2_handoff handoff;
static struct q2_handoff_sample samples[Q2_HANDOFF_ALL_SAMPLES];
static struct q2_codec_zlib zlib;
static struct q2_codec_zstd zstd;
static struct fat_opener opener;
static uint64_t partition_start;
static int stick_fd;

static void die(const char *what, const char *detail)
{
    fprintf(stderr, "make_record: %s: %s\n", what, detail);
    exit(1);
}

static void die_of(const char *what, enum q2_status status, struct q2_fault *fault)
{
    char text[600];

    fault->status = status;
    (void)q2_fault_format(fault, text, sizeof(text));
    die(what, text);
}

/* The partition inside the stick's image. */
static enum q2_status partition_read(struct q2_source *source, uint64_t offset, void *buffer,
                                     size_t length)
{
    (void)source;
    return pread(stick_fd, buffer, length, (off_t)(partition_start + offset)) == (ssize_t)length
               ? Q2_OK
               : Q2_ERR_IO;
}

static enum q2_status fat_open(struct q2_opener *base, const char *path, bool writable,
                               struct q2_source **ret_source)
{
    struct fat_opener *fat = (struct fat_opener *)base;
    struct q2_file_extent *extents = calloc(MAX_EXTENTS, sizeof(*extents));
    struct q2_fault fault = {.status = Q2_OK};
    struct q2_fat_chain chain;
    struct q2_fat_file file;
    enum q2_status status;

    (void)writable; /* nothing is written here */
    status = q2_fat_find(fat->volume, path, work, sizeof(work), &fault, &file);
    if (status == Q2_OK)
        status = q2_fat_map(fat->volume, &file, work, sizeof(work), extents, MAX_EXTENTS, &fault,
                            &chain);
    if (status != Q2_OK)
        die_of(path, status, &fault);
    status = q2_source_extents_init(&fat->sources[fat->nb],
                                    &(struct q2_extents_file){.volume = fat->volume->source,
                                                              .extents = extents,
                                                              .nb_extents = chain.nb_extents,
                                                              .size = file.size,
                                                              .file_id = q2_fat_file_id(&file),
                                                              .path = strdup(path)});
    if (status == Q2_OK)
        *ret_source = &fat->sources[fat->nb++].source;
    return status;
}

static void fat_close(struct q2_opener *base, struct q2_source *source)
{
    (void)base;
    (void)source;
}

/* Set a key of the record; false if there is none of this name, or the value is wrong. */
static bool set_key(const char *name, const char *value)
{
    static const char *const modes[] = {"ro", "overlay", "rw"};

    if (strcmp(name, "mode") == 0) {
        for (size_t i = 0; i < 3; i++) {
            if (strcmp(value, modes[i]) == 0) {
                handoff.mode = (enum q2_handoff_mode)i;
                return true;
            }
        }
        return false;
    }
    if (strcmp(name, "lane") == 0)
        handoff.lane = strcmp(value, "server") == 0 ? Q2_HANDOFF_LANE_SERVER : Q2_HANDOFF_LANE_AUTO;
    else if (strcmp(name, "format") == 0)
        handoff.format = strcmp(value, "raw") == 0 ? Q2_FORMAT_RAW : Q2_FORMAT_QCOW2;
    else if (strcmp(name, "snapshot") == 0)
        handoff.snapshot = value;
    else if (strcmp(name, "data-file") == 0)
        handoff.data_file = value;
    else if (strcmp(name, "backing-raw") == 0)
        handoff.backing_format = Q2_UNSAID_RAW;
    else if (strcmp(name, "overlay-size") == 0)
        handoff.overlay_size = strtoull(value, NULL, 0);
    else if (strcmp(name, "room-mark") == 0)
        handoff.room_mark = strtoull(value, NULL, 0);
    else
        return false;
    return true;
}

/* A GUID as it is stored: the first three fields are little-endian. */
static void parse_guid(const char *text, uint8_t guid[16])
{
    static const uint8_t order[16] = {3, 2, 1, 0, 5, 4, 7, 6, 8, 9, 10, 11, 12, 13, 14, 15};
    size_t n = 0;

    for (; n < 16 && *text != '\0'; text += *text == '-' ? 1 : 2) {
        unsigned int byte;

        if (*text == '-')
            continue;
        if (sscanf(text, "%2x", &byte) != 1)
            break;
        guid[order[n++]] = (uint8_t)byte;
    }
    if (n != 16)
        die("no GUID", text);
}

static void set_disk(const char *scheme, const char *id, const struct q2_fat_volume *volume)
{
    struct q2_handoff_disk *disk = &handoff.disk;

    disk->start = partition_start;
    disk->size = volume->source->size;
    disk->sector_size = 512;
    handoff.guest_sector_size = 512;
    disk->volume_id = volume->volume_id;
    disk->volume_id_offset = volume->type == Q2_FAT_32 ? 67 : 39;
    if (strcmp(scheme, "gpt") == 0) {
        disk->scheme = Q2_HANDOFF_GPT;
        parse_guid(id, disk->partition_guid);
    } else if (strcmp(scheme, "mbr") == 0) {
        disk->scheme = Q2_HANDOFF_MBR;
        disk->mbr_signature = (uint32_t)strtoul(id, NULL, 16);
    }
}

static void open_disk(const char *path)
{
    struct q2_fault fault = {.status = Q2_OK};
    struct q2_source *image;
    struct q2_disk *disk;
    enum q2_status status = fat_open(&opener.opener, path, false, &image);
    const struct q2_disk_options options = {
        .data_file = handoff.data_file,
        .snapshot = handoff.snapshot,
        .format = handoff.format,
        .backing_format = handoff.backing_format,
        .look_beside = true,
        .zlib = q2_codec_zlib_init(&zlib),
        .zstd = q2_codec_zstd_init(&zstd),
    };

    if (status == Q2_OK)
        status = q2_disk_open(aligned_alloc(Q2_WORKSPACE_ALIGN, Q2_WORKSPACE_SIZE), image,
                              &opener.opener, &options, &fault, &disk);
    if (status == Q2_OK)
        status = q2_handoff_files(&handoff, disk, 0, samples, bounce, &fault);
    if (status != Q2_OK)
        die_of(path, status, &fault);
}

static uint8_t *read_file(const char *path, size_t *ret_length)
{
    struct stat found;
    int fd = open(path, O_RDONLY);
    uint8_t *bytes;

    if (fd < 0 || fstat(fd, &found) != 0)
        die("cannot read", path);
    bytes = malloc((size_t)found.st_size);
    if (!bytes || read(fd, bytes, (size_t)found.st_size) != found.st_size)
        die("cannot read", path);
    (void)close(fd);
    *ret_length = (size_t)found.st_size;
    return bytes;
}

static void write_file(const char *path, const void *bytes, size_t length)
{
    FILE *out = fopen(path, "wb");

    if (!out || fwrite(bytes, 1, length, out) != length || fclose(out) != 0)
        die("cannot write", path);
}

static void write_all(const char *program, const char *out)
{
    struct q2_handoff_cpio parts;
    uint8_t *record = malloc(Q2_HANDOFF_MAX_SIZE), *cpio;
    const char *what = NULL;
    char record_path[4096];
    size_t size;

    if (q2_handoff_encode(&handoff, record, Q2_HANDOFF_MAX_SIZE, &parts.record_length, &what) !=
        Q2_OK)
        die("the record", what);
    parts.record = record;
    parts.program = read_file(program, &parts.program_length);
    size = q2_handoff_cpio_size(parts.program_length, parts.record_length);
    cpio = malloc(size);
    if (q2_handoff_cpio_make(&parts, cpio, size) != Q2_OK)
        die("the cpio", "does not fit");
    write_file(out, cpio, size);
    (void)snprintf(record_path, sizeof(record_path), "%s.record", out);
    write_file(record_path, record, parts.record_length);
}

int main(int argc, char **argv)
{
    static const struct q2_source_ops partition_ops = {.read_at = partition_read};
    static const struct q2_opener_ops fat_ops = {.open = fat_open, .close = fat_close};
    struct q2_source partition = {.ops = &partition_ops, .path = "stick", .io_align = 1};
    struct q2_fault fault = {.status = Q2_OK};
    struct q2_fat_volume volume;
    enum q2_status status;

    if (argc < 9)
        die("usage", "STICK START SIZE SCHEME ID IMAGE PROGRAM OUT [KEY=VALUE]...");
    for (int i = 9; i < argc; i++) {
        char *equal = strchr(argv[i], '=');

        if (equal)
            *equal = '\0';
        if (!equal || !set_key(argv[i], equal + 1))
            die("unknown key or value", argv[i]);
    }
    stick_fd = open(argv[1], O_RDONLY);
    if (stick_fd < 0)
        die("cannot open", argv[1]);
    partition_start = strtoull(argv[2], NULL, 0);
    partition.size = strtoull(argv[3], NULL, 0);
    status = q2_fat_volume_open(&partition, &fault, &volume);
    if (status != Q2_OK)
        die_of("the volume", status, &fault);
    opener.opener.ops = &fat_ops;
    opener.volume = &volume;
    set_disk(argv[4], argv[5], &volume);
    open_disk(argv[6]);
    write_all(argv[7], argv[8]);
    return 0;
}
