/* fat_reader: what core/fs says about files on FAT volumes, for scripts.
 *
 * Reads lines "IMAGE<tab>OFFSET<tab>SIZE<tab>PATH" from its input: a disk image, the volume's place
 * in it in bytes, and a file. For each it prints one line of words:
 *
 *   ok odd=0x100 size=84213760 mapped=84213760 extents=0:1048576:4096,4096:9000960:512
 *   fail status=7 what
 *
 * With the argument "repair" it first makes the second FAT equal for the file's clusters.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/fs/fat_judge.h"
#include "drivers/posix/source.h"

#define MAX_EXTENTS (1u << 20)

static uint8_t work[512 * 1024] __attribute__((aligned(4096)));
static struct q2_file_extent extents[MAX_EXTENTS];

/* A part of a file as a source of its own. */
struct part {
    struct q2_source source;
    struct q2_source *whole;
    uint64_t offset;
};

static enum q2_status part_read(struct q2_source *source, uint64_t offset, void *buffer,
                                size_t length)
{
    struct part *part = (struct part *)source;

    if (offset > source->size || length > source->size - offset)
        return Q2_ERR_IO;
    return part->whole->ops->read_at(part->whole, part->offset + offset, buffer, length);
}

static enum q2_status part_write(struct q2_source *source, uint64_t offset, const void *buffer,
                                 size_t length)
{
    struct part *part = (struct part *)source;

    if (offset > source->size || length > source->size - offset)
        return Q2_ERR_IO;
    return part->whole->ops->write_at(part->whole, part->offset + offset, buffer, length);
}

static const struct q2_source_ops part_ops = {.read_at = part_read, .write_at = part_write};

static void print_found(const struct q2_fat_file *file, const struct q2_fat_chain *chain,
                        uint32_t odd)
{
    printf("ok odd=0x%" PRIx32 " size=%" PRIu32 " mapped=%" PRIu64 " extents=", odd, file->size,
           chain->size);
    for (size_t i = 0; i < chain->nb_extents; i++)
        printf("%s%" PRIu64 ":%" PRIu64 ":%" PRIu64, i > 0 ? "," : "", extents[i].file_offset,
               extents[i].volume_offset, extents[i].length);
    printf("\n");
}

static enum q2_status look(struct q2_source *source, const char *path, bool repair,
                           struct q2_fault *fault)
{
    struct q2_fat_volume volume;
    struct q2_fat_file file;
    struct q2_fat_chain chain;
    uint32_t odd = 0;
    enum q2_status status = q2_fat_volume_open(source, fault, &volume);

    if (status == Q2_OK)
        status = q2_fat_find(&volume, path, work, sizeof(work), fault, &file);
    if (status == Q2_OK)
        status =
            q2_fat_map(&volume, &file, work, sizeof(work), extents, MAX_EXTENTS, fault, &chain);
    if (status == Q2_OK && repair && volume.has_mirror)
        status = q2_fat_copy_repair(&volume, extents, &chain, work, sizeof(work), fault);
    if (status == Q2_OK)
        status = q2_fat_judge(&volume, &file, extents, &chain, work, sizeof(work), fault, &odd);
    if (status == Q2_OK)
        print_found(&file, &chain, odd);
    return status;
}

static void look_at_line(char *line, bool repair)
{
    char *image = strtok(line, "\t\n"), *offset = strtok(NULL, "\t\n");
    char *size = strtok(NULL, "\t\n"), *path = strtok(NULL, "\t\n");
    struct q2_fault fault = {.what = NULL};
    struct q2_source_posix whole;
    struct part part;
    enum q2_status status;

    if (!path) {
        printf("fail status=0 the line has no four words\n");
        return;
    }
    status = q2_source_posix_open(&whole, image, repair ? Q2_POSIX_WRITABLE : 0);
    if (status != Q2_OK) {
        printf("fail status=%d cannot open %s\n", (int)status, image);
        return;
    }
    part = (struct part){.source = {.ops = &part_ops,
                                    .path = image,
                                    .size = strtoull(size, NULL, 10),
                                    .io_align = 1,
                                    .writable = repair},
                         .whole = &whole.source,
                         .offset = strtoull(offset, NULL, 10)};
    status = look(&part.source, path, repair, &fault);
    if (status != Q2_OK)
        printf("fail status=%d %s\n", (int)status, fault.what ? fault.what : "");
    q2_source_posix_close(&whole);
}

int main(int nb_arguments, char **arguments)
{
    bool repair = nb_arguments > 1 && strcmp(arguments[1], "repair") == 0;
    static char line[4096];

    while (fgets(line, sizeof(line), stdin)) {
        look_at_line(line, repair);
        (void)fflush(stdout);
    }
    return 0;
}
