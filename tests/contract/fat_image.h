/* FAT images made with mkfs.fat and mtools in a folder of their own.
 *
 * A tool that fails or is missing ends the program with a failed case: nothing is skipped.
 */
#ifndef METALCOW_TESTS_FAT_IMAGE_H
#define METALCOW_TESTS_FAT_IMAGE_H

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static char fat_image_folder[256];

static inline void fat_image_die(const char *why)
{
    printf("not ok - fat_image: %s\n0 passed, 1 failed\n", why);
    exit(1);
}

static inline void fat_image_clean(void)
{
    char command[300];

    (void)snprintf(command, sizeof(command), "rm -rf '%s'", fat_image_folder);
    if (fat_image_folder[0] != '\0' && system(command) != 0)
        (void)fprintf(stderr, "cannot remove %s\n", fat_image_folder);
}

/* Make the folder; it goes when the program ends. */
static inline void fat_image_start(void)
{
    const char *tmp = getenv("TMPDIR");

    (void)snprintf(fat_image_folder, sizeof(fat_image_folder), "%s/metalcow-XXXXXX",
                   tmp ? tmp : "/tmp");
    if (!mkdtemp(fat_image_folder))
        fat_image_die("mkdtemp");
    (void)atexit(fat_image_clean);
    (void)setenv("LC_ALL", "C.UTF-8", 1);
    (void)setenv("MTOOLS_SKIP_CHECK", "1", 1);
    (void)setenv("PATH", "/usr/sbin:/sbin:/usr/bin:/bin", 1);
    (void)setenv("SOURCE_DATE_EPOCH", "1700000000", 1);
}

/* A path in the folder; valid until four calls later. */
static inline const char *fat_image_path(const char *name)
{
    static char paths[4][512];
    static unsigned next;
    char *path = paths[next++ % 4];

    (void)snprintf(path, sizeof(paths[0]), "%s/%s", fat_image_folder, name);
    return path;
}

/* Run a shell command in the folder. */
__attribute__((format(printf, 1, 2))) static inline void fat_image_run(const char *format, ...)
{
    char command[4096];
    int length = snprintf(command, sizeof(command), "cd '%s' && { ", fat_image_folder);
    va_list arguments;

    va_start(arguments, format);
    (void)vsnprintf(command + length, sizeof(command) - 64 - (size_t)length, format, arguments);
    va_end(arguments);
    (void)strcat(command, "\n} >log 2>&1");
    if (system(command) != 0) {
        (void)printf("# failed: %s\n", command);
        (void)fflush(stdout);
        (void)snprintf(command, sizeof(command), "sed 's/^/# /' '%s/log'", fat_image_folder);
        (void)!system(command);
        fat_image_die("a tool failed (mkfs.fat, mtools; see above)");
    }
}

/* An empty volume of a number of KiB, sparse. */
static inline void fat_image_mkfs(const char *image, unsigned kib, const char *options)
{
    fat_image_run("rm -f %s && truncate -s %uK %s && mkfs.fat --invariant %s %s", image, kib, image,
                  options, image);
}

/* FAT32 remembers the last cluster it gave out (FSI_Nxt_Free), and mtools goes on from there: make
 * it forget, so that it looks for free clusters from the start. */
static inline void fat_image_forget_last(const char *image)
{
    FILE *file = fopen(fat_image_path(image), "r+b");
    unsigned char boot[512];
    long sector;

    if (!file || fread(boot, 1, sizeof(boot), file) != sizeof(boot))
        fat_image_die("cannot read the boot sector");
    sector = boot[11] | boot[12] << 8;
    if (boot[22] == 0 && boot[23] == 0 && /* FAT32: FSInfo is in sector 1 */
        (fseek(file, sector + 492, SEEK_SET) != 0 || fwrite("\xff\xff\xff\xff", 1, 4, file) != 4))
        fat_image_die("cannot write FSInfo");
    if (fclose(file) != 0)
        fat_image_die("cannot write FSInfo");
}

/* Leave holes of a few KiB all over the start of a volume, so that the next file is in pieces:
 * fill it with small files and delete every other one. */
static inline void fat_image_fragment(const char *image, unsigned nb_files, unsigned file_size)
{
    fat_image_run("mkdir -p small && cd small && for i in $(seq 1000 %u); do"
                  " head -c %u /dev/zero >f$i; done",
                  1000 + nb_files - 1, file_size);
    fat_image_run("mmd -i %s ::/small && mcopy -i %s small/f* ::/small/ && rm -r small", image,
                  image);
    fat_image_run("mdel -i %s $(seq 1000 2 %u | sed 's|^|::/small/f|')", image,
                  1000 + nb_files - 1);
    fat_image_forget_last(image);
}

/* Write a file on the host. */
static inline void fat_image_write(const char *name, const void *bytes, size_t length)
{
    FILE *file = fopen(fat_image_path(name), "wb");

    if (!file || fwrite(bytes, 1, length, file) != length || fclose(file) != 0)
        fat_image_die("cannot write a file");
}

/* Read a file on the host; the caller frees it. */
static inline void *fat_image_read(const char *name, size_t *ret_length)
{
    FILE *file = fopen(fat_image_path(name), "rb");
    struct stat stat;
    void *bytes;

    if (!file || fstat(fileno(file), &stat) != 0)
        fat_image_die("cannot open a file");
    *ret_length = (size_t)stat.st_size;
    bytes = malloc(*ret_length + 1);
    if (!bytes || fread(bytes, 1, *ret_length, file) != *ret_length)
        fat_image_die("cannot read a file");
    (void)fclose(file);
    return bytes;
}

#endif
