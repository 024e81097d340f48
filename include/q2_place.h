/* The place: where images are stored, one contract above the byte source.
 *
 * A place is one volume, folder or server that has files: a FAT volume, a volume that the firmware
 * reads by its own file system, memory. It opens a file by path, tells which file that is, and says
 * what it can do: write in place, make a file longer, make the firmware forget bytes of it that it
 * keeps, and say where on which partition the file is stored. Whoever uses images asks the place
 * and needs no type of any file system.
 *
 * Implemented by efi/place/ and by tests. The implementer embeds a struct q2_place, and a struct
 * q2_place_file, as first members of its own structs and owns their memory. A place is used by one
 * image at a time: its functions are not called from inside one another.
 *
 * When functions may be called. Those of a place call the firmware's file system and get memory:
 * never from inside a request to a disk. The sources of its files keep include/q2_source.h, so they
 * may be called from inside a request; a place whose file system must not be called there serves
 * its sources another way.
 *
 * Paths are UTF-8, absolute in the place, with '/' between components ("/img/debian.qcow2").
 */
#ifndef Q2_PLACE_H
#define Q2_PLACE_H

#include "q2_extents.h"
#include "q2_line.h"
#include "q2_source.h"
#include "q2_status.h"

struct q2_place;
struct q2_place_file;

/* What a place can do, beside reading files. */
#define Q2_PLACE_WRITES    (1u << 0) /* files can be opened for writing, and written in place */
#define Q2_PLACE_GROWS     (1u << 1) /* files can be made longer: make_room(), give_back() */
#define Q2_PLACE_LOCATES   (1u << 2) /* locate() tells where files are stored on the disk */
#define Q2_PLACE_REMEMBERS (1u << 3) /* the firmware keeps bytes of files: forget() is needed */
#define Q2_PLACE_QUEUES    (1u << 4) /* reads can be queued below: see drivers/efi/block_queue.h */

/* Why a file cannot be made longer, for the person. */
#define Q2_PLACE_NO_SPACE                                                                          \
    "the volume has no space to make the file longer, or counts it wrongly; delete other files "   \
    "there, or check it with 'fsck.fat' or 'chkdsk'"

/* The partition that a place is stored on, as an operating system finds it again. */
enum q2_partition_kind {
    Q2_PARTITION_NONE, /* the whole device, without a partition table */
    Q2_PARTITION_MBR,
    Q2_PARTITION_GPT,
    Q2_PARTITION_UNKNOWN, /* a part of a device that no table has, such as El Torito's: number and
                             start mean nothing */
};

struct q2_partition {
    enum q2_partition_kind kind;
    uint32_t number;           /* from 1; 0 if kind is NONE */
    uint8_t signature[16];     /* GPT: the partition's unique GUID, as on disk; MBR: the disk's
                              signature in the first 4 bytes; else zeros */
    uint64_t start;            /* bytes from the start of the disk; 0 if kind is NONE */
    uint64_t size;             /* bytes */
    uint32_t block_size;       /* bytes of a logical block of the disk */
    uint32_t volume_id;        /* FAT: the volume's serial number; 0: none is known */
    uint32_t volume_id_offset; /* bytes from the start of the partition to that number; 0: none */
};

/* Where a file is stored now. A plain value but for `extents`. */
struct q2_stored_file {
    struct q2_partition partition;
    const struct q2_file_extent *extents; /* of the file; volume_offset counts from the start of the
                                             partition, so a byte of the disk is partition.start +
                                             volume_offset. They live until the file is closed or
                                             make_room() or give_back() is called */
    size_t nb_extents;
    uint64_t size; /* bytes that the extents hold, room included */
};

/* An open file. */
struct q2_place_file {
    struct q2_place *place;
    struct q2_source *source;   /* what the engine reads and writes; its identity is the file's */
    uint64_t mapped_size;       /* of a writable file: source->grow() reaches this size, >=
                                   source->size; the bytes in between are its room */
    struct q2_place_file *next; /* for whoever has opened it */
};

/* Called for each file of a folder; name is UTF-8 without the folder and lives during the call.
 * Another result than Q2_OK ends the list and is what list() returns; then fault is filled. */
struct q2_place_visitor {
    enum q2_status (*visit)(struct q2_place_visitor *visitor, const char *name,
                            struct q2_fault *fault);
};

struct q2_place_ops {
    /* Give the place back, when none of its files is open. */
    void (*close)(struct q2_place *place);

    /* Open a file.
     *
     * writable  only if the place has Q2_PLACE_WRITES
     * fault     filled on any error
     * ret_file  until close_file()
     *
     * Q2_ERR_NOT_FOUND, Q2_ERR_BAD_NAME
     * Q2_ERR_NOT_A_FILE   a folder
     * Q2_ERR_READ_ONLY, Q2_ERR_UNSUPPORTED   it cannot be written: the file, the place
     * Q2_ERR_BAD_VOLUME, Q2_ERR_LIMIT        the file cannot be reached in a way that is safe from
     *                     inside a request
     * Q2_ERR_IO, Q2_ERR_NO_MEDIA, Q2_ERR_MEDIA_CHANGED
     */
    enum q2_status (*open_file)(struct q2_place *place, const char *path, bool writable,
                                struct q2_fault *fault, struct q2_place_file **ret_file);
    void (*close_file)(struct q2_place_file *file);

    /* Read a small file at once: configuration, keys.
     *
     * *length  bytes of room in buffer; then bytes read: fewer if the file is shorter
     *
     * Errors as open_file(). */
    enum q2_status (*load)(struct q2_place *place, const char *path, void *buffer, size_t *length,
                           struct q2_fault *fault);

    /* Name the files of a folder, folders left out, in any order.
     *
     * Q2_ERR_NOT_FOUND   no such folder
     * other errors as open_file(), or what the visitor returned */
    enum q2_status (*list)(struct q2_place *place, const char *folder,
                           struct q2_place_visitor *visitor, struct q2_fault *fault);

    /* Say how a file is read, such as "extent map (3 extents)", and why if that is not the best
     * way; no full stop, no line feed. */
    void (*explain)(const struct q2_place_file *file, struct q2_line *text);

    /* Where the file is stored. NULL without Q2_PLACE_LOCATES.
     *
     * Q2_ERR_UNSUPPORTED  this file has no map: it is a copy in memory, say */
    enum q2_status (*locate)(const struct q2_place_file *file, struct q2_stored_file *ret_stored);

    /* The rest is for files that are open for writing: NULL without Q2_PLACE_WRITES. */

    /* Is the file what it was when it was opened? Asks the file system. Beside this, the source
     * itself refuses the first write of a burst (see settle()) to a file that is not the same any
     * more: with Q2_ERR_MEDIA_CHANGED, and nothing is written.
     *
     * Q2_ERR_BUSY      somebody deleted, replaced or resized it; what its source would write to may
     *                  belong to another file by now
     * Q2_ERR_NO_MEDIA  the place is gone, with all its files */
    enum q2_status (*check)(struct q2_place_file *file, struct q2_fault *fault);

    /* A burst of writes is over. The source checks anew before the next write. */
    void (*settle)(struct q2_place *place);

    /* Make the file longer by room, or as long as can be. Sets file->mapped_size. The bytes are
     * zero and durable. NULL without Q2_PLACE_GROWS.
     *
     * size  bytes that mapped_size should have
     *
     * Q2_OK            it has them
     * Q2_ERR_NO_SPACE  it has fewer, perhaps none more: the volume is full or would be, or this is
     *                  the file system's largest file
     * Q2_ERR_BAD_VOLUME ...  the file grew but its new part cannot be trusted and is not used */
    enum q2_status (*make_room)(struct q2_place_file *file, uint64_t size, struct q2_fault *fault);

    /* Make the file shorter, so that the volume has its room back. Sets file->mapped_size. Bytes
     * of the source after its new end are gone, and source->size follows. NULL without
     * Q2_PLACE_GROWS.
     *
     * size  bytes, <= mapped_size */
    enum q2_status (*give_back)(struct q2_place_file *file, uint64_t size, struct q2_fault *fault);

    /* Bytes that files of the place can still grow by; UINT64_MAX: it does not say. NULL without
     * Q2_PLACE_GROWS. */
    uint64_t (*free_space)(struct q2_place_file *file);

    /* Make the firmware forget the bytes that it keeps of the place's writable files, so that it
     * can neither show nor write back old ones. NULL without Q2_PLACE_REMEMBERS.
     *
     * all  false: only of what was written since the last call
     *
     * Q2_ERR_UNSUPPORTED  some are kept still: the files are too small to push them out
     * Q2_ERR_IO           the volume cannot be read; nothing is read after the first failure
     * Q2_ERR_NO_MEDIA, Q2_ERR_MEDIA_CHANGED  the medium is not there any more; nothing is read */
    enum q2_status (*forget)(struct q2_place *place, bool all, struct q2_fault *fault);

    /* Set *attention whenever forget(false) has something to do; NULL: no more.
     * NULL without Q2_PLACE_REMEMBERS. */
    void (*watch)(struct q2_place_file *file, bool *attention);
};

struct q2_place {
    const struct q2_place_ops *ops;
    const char *name;   /* of its kind, for messages: "FAT volume" */
    uint32_t abilities; /* Q2_PLACE_... */
    uint32_t io_align;  /* memory alignment that its device asks of buffers; 0, 1: any */
};

static inline bool q2_place_can(const struct q2_place *place, uint32_t abilities)
{
    return (place->abilities & abilities) == abilities;
}

#endif
