/* The disk: an opened image with its data file and backing chain, as one range of bytes.
 *
 * Implemented by core/. This is the engine's whole face: everything above works with guest offsets,
 * everything below with sources.
 *
 * Memory: the caller gives one block of Q2_WORKSPACE_SIZE bytes and keeps it until
 * q2_disk_close(); the disk lives in it. Nothing else is allocated, ever. Sources of the backing
 * chain are opened and closed through the caller's opener; the top image's source stays the
 * caller's.
 *
 * Calls on one disk come one at a time (the firmware side holds TPL_CALLBACK, the host a mutex).
 */
#ifndef Q2_DISK_H
#define Q2_DISK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "q2_cipher.h"
#include "q2_codec.h"
#include "q2_limits.h"
#include "q2_opener.h"
#include "q2_source.h"
#include "q2_status.h"

struct q2_disk;

/* Size and alignment of the memory that a disk lives in; core/read/disk.h asserts both. The size is
 * the same for every image. */
#define Q2_WORKSPACE_SIZE  (12u * 1024 * 1024)
#define Q2_WORKSPACE_ALIGN 4096u

/* Which names found inside an image may be opened.  (DESIGN.md, 3.8) */
enum q2_name_policy {
    Q2_NAMES_BELOW, /* the image's own folder and folders below it; the default */
    Q2_NAMES_NONE,  /* none: every file must be given by the caller */
    Q2_NAMES_ANY,   /* any path (in firmware: on the image's volume) */
};

/* How names inside images are spelt. */
enum q2_name_rules {
    Q2_NAME_RULES_UEFI,  /* printable characters of the basic plane; no backslash, no prefix */
    Q2_NAME_RULES_POSIX, /* any byte but NUL; "json:{...}" of a plain file is understood */
};

enum q2_image_format {
    Q2_FORMAT_QCOW2,
    Q2_FORMAT_RAW,
};

/* What a backing file is whose format the image does not state. */
enum q2_unsaid_format {
    Q2_UNSAID_REFUSED, /* Q2_ERR_BACKING_FORMAT; the default */
    Q2_UNSAID_QCOW2,
    Q2_UNSAID_RAW,
};

/* What the caller says of a backing file; the image must have one then. */
struct q2_given_file {
    const char *path;             /* NULL: the name in the image after all */
    enum q2_unsaid_format format; /* if the image does not state it; REFUSED: as for all layers */
};

/* How to open. All zero is the safe default: read-only, names in the image's folder or below. */
struct q2_disk_options {
    const char *data_file; /* path of the top image's data file; NULL: the header's name */
    /* Backing files of the top image, of the layer below it, and so on; each of those layers must
     * have one. */
    const struct q2_given_file *backing_files;
    uint32_t nb_backing_files;
    const char *snapshot; /* id or name of an internal snapshot of the top image; NULL: active */
    enum q2_name_policy names;
    enum q2_name_rules name_rules;
    enum q2_image_format format;          /* of the top image; never probed */
    enum q2_unsaid_format backing_format; /* of every backing file whose format is not stated */
    bool look_beside; /* a file whose name in the image is not allowed, or leads nowhere, is looked
                         for by the name's last component in the image's own folder, unless names
                         is Q2_NAMES_NONE; q2_layer_info.is_beside tells */
    bool metadata_only; /* open no other file: info, check; reads and writes of guest bytes give
                           Q2_ERR_NOT_OPEN */
    bool short_end;     /* an image's file may end inside its last cluster, as QEMU's may: the rest
                           of that cluster reads as zeros if the refcounts count nothing after it.
                           Else that is so only while the disk is writable, and so was checked */
    bool writable;      /* with metadata_only: the image itself (include/q2_amend.h) */
    bool repair;       /* with writable: open for q2_disk_repair(). A dirty, corrupt or inconsistent
                           image opens, too; all else that writes gives Q2_ERR_READ_ONLY */
    bool keep_bitmaps; /* with writable: record writes in dirty bitmaps (include/q2_bitmap.h); else
                          those that a write makes wrong are marked as inconsistent */
    bool repair_if_dirty; /* with writable: a dirty image is repaired first; else it is refused */
    /* An image above `image` that takes all writes: q2_create() made it, empty, with no backing
     * file; it stays the caller's. Everything else here is about `image`, which is then only read,
     * whatever it is: raw, a snapshot, encrypted, dirty, corrupt. NULL: none. */
    struct q2_source *overlay;
    struct q2_unlocker *unlocker; /* NULL: encrypted images give Q2_ERR_ENCRYPTED */
    struct q2_codec *zlib, *zstd; /* NULL: such clusters give Q2_ERR_UNSUPPORTED */
};

/* Open a disk.
 *
 * workspace  Q2_WORKSPACE_SIZE bytes at Q2_WORKSPACE_ALIGN; content undefined
 * image      the top image's source; stays the caller's and must outlive the disk
 * opener     opens backing and data files; may be NULL if metadata_only
 * options    copied; the strings are used during the call only, codecs and unlocker until close
 * fault      filled on any error; must not be NULL. Later faults: q2_disk_fault().
 * ret_disk   points into workspace; layer 0 is options->overlay, if there is one
 *
 * Q2_OK, or any of enum q2_status; on error everything opened is closed again.
 */
enum q2_status q2_disk_open(void *workspace, struct q2_source *image, struct q2_opener *opener,
                            const struct q2_disk_options *options, struct q2_fault *fault,
                            struct q2_disk **ret_disk);

/* Open a disk for reading. As q2_disk_open(), but it needs no code that writes, so a program that
 * calls only this and reads does not link any.
 *
 * Q2_ERR_ARGUMENT  also if writable, repair or repair_if_dirty is set
 */
enum q2_status q2_disk_open_for_reading(void *workspace, struct q2_source *image,
                                        struct q2_opener *opener,
                                        const struct q2_disk_options *options,
                                        struct q2_fault *fault, struct q2_disk **ret_disk);

/* Close every source that the disk opened. Does not flush. Cannot fail. */
void q2_disk_close(struct q2_disk *disk);

/* Bytes that the guest sees; not always a multiple of 512. */
uint64_t q2_disk_size(const struct q2_disk *disk);

/* The fault of the last call that did not return Q2_OK; what == NULL and status Q2_OK if none. */
const struct q2_fault *q2_disk_fault(const struct q2_disk *disk);

/* Read guest bytes.
 *
 * offset, length  bytes, any alignment; the range is inside q2_disk_size(); length 0 is Q2_OK
 * buffer          undefined after an error
 *
 * Q2_ERR_RANGE      the range is not inside the disk
 * Q2_ERR_TRUNCATED  a file ends before the data that the image says is there
 * Q2_ERR_BAD_L1, Q2_ERR_BAD_L2, Q2_ERR_BAD_COMPRESSED   the image is broken there
 * Q2_ERR_UNSUPPORTED  no codec for the image's compression type
 * Q2_ERR_NOT_OPEN   opened with metadata_only
 * Q2_ERR_IO, Q2_ERR_NO_MEDIA, Q2_ERR_MEDIA_CHANGED   a source failed
 */
enum q2_status q2_disk_read(struct q2_disk *disk, uint64_t offset, void *buffer, size_t length);

enum q2_extent_kind {
    Q2_EXTENT_UNALLOCATED, /* no layer has it: reads as zeros; host_offset if has_host_offset
                              (subclusters without data in a cluster that has a place) */
    Q2_EXTENT_ZERO,        /* reads as zeros; host_offset if has_host_offset (allocated zeros) */
    Q2_EXTENT_DATA,        /* at host_offset of the layer's data source */
    Q2_EXTENT_COMPRESSED,  /* one compressed cluster, or the rest of one from guest_offset on */
};

/* A run of guest bytes of one kind. A plain value: it can be written down and read back. */
struct q2_extent {
    enum q2_extent_kind kind;
    uint32_t layer;         /* 0 is the top image; UNALLOCATED: the lowest one that was asked */
    uint64_t guest_offset;  /* bytes */
    uint64_t length;        /* bytes, >= 1 */
    uint64_t host_offset;   /* bytes into the data source, if has_host_offset. COMPRESSED: of the
                               stream, for the whole cluster */
    uint32_t stream_length; /* COMPRESSED: bytes that the descriptor spans */
    bool has_host_offset;
    bool copied; /* every L2 entry of the run has its COPIED flag set (refcount exactly 1) */
};

/* Find how a guest range is stored, through all layers.
 *
 * offset      bytes, < q2_disk_size()
 * max_length  bytes, >= 1; cut at the disk's end
 * ret_extent  the longest run of one kind, in one layer and contiguous there, that starts at
 *             offset. Two neighbouring extents may be alike, because the bound on the work cuts
 *             long runs
 *
 * Works with metadata_only; then the top image is asked alone.
 *
 * Q2_ERR_RANGE      offset is not inside the disk, or max_length is 0
 * Q2_ERR_TRUNCATED  a file ends before a table. Data is not read, so data past the end of a file is
 *                   not noticed
 * Q2_ERR_BAD_L1, Q2_ERR_BAD_L2   the image is broken there
 * Q2_ERR_IO, Q2_ERR_NO_MEDIA, Q2_ERR_MEDIA_CHANGED   a source failed
 */
enum q2_status q2_disk_map(struct q2_disk *disk, uint64_t offset, uint64_t max_length,
                           struct q2_extent *ret_extent);

/* Write guest bytes.  (qcow2: "Cluster mapping"; order of writes: DESIGN.md)
 *
 * offset, length  bytes, any alignment; the range is inside q2_disk_size(); length 0 is Q2_OK
 *
 * Q2_OK             the bytes read back from now on; durable after q2_disk_flush()
 * Q2_ERR_READ_ONLY  not opened writable, or latched after a failed metadata write
 * Q2_ERR_NOT_OPEN   opened with metadata_only
 * Q2_ERR_RANGE      the range is not inside the disk
 * Q2_ERR_NO_SPACE   no room for a new cluster; guest clusters before the one that found none are
 *                   written, the rest is as before; clusters that exist stay writable
 * Q2_ERR_TRUNCATED, Q2_ERR_BAD_L1, Q2_ERR_BAD_L2, Q2_ERR_BAD_COMPRESSED   the image is broken there
 * Q2_ERR_IO, Q2_ERR_NO_MEDIA, Q2_ERR_MEDIA_CHANGED   a source failed; each sector of the range
 *                   holds its old or its new bytes
 */
enum q2_status q2_disk_write(struct q2_disk *disk, uint64_t offset, const void *buffer,
                             size_t length);

/* Make guest bytes read as zeros: by zero clusters where whole clusters (or subclusters) are hit
 * and the version has them, by writing zeros elsewhere. Allocated clusters stay allocated. Version
 * 2 has no zero clusters: without a backing file its clusters become unallocated. With raw external
 * data zeros are written to the data file too. Errors as q2_disk_write(). */
enum q2_status q2_disk_write_zeroes(struct q2_disk *disk, uint64_t offset, uint64_t length);

/* Give clusters back. Only whole clusters inside the range are touched. They read as zeros then (in
 * a version 2 image with a backing file they are left alone, since there they could not). An
 * external data file gives the bytes back too, if its source can; else stale bytes stay, and raw
 * external data gets zeros. A raw image gives back what its source can; the rest stays as it is.
 * Errors as q2_disk_write(). */
enum q2_status q2_disk_discard(struct q2_disk *disk, uint64_t offset, uint64_t length);

/* Store one whole guest cluster as a stream that the caller has encoded.  (qcow2: "Compressed
 * Clusters Descriptor") The engine never encodes; callers may do it in threads of their own.
 *
 * guest_offset   bytes, < q2_disk_size(), a multiple of the cluster size
 * stream         decodes, by the image's compression type, to exactly one cluster: the disk's last
 *                one filled up with zeros. zlib: raw deflate with a window of at most 4 KiB. Not
 *                verified
 * stream_length  bytes, 1..cluster size - 1; what does not compress belongs into q2_disk_write()
 *
 * Streams that are stored one after the other share host clusters, as in QEMU, as far as the
 * refcount width can count them. Reading one back needs its codec, like any other.
 *
 * Q2_ERR_UNSUPPORTED  raw image, external data file or encryption; nothing changed
 * Q2_ERR_ARGUMENT     guest_offset or stream_length is wrong; nothing changed
 * Q2_ERR_LIMIT        the file is too long for such a descriptor
 * or an error of q2_disk_write(); the guest reads its old bytes then
 */
enum q2_status q2_disk_write_compressed(struct q2_disk *disk, uint64_t guest_offset,
                                        const void *stream, size_t stream_length);

/* Make everything written durable, the external data file first.
 *
 * Q2_OK             also if nothing was written, or the disk was not opened writable
 * Q2_ERR_READ_ONLY  latched by an earlier failure of this kind
 * Q2_ERR_IO, Q2_ERR_NO_MEDIA, Q2_ERR_MEDIA_CHANGED   a file's flush or a metadata write failed: the
 *                   disk is read-only until it is reopened; what an earlier flush covered is safe
 */
enum q2_status q2_disk_flush(struct q2_disk *disk);

/* Can the disk be written? False if it was not opened writable, and for good after a write or flush
 * of metadata failed. */
bool q2_disk_is_writable(const struct q2_disk *disk);

/* Does a file hold a qcow2 image that was not closed cleanly, so that its refcounts may be wrong?
 * (qcow2: "Header", incompatible feature 0) For whoever has to know before the image is opened,
 * which may take a passphrase. false: also if it cannot be read. */
bool q2_file_is_dirty(struct q2_source *source);

/* Was the image dirty when it was opened, and has been repaired (options.repair_if_dirty)? What was
 * repaired are refcounts; guest bytes stay as they are. */
bool q2_disk_was_repaired(const struct q2_disk *disk);

/* How many dirty bitmaps have been marked as inconsistent for good since the disk was opened: it
 * was written without options.keep_bitmaps, or there was no room to record a write. */
uint32_t q2_disk_nb_bitmaps_lost(const struct q2_disk *disk);

/* Does metadata wait for a flush? Guest bytes are handed to their file at once; what names new
 * clusters waits for q2_disk_flush(), or until the caches are crowded. */
bool q2_disk_is_dirty(const struct q2_disk *disk);

/* A number that grows whenever metadata changes: clusters are allocated, freed, mapped elsewhere.
 * Writes in place leave it alone, but where a cached piece of metadata has bytes of theirs. */
uint64_t q2_disk_nb_changes(const struct q2_disk *disk);

/* Bytes at the end of the top image's file that no cluster uses: what can be allocated at least
 * before the file must grow. Not said of a disk that is not writable, or raw: 0. */
uint64_t q2_disk_room(const struct q2_disk *disk);

/* The header as decoded.  (qcow2: "Header"). Version 2 images have the version 3 fields' defaults.
 */
struct q2_header {
    uint32_t version; /* 2 or 3 */
    uint64_t backing_file_offset;
    uint32_t backing_file_size;
    uint32_t cluster_bits;
    uint64_t size; /* virtual size, bytes */
    uint32_t crypt_method;
    uint32_t l1_size; /* entries */
    uint64_t l1_table_offset;
    uint64_t refcount_table_offset;
    uint32_t refcount_table_clusters;
    uint32_t nb_snapshots;
    uint64_t snapshots_offset;
    uint64_t incompatible_features;
    uint64_t compatible_features;
    uint64_t autoclear_features;
    uint32_t refcount_order; /* a refcount has 1 << refcount_order bits */
    uint32_t header_length;  /* bytes */
    uint8_t compression_type;
};

/* Feature bits.  (qcow2: "Header", bytes 72 to 95) */
#define Q2_INCOMPAT_DIRTY         (1ull << 0)
#define Q2_INCOMPAT_CORRUPT       (1ull << 1)
#define Q2_INCOMPAT_DATA_FILE     (1ull << 2)
#define Q2_INCOMPAT_COMPRESSION   (1ull << 3)
#define Q2_INCOMPAT_EXTENDED_L2   (1ull << 4)
#define Q2_COMPAT_LAZY_REFCOUNTS  (1ull << 0)
#define Q2_AUTOCLEAR_BITMAPS      (1ull << 0)
#define Q2_AUTOCLEAR_RAW_EXTERNAL (1ull << 1)

/* Bytes that are allocated as one: a subcluster of an image with extended L2 entries, else a
 * cluster.  (qcow2: "Extended L2 Entries") */
static inline uint64_t q2_header_unit(const struct q2_header *header)
{
    bool extended = (header->incompatible_features & Q2_INCOMPAT_EXTENDED_L2) != 0;

    return (1ull << header->cluster_bits) / (extended ? 32 : 1);
}

#define Q2_COMPRESSION_ZLIB 0u
#define Q2_COMPRESSION_ZSTD 1u

/* What is known of one layer. Pointers live until q2_disk_close(). Strings come out of the image:
 * untrusted bytes, NUL-terminated, "" if absent. */
struct q2_layer_info {
    enum q2_image_format format;
    const struct q2_source *source;
    /* Where clusters are stored: source itself or the data file; NULL if metadata_only. */
    const struct q2_source *data_source;
    const struct q2_header *header; /* NULL if raw */
    uint64_t virtual_size;          /* of the opened state (active or snapshot), bytes */
    const char *backing_file;
    const char *backing_format;
    const char *data_file;      /* the name in the header, whatever was opened instead */
    uint64_t encryption_offset; /* of the LUKS header, bytes into the image; 0: there is none.
                                   (qcow2: "Full disk encryption header pointer") */
    uint64_t encryption_length; /* bytes of it and its key material; not compared with the file */
    bool is_snapshot;
    bool is_beside; /* this layer's file, or its data file, was found by options.look_beside */
};

/* Number of layers, 1..Q2_MAX_LAYERS (1 if metadata_only). */
uint32_t q2_disk_nb_layers(const struct q2_disk *disk);

/* Describe a layer; layer < q2_disk_nb_layers(). */
void q2_disk_layer_info(const struct q2_disk *disk, uint32_t layer, struct q2_layer_info *ret_info);

struct q2_table_visitor {
    /* One table; offset and length are bytes and may leave the file. The disk must not be used from
     * here. */
    void (*visit)(struct q2_table_visitor *visitor, uint64_t offset, uint64_t length);
};

/* Visit the header, the L1 table and the L2 tables of the active state, the refcount table and the
 * refcount blocks of a layer's file. Tables of snapshots and bitmaps are left out, and so is what
 * cannot be read or breaks the specification. A raw layer has none.
 * (qcow2: "Header", "Cluster mapping", "Host cluster management")
 *
 * layer  < q2_disk_nb_layers()
 */
void q2_disk_visit_tables(struct q2_disk *disk, uint32_t layer, struct q2_table_visitor *visitor);

/* Count the host clusters of a layer's file whose refcount is above 0; of a raw layer, none.
 *
 * layer      < q2_disk_nb_layers()
 * nb_enough  clusters; the count may end when there are so many
 *
 * Q2_ERR_BAD_REFCOUNT  a refcount cannot be read; ret_nb counts those before it
 */
enum q2_status q2_disk_nb_used(struct q2_disk *disk, uint32_t layer, uint64_t nb_enough,
                               uint64_t *ret_nb);

/* One internal snapshot.  (qcow2: "Snapshots") Strings as in struct q2_layer_info, cut at 255. */
struct q2_snapshot {
    uint64_t l1_table_offset;
    uint32_t l1_size;
    char id[256];
    char name[256];
    uint32_t date_sec, date_nsec;
    uint64_t vm_clock_nsec;
    uint64_t vm_state_size;
    uint64_t virtual_size; /* bytes; the image's own where the table does not say */
    bool has_icount;
    uint64_t icount;
};

/* Read an entry of the top image's snapshot table.
 *
 * index   < header->nb_snapshots. One after the last one that was read, so that a list costs one
 *         walk; else the walk begins at the table's start: O(index), bounded by
 *         Q2_MAX_SNAPSHOT_TABLE_SIZE.
 *
 * Q2_ERR_RANGE         no such entry
 * Q2_ERR_TRUNCATED     the table leaves the file
 * Q2_ERR_LIMIT         table or extra data over the limits
 * Q2_ERR_IO ...        the source failed
 */
enum q2_status q2_disk_snapshot(struct q2_disk *disk, uint32_t index,
                                struct q2_snapshot *ret_snapshot);

/* One persistent dirty bitmap.  (qcow2: "Bitmap directory") The name is untrusted. */
struct q2_bitmap {
    uint64_t table_offset;
    uint32_t table_size; /* entries */
    uint32_t flags;      /* bit 0 in use (inconsistent), bit 1 auto */
    uint8_t granularity_bits;
    char name[1024];
};

#define Q2_BITMAP_IN_USE (1u << 0)
#define Q2_BITMAP_AUTO   (1u << 1)

/* Number of bitmaps of the top image that its extension declares. Whether they can be trusted is
 * another matter: only while autoclear bit Q2_AUTOCLEAR_BITMAPS is set. */
uint32_t q2_disk_nb_bitmaps(const struct q2_disk *disk);

/* Read entry index of the top image's bitmap directory. O(index).
 *
 * Q2_ERR_RANGE       no such entry
 * Q2_ERR_BAD_BITMAP  malformed
 * Q2_ERR_LIMIT, Q2_ERR_TRUNCATED, Q2_ERR_IO ...
 */
enum q2_status q2_disk_bitmap(struct q2_disk *disk, uint32_t index, struct q2_bitmap *ret_bitmap);

#endif
