/* Finding a file of a FAT volume by its path.
 *
 * May call fat_table.c. Reads the volume through its source, never the firmware's file system;
 * allocates nothing.
 *
 * How names compare: as the firmware's FAT driver compares them, so that one name cannot mean two
 * files. Blanks before a component and blanks and dots after it are dropped. A component matches a
 * long name (UTF-16, in entries whose order and checksum are right) or a short one. Case does not
 * matter for ASCII, Latin-1, Greek and Cyrillic letters (one-to-one pairs in a table); any other
 * letter must have the case of the directory. The upper half of a short name is taken for Latin-1:
 * the code page that it was written in is not known. Long entries that are out of order, or whose
 * checksum is not that of the short entry after them, are orphans: the file then has its short name
 * only, as everywhere else.
 */
#ifndef Q2_CORE_FAT_PATH_H
#define Q2_CORE_FAT_PATH_H

#include "fat_volume.h"

/* Attribute bits of a directory entry. */
#define Q2_FAT_READ_ONLY 0x01u
#define Q2_FAT_HIDDEN    0x02u
#define Q2_FAT_SYSTEM    0x04u
#define Q2_FAT_LABEL     0x08u
#define Q2_FAT_DIRECTORY 0x10u
#define Q2_FAT_ARCHIVE   0x20u

struct q2_fat_file {
    uint64_t entry_offset;  /* of the short directory entry, bytes into the volume */
    uint32_t first_cluster; /* untrusted until q2_fat_map(); 0 if the file has no cluster */
    uint32_t size;          /* bytes */
    uint8_t attributes;
    uint8_t short_name[11]; /* as stored: eight bytes and three, padded with blanks */
};

/* Find a file.
 *
 * path      UTF-8, '/' between components, from the volume's root; a leading '/' may be missing.
 *           "." and ".." are understood; above the root there is nothing
 * buffer    working memory, size >= Q2_FAT_MIN_BUFFER; best aligned to 4096
 * fault     filled on any error; file is the path, or the volume's where its structure is at fault
 *
 * Q2_ERR_NOT_FOUND   no such file, or a component before the last is no directory
 * Q2_ERR_NOT_A_FILE  it is a directory
 * Q2_ERR_BAD_NAME    a component is no UTF-8, longer than 255 units, or of blanks and dots only
 * Q2_ERR_ARGUMENT    the buffer is too small
 * Q2_ERR_BAD_VOLUME  a directory on the way is broken: its chain (q2_fat_table_next()), more than
 *                    65536 entries (so a chain that bites its tail ends here), or an entry whose
 *                    first cluster is not on the volume
 * Q2_ERR_IO, Q2_ERR_NO_MEDIA, Q2_ERR_MEDIA_CHANGED   the volume's source failed
 */
enum q2_status q2_fat_find(const struct q2_fat_volume *volume, const char *path, void *buffer,
                           size_t size, struct q2_fault *fault, struct q2_fat_file *ret_file);

/* The same file by short names only: what a driver can open whose paths may not be longer than 260
 * units. The upper half of a short name is written as Latin-1.
 *
 * ret_alias   NUL-terminated UTF-8, '/' before each component; alias_size bytes of room
 *
 * Q2_ERR_LIMIT  no room; others as above, except that a directory is found too
 */
enum q2_status q2_fat_alias(const struct q2_fat_volume *volume, const char *path, void *buffer,
                            size_t size, struct q2_fault *fault, char *ret_alias,
                            size_t alias_size);

/* A number that two files of a volume share only if they are the same file: for the second half of
 * a source's identity. */
uint64_t q2_fat_file_id(const struct q2_fat_file *file);

#endif
