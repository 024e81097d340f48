/* Results of every metalcow function, and the fault that explains one.
 *
 * A function returns an enum q2_status; the first thing that goes wrong in a disk also fills a
 * struct q2_fault, so that a person reads "base.qcow2: L2 entry points past the end of the file, at
 * offset 0x50018", not "error 5". Nothing here prints.
 */
#ifndef Q2_STATUS_H
#define Q2_STATUS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Grouped by whose fault it is. Texts and advice stand in core/base/status.c, one row per value. */
enum q2_status {
    Q2_OK = 0,

    /* The caller's mistake. */
    Q2_ERR_ARGUMENT,                /* a NULL, zero or contradicting argument */
    Q2_ERR_RANGE,                   /* offset and length are not inside the disk */
    Q2_ERR_READ_ONLY,               /* a write to a disk, image or file that is open for reading */
    Q2_ERR_NO_SNAPSHOT,             /* no snapshot has this id or name */
    Q2_ERR_DATA_FILE_UNEXPECTED,    /* a data file was given, the image stores its data itself */
    Q2_ERR_BACKING_FILE_UNEXPECTED, /* a backing file was given, the image has none */
    Q2_ERR_NOT_OPEN,                /* the disk was opened for its metadata only */

    /* The image breaks the specification. */
    Q2_ERR_BAD_MAGIC,     /* not a qcow2 image */
    Q2_ERR_BAD_HEADER,    /* a header field is out of its range */
    Q2_ERR_BAD_EXTENSION, /* a header extension is malformed */
    Q2_ERR_BAD_L1,        /* an L1 entry: reserved bit, unaligned, or a table on other metadata */
    Q2_ERR_BAD_L2, /* an L2 entry: reserved bit, unaligned, or a descriptor not allowed here */
    Q2_ERR_BAD_REFCOUNT,   /* refcount table or block: the same */
    Q2_ERR_BAD_SNAPSHOT,   /* snapshot table malformed */
    Q2_ERR_BAD_BITMAP,     /* bitmap directory malformed */
    Q2_ERR_BAD_COMPRESSED, /* a compressed cluster does not decode to exactly one cluster */
    Q2_ERR_BAD_NAME,       /* a file name in the image is no usable name */
    Q2_ERR_TRUNCATED,      /* the file ends before data or metadata that the image names */
    Q2_ERR_CHAIN_LOOP,     /* a file occurs twice in the backing chain or as its own data file */

    /* Valid, but unsupported or over a limit of include/q2_limits.h. */
    Q2_ERR_VERSION,     /* qcow2 version other than 2 and 3 */
    Q2_ERR_FEATURE,     /* unknown incompatible feature; fault.detail has its name */
    Q2_ERR_UNSUPPORTED, /* the operation or format is not supported here */
    Q2_ERR_LIMIT,       /* over a stated limit; the fault names it */
    Q2_ERR_ENCRYPTED,   /* encrypted, and no (right) key was given */
    Q2_ERR_CORRUPT,     /* the corrupt bit is set: reading only */
    Q2_ERR_NAME_DENIED, /* a name from inside an image that the policy does not allow to open */
    Q2_ERR_DATA_FILE_REQUIRED, /* external data file: no name in the header and none given */
    Q2_ERR_BACKING_FORMAT,     /* backing file without a format; formats are never probed */

    /* The outside world failed. */
    Q2_ERR_IO,            /* read, write or flush failed */
    Q2_ERR_NOT_FOUND,     /* no such file */
    Q2_ERR_DENIED,        /* no permission; the firmware's security refuses it */
    Q2_ERR_NOT_A_FILE,    /* a directory, a pipe, a device that is not wanted here */
    Q2_ERR_EXISTS,        /* a file to be made exists already */
    Q2_ERR_NO_SPACE,      /* disk full, or the file cannot grow further */
    Q2_ERR_NO_MEDIA,      /* the medium is gone */
    Q2_ERR_MEDIA_CHANGED, /* another medium is in the drive */
    Q2_ERR_BUSY,          /* the file is in use in a way that forbids this */
    Q2_ERR_BAD_VOLUME,    /* the file system below the image breaks its specification */
    Q2_ERR_UNTRUSTED,     /* Secure Boot: the firmware has no key for a program's signature */

    Q2_NB_STATUS
};

/* Sizes of the texts kept in a fault; longer ones are cut, never overrun. */
#define Q2_FAULT_FILE_SIZE   256
#define Q2_FAULT_DETAIL_SIZE 64

/* Why the first failing call failed. All pointers are to static text.
 *
 * file    name of the file at fault as the opener knows it, NUL-terminated, "" if none
 * detail  bytes from the image that explain it (a feature's name), NUL-terminated, "" if none.
 *         file and detail are untrusted: q2_fault_format() escapes them.
 */
struct q2_fault {
    enum q2_status status;
    const char *what;  /* what is wrong, without file and value; NULL: the status' own text */
    const char *field; /* the specification's name of the field, NULL if none */
    uint64_t value;    /* the field's value, if has_value */
    uint64_t limit;    /* what it had to keep to, if has_limit */
    uint64_t offset;   /* bytes into file, if has_offset */
    bool has_value, has_limit, has_offset;
    char file[Q2_FAULT_FILE_SIZE];
    char detail[Q2_FAULT_DETAIL_SIZE];
};

/* The name of a status as it stands in the enum ("Q2_ERR_IO"); never NULL. */
const char *q2_status_name(enum q2_status status);

/* What a status means, in a few words without a full stop ("the file cannot be read"); never NULL.
 */
const char *q2_status_text(enum q2_status status);

/* What a person can do about it, a sentence without a full stop, or "" if there is nothing to add.
 */
const char *q2_status_advice(enum q2_status status);

/* Write a fault as one line of printable UTF-8, without a line feed:
 *
 *     FILE: WHAT (FIELD is VALUE, limit LIMIT), at offset 0xOFFSET; ADVICE
 *
 * Parts that the fault does not have are left out. Of file and detail, printable characters are
 * written as they are, and every other byte and the backslash as \xNN (q2_line_put_escaped()).
 *
 * fault   status must not be Q2_OK
 * buffer  size bytes, size >= 1; always NUL-terminated, cut when too small
 * returns the length of the whole line, without the NUL, as if the buffer were large enough
 */
size_t q2_fault_format(const struct q2_fault *fault, char *buffer, size_t size);

#endif
