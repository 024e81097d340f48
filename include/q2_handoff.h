/* The hand-off record: what firmware knows of a disk, written down for the running system.
 *
 * Written by the firmware programs when a boot loader asks for the initrd, and by
 * tools/handoff/make_record.c on a host for tests. Read by the program of tools/handoff/ in the
 * running system, which opens the same disk from the same bytes of the same partition without a
 * file system. Implemented by core/handoff/record.c and sample.c, which allocate nothing.
 *
 * The record travels in a cpio archive, as the file metalcow/record. For guests that were prepared
 * with our packages it is also published in volatile EFI variables, see the end of this file.
 *
 * Format, version 2. Numbers are little-endian and unaligned. There is exactly one encoding of each
 * content, so a record that was read can be compared byte by byte.
 *
 *   offset size
 *        0    8  magic "MCHNDOFF"
 *        8    4  version, 2
 *       12    4  length of the whole record, bytes
 *       16   32  SHA-256 of the whole record, with these 32 bytes taken as zeros
 *       48    4  host disk: scheme, enum q2_handoff_scheme
 *       52    4  MBR disk signature (MBR only, else 0)
 *       56   16  unique GUID of the partition as in the GPT entry (GPT only, else 0)
 *       72    8  start of the partition on the disk, bytes; 0 without partitions
 *       80    8  size of the partition (of the disk without partitions), bytes
 *       88    4  size of a logical sector of the disk, bytes
 *       92    4  volume id of the file system
 *       96    4  where in the partition those four bytes are stored; 0: the file system has none
 *      100    4  mode, enum q2_handoff_mode
 *      104    4  lane, enum q2_handoff_lane
 *      108    4  format of the top image, enum q2_image_format
 *      112    4  which names in images may be opened, enum q2_name_policy
 *      116    4  what a backing file is whose format is not stated, enum q2_unsaid_format
 *      120    8  overlay: most bytes of memory that written data may take; 0 in other modes
 *      128    8  room_mark: when fewer bytes than this are left in the image file, the kernel log
 *                says how many from then on; 0 never
 *      136    4  number of files, 1..64
 *      140    4  number of keys, 0..32
 *      144    4  number of backing files that were given, 0..31
 *      148    4  size of a logical sector of the guest's disk, 512 or 4096 bytes
 *      152       strings snapshot, data file, then the backing files that were given: as in struct
 *                q2_disk_options
 *                then the files, then the keys, and nothing after them
 *
 *   string   2  length n in bytes without the NUL; 0xffff: absent, and nothing follows
 *            n  the bytes, none of them NUL
 *            1  NUL
 *
 *   file     4  role, enum q2_handoff_role
 *            4  layer, 0 is the top image
 *            8  size, bytes
 *            4  number of extents
 *            4  number of samples
 *               path, a string that must be there
 *       16 * n  extents in the order of the file: offset in the partition (8), length (8)
 *       24 * n  samples in ascending order: offset in the file (8), first 16 bytes of SHA-256 (16)
 *
 *   key      4  number of the file whose image it decrypts
 *            4  crypt_method of that image: Q2_CRYPT_AES or Q2_CRYPT_LUKS
 *            4  length n, 16..64
 *            n  the key: the 16 bytes of legacy AES, or LUKS' master key
 */
#ifndef Q2_HANDOFF_H
#define Q2_HANDOFF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "q2_disk.h"
#include "q2_extents.h"
#include "q2_limits.h"
#include "q2_source.h"
#include "q2_status.h"

#define Q2_HANDOFF_VERSION 2u

/* Every layer of a chain, each with a data file. */
#define Q2_HANDOFF_MAX_FILES (Q2_MAX_LAYERS * 2)
#define Q2_HANDOFF_MAX_KEYS  Q2_MAX_LAYERS

/* Every layer but the lowest has a backing file. */
#define Q2_HANDOFF_MAX_BACKING_FILES (Q2_MAX_LAYERS - 1)

/* Extents of all files together. The running system keeps them in locked memory, 24 bytes each. A
 * file of 4 GiB in clusters of 32 KiB that has every second one has as many. */
#define Q2_HANDOFF_MAX_EXTENTS 65536u

/* Samples of one file: head, tail, 64 extents from the start and 62 spread over the rest. */
#define Q2_HANDOFF_MAX_SAMPLES 128u

/* Bytes that one sample covers, fewer where the file ends. */
#define Q2_HANDOFF_SAMPLE_SIZE 4096u

#define Q2_HANDOFF_DIGEST_LENGTH  16u
#define Q2_HANDOFF_MAX_KEY_LENGTH 64u

/* Longest record: 1 MiB of extents, 0.2 MiB of samples, 0.2 MiB of paths and texts, and some. */
#define Q2_HANDOFF_MAX_SIZE (2u * 1024 * 1024)

/* Length of a record's fixed part, and of the part that tells its length. */
#define Q2_HANDOFF_HEADER_SIZE 152u
#define Q2_HANDOFF_PEEK_SIZE   16u

enum q2_handoff_scheme {
    Q2_HANDOFF_WHOLE_DISK, /* the file system is the disk; its volume id is all there is */
    Q2_HANDOFF_GPT,
    Q2_HANDOFF_MBR,
    Q2_NB_HANDOFF_SCHEMES
};

enum q2_handoff_mode {
    Q2_HANDOFF_RO,      /* a read-only device */
    Q2_HANDOFF_OVERLAY, /* what is written stays in memory and is gone at power-off */
    Q2_HANDOFF_RW,      /* the image is written */
    Q2_NB_HANDOFF_MODES
};

enum q2_handoff_lane {
    Q2_HANDOFF_LANE_AUTO,   /* the fastest that is right for the image */
    Q2_HANDOFF_LANE_SERVER, /* the server (nbd), whatever the image allows */
    Q2_NB_HANDOFF_LANES
};

enum q2_handoff_role {
    Q2_HANDOFF_IMAGE, /* an image file: the top one in layer 0, backing files below */
    Q2_HANDOFF_DATA,  /* the external data file of that layer's image */
    Q2_NB_HANDOFF_ROLES
};

/* A place in a file and a digest of the bytes there. Firmware takes it, the running system
 * compares: a wrong copy of the file, another disk with the same GUID, or a map that does not fit
 * any more is noticed before anything is attached. */
struct q2_handoff_sample {
    uint64_t offset; /* bytes into the file; Q2_HANDOFF_SAMPLE_SIZE bytes, or to its end */
    uint8_t digest[Q2_HANDOFF_DIGEST_LENGTH];
};

struct q2_handoff_file {
    enum q2_handoff_role role;
    uint32_t layer;
    const char *path; /* exactly as the opener got it, or as the top image was opened: by this name
                         the running system's opener finds the file */
    uint64_t size;    /* bytes. In mode rw of a qcow2 image it includes the room that was made: the
                         file cannot become longer after the hand-off */
    uint32_t nb_extents;
    uint32_t nb_samples;
    const struct q2_file_extent *extents; /* valid as include/q2_extents.h says; offsets in the
                                             partition are multiples of 512 */
    const struct q2_handoff_sample *samples;
};

struct q2_handoff_key {
    uint32_t file;
    uint32_t crypt_method;
    uint32_t length;
    const uint8_t *bytes;
};

/* The host disk and partition. */
struct q2_handoff_disk {
    enum q2_handoff_scheme scheme;
    uint32_t mbr_signature;
    uint8_t partition_guid[16];
    uint64_t start, size; /* bytes */
    uint32_t sector_size; /* bytes, a power of two, 512..65536 */
    uint32_t volume_id;
    uint32_t volume_id_offset; /* 67 for FAT32, 39 for FAT12 and FAT16, 100 for exFAT */
};

/* The whole record. Strings may be NULL where a string may be absent. file[0] is the top image. */
struct q2_handoff {
    struct q2_handoff_disk disk;
    enum q2_handoff_mode mode;
    enum q2_handoff_lane lane;
    enum q2_image_format format;
    enum q2_name_policy names;
    enum q2_unsaid_format backing_format;
    uint32_t guest_sector_size; /* of the disk that the guest gets, 512 or 4096 bytes */
    uint64_t overlay_size;
    uint64_t room_mark;
    const char *snapshot, *data_file;
    const char *backing_files[Q2_HANDOFF_MAX_BACKING_FILES]; /* NULL: the name in the image */
    uint32_t nb_backing_files;
    uint32_t nb_files, nb_keys;
    struct q2_handoff_file files[Q2_HANDOFF_MAX_FILES];
    struct q2_handoff_key keys[Q2_HANDOFF_MAX_KEYS];
};

/* Arrays that a decoded record's extents and samples go to. */
struct q2_handoff_memory {
    struct q2_file_extent *extents;
    size_t max_extents; /* Q2_HANDOFF_MAX_EXTENTS holds those of every record */
    struct q2_handoff_sample *samples;
    size_t max_samples; /* Q2_HANDOFF_MAX_FILES * Q2_HANDOFF_MAX_SAMPLES holds every record's */
};

/* Encode a record.
 *
 * buffer, size  where it goes; after an error it holds nothing of use, maybe a key: wipe it
 * ret_length    bytes of the record, at most Q2_HANDOFF_MAX_SIZE
 * ret_what      static text that says what is wrong; set on every result but Q2_OK
 *
 * Q2_ERR_ARGUMENT  a value is none that a record may have
 * Q2_ERR_LIMIT     a number is over a limit above, or buffer is too small
 */
enum q2_status q2_handoff_encode(const struct q2_handoff *handoff, void *buffer, size_t size,
                                 size_t *ret_length, const char **ret_what);

/* Length of the record that begins with these Q2_HANDOFF_PEEK_SIZE bytes, so that who collects it
 * from several places knows when it is complete.
 *
 * Q2_ERR_BAD_MAGIC  no record
 * Q2_ERR_VERSION    a record of another version
 * Q2_ERR_LIMIT      longer than a record may be, or shorter than the fixed part
 */
enum q2_status q2_handoff_peek(const void *bytes, size_t *ret_length, const char **ret_what);

/* Decode a record and check everything in it.
 *
 * bytes        length bytes, any alignment; strings and keys of the result point into them
 * memory       extents and samples of the result are stored here
 * ret_handoff  filled on Q2_OK
 * ret_what     static text that says what is wrong; set on every result but Q2_OK
 *
 * Q2_ERR_BAD_MAGIC   no record
 * Q2_ERR_VERSION     a record of another version
 * Q2_ERR_TRUNCATED   the record is longer than length
 * Q2_ERR_BAD_HEADER  the checksum or a value is wrong, or there are bytes after the record
 * Q2_ERR_LIMIT       a number is over a limit, or memory is too small
 */
enum q2_status q2_handoff_decode(const void *bytes, size_t length,
                                 const struct q2_handoff_memory *memory,
                                 struct q2_handoff *ret_handoff, const char **ret_what);

/* Overwrite the keys in an encoded record that q2_handoff_decode() accepted. */
void q2_handoff_wipe_keys(void *bytes, const struct q2_handoff *handoff);

/* Take the samples of a file: its head, its tail, and the first bytes of its extents, of all of
 * them or of up to Q2_HANDOFF_MAX_SAMPLES - 2.
 *
 * source         the file; only read
 * extents        its map, nb_extents of them; may be none
 * buffer         Q2_HANDOFF_SAMPLE_SIZE bytes, aligned as the source likes it
 * ret_samples    room for Q2_HANDOFF_MAX_SAMPLES
 *
 * Q2_OK, or what the source's read_at() returned
 */
enum q2_status q2_handoff_sample(struct q2_source *source, const struct q2_file_extent *extents,
                                 size_t nb_extents, void *buffer,
                                 struct q2_handoff_sample *ret_samples, uint32_t *ret_nb_samples);

/* Compare a file with the samples in the record.
 *
 * source  the file as the running system reaches it; source->size must be file->size
 * buffer  Q2_HANDOFF_SAMPLE_SIZE bytes
 * fault   filled on any error; fault.offset is the offset in the file
 *
 * Q2_ERR_MEDIA_CHANGED  bytes differ: these are not the ones that the record was made of
 * or what the source's read_at() returned
 */
enum q2_status q2_handoff_verify(struct q2_source *source, const struct q2_handoff_file *file,
                                 void *buffer, struct q2_fault *fault);

/* The variables that firmware publishes for prepared guests (packages metalcow-handoff-*): the
 * record without keys, in parts, because OVMF takes 8 KiB a variable and other firmware may take
 * less. Part n is the variable MetalcowHandoffn (n in decimal, from 0) of this vendor GUID,
 * attributes BOOTSERVICE_ACCESS | RUNTIME_ACCESS, not NON_VOLATILE; each but the last has
 * Q2_HANDOFF_VARIABLE_SIZE bytes. There are at most Q2_HANDOFF_MAX_VARIABLES; a longer record is
 * not published, and who boots reads why. */
#define Q2_HANDOFF_VARIABLE_NAME "MetalcowHandoff"
#define Q2_HANDOFF_VARIABLE_GUID "6d657461-6c63-4f77-8a1d-4c5e9b7f2d31"
#define Q2_HANDOFF_VARIABLE_SIZE 4096u
#define Q2_HANDOFF_MAX_VARIABLES 16u

#endif
