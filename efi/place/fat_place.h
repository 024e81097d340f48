/* The FAT place: what its files share with each other.
 *
 * A file of a FAT volume is read and written below the firmware's file system, through its extent
 * map, because the firmware's FAT driver must not be called from inside a request: it has one lock
 * for all volumes. A file without a trustworthy map is read into memory if it is small, else
 * refused with the reason.
 *
 * Only efi/place/fat_*.c may include this. May call the file system, outside of requests only.
 */
#ifndef METALCOW_EFI_FAT_PLACE_H
#define METALCOW_EFI_FAT_PLACE_H

#include "drivers/efi/disk_io.h"
#include "drivers/efi/file.h"
#include "drivers/extents/source.h"
#include "drivers/memory/source.h"
#include "fat_extents.h"
#include "file_system.h"
#include "place.h"

/* A FAT file without an extent map is held in memory up to this size. Larger ones are refused:
 * firmware has the memory, but reading them takes longer than a person waits without a word. */
#define MC_MAX_FILE_IN_MEMORY (64u * 1024 * 1024)

/* A directory entry, and its bytes 18 and 19: the date of the last access, which reading the file
 * may change.  (FAT specification: "Directory Structure") */
#define MC_FAT_ENTRY_SIZE  32u
#define MC_FAT_ACCESS_DATE 18u

/* One FAT volume. Does not move while it is open: its files point into it. */
struct mc_fat_place {
    struct q2_place place; /* first */
    EFI_HANDLE handle;
    EFI_SIMPLE_FILE_SYSTEM_PROTOCOL *FileSystem;
    struct q2_source_efi_disk_io device;
    struct q2_fat_volume fat;    /* if doubt.status is Q2_OK */
    struct q2_fault doubt;       /* why no extent map of this volume is trusted */
    struct mc_fat_file *written; /* the files that are open for writing */
};

/* One open file. */
struct mc_fat_file {
    struct q2_place_file file; /* first */
    union {
        struct q2_source source;
        struct q2_source_extents extents;
        struct q2_source_memory memory;
    } as;
    struct q2_file_extent *map; /* pool memory; NULL: the file is held in memory */
    size_t nb_extents;
    void *memory;            /* pages, if there is no map */
    struct q2_fault doubt;   /* why there is no map */
    char *path;              /* pool memory */
    EFI_FILE_PROTOCOL *File; /* while it is opened, and as long as a writable file is open */
    uint32_t odd;            /* Q2_FAT_ODD_ bits, if there is a map */
    bool keeps_tail;         /* its chain goes on into clusters that may belong to another file */
    uint32_t repaired;       /* Q2_FAT_ODD_ bits of what was put right when it was opened */

    /* Of a writable file. */
    struct mc_fat_file *next_written;
    uint64_t file_size;                /* as the file system should have it */
    uint64_t entry_offset;             /* of its directory entry, bytes into the volume, */
    uint8_t entry[MC_FAT_ENTRY_SIZE];  /* and the entry's bytes when the file was mapped */
    bool is_lost;                      /* it is another file now; nothing is written any more */
    bool is_checked;                   /* the entry was compared since the last settle() */
    const struct q2_source_ops *below; /* what writes through the map; */
    struct q2_source_ops guarded;      /* the same but for write_at(), which checks first */
};

static inline struct mc_fat_place *mc_fat_place_of(struct q2_place_file *file)
{
    return (struct mc_fat_place *)file->place;
}

/* struct q2_place_ops, by file: fat_file.c */
enum q2_status mc_fat_open_file(struct q2_place *place, const char *path, bool writable,
                                struct q2_fault *fault, struct q2_place_file **ret_file);
void mc_fat_close_file(struct q2_place_file *file);

/* fat_check.c */
enum q2_status mc_fat_check(struct q2_place_file *file, struct q2_fault *fault);
void mc_fat_settle(struct q2_place *place);

/* Keep the directory entry of a file that was mapped just now, and check it before the first write
 * of each burst from now on.
 *
 * Q2_ERR_IO, Q2_ERR_NO_MEDIA, Q2_ERR_MEDIA_CHANGED   the entry cannot be read */
enum q2_status mc_fat_guard(struct mc_fat_file *file, const struct q2_fat_file *found);

/* fat_repair.c: put right what keeps a mapped file from being written, or refuse. On an error the
 * map is given back.
 *
 * map  of file, which is open for writing through the file system; mapped anew if it has changed
 *
 * Q2_ERR_BAD_VOLUME  it cannot be put right here; the fault says what is wrong
 * and what mc_fat_map_make() gives */
enum q2_status mc_fat_make_writable(struct mc_fat_place *place, struct mc_fat_file *file,
                                    struct q2_fault *fault, struct mc_fat_map *map);

/* The text of the first of these oddities that allows no more than `limit`; NULL: none does. */
const char *mc_fat_oddity_text(uint32_t odd, enum q2_fat_write limit);

/* fat_room.c */
EFI_STATUS mc_fat_set_size(struct mc_fat_file *file, uint64_t size);
enum q2_status mc_fat_make_room(struct q2_place_file *file, uint64_t size, struct q2_fault *fault);
uint64_t mc_fat_free_space(struct q2_place_file *file);
enum q2_status mc_fat_give_back(struct q2_place_file *file, uint64_t size, struct q2_fault *fault);

/* fat_cache.c */
enum q2_status mc_fat_forget(struct q2_place *place, bool all, struct q2_fault *fault);
void mc_fat_watch(struct q2_place_file *file, bool *attention);

/* A file as the volume has it now, read through the file system.  (fat_fresh.c) */
#define MC_FAT_FRESH_SIZE (1u << 16)
struct mc_fat_fresh {
    struct q2_source source; /* first */
    struct q2_source *by_file;
    struct q2_source_extents *map;
    uint8_t *page; /* MC_FAT_FRESH_SIZE bytes */
};

/* by_file  reads the file through the file system; map: where it is stored. All stay the caller's,
 * and page has MC_FAT_FRESH_SIZE bytes */
void mc_fat_fresh_init(struct mc_fat_fresh *fresh, struct q2_source *by_file,
                       struct q2_source_extents *map, void *page);

/* Map a file that is open through the file system (file->File), and verify the map against what the
 * file system reads.  (fat_file.c)
 *
 * writable  verify it to the file's end; else only where the file system gets to soon
 * ret_map   set on Q2_OK; the extents are the caller's
 *
 * Q2_ERR_NOT_FOUND, Q2_ERR_BAD_VOLUME, Q2_ERR_LIMIT, Q2_ERR_IO ...   no trustworthy map
 */
enum q2_status mc_fat_map_make(struct mc_fat_place *place, struct mc_fat_file *file, bool writable,
                               struct q2_fault *fault, struct mc_fat_map *ret_map);

#endif
