/* Texts of statuses and faults.
 *
 * Beside the data path: called by whoever shows an error to a person, and by core/ to fill faults.
 * Pure functions on memory; may call line.c. Invariant: output is printable whatever the image
 * held.
 */
#include "q2_fail.h"
#include "q2_line.h"
#include "q2_status.h"

struct status_row {
    const char *name, *text, *advice;
};

#define ROW(status, text, advice) [status] = {#status, text, advice}

/* One row per status: what it means, and what a person can do about it. */
static const struct status_row status_rows[] = {
    ROW(Q2_OK, "no error", ""),
    ROW(Q2_ERR_ARGUMENT, "invalid argument", ""),
    ROW(Q2_ERR_RANGE, "the range is not inside the disk", ""),
    ROW(Q2_ERR_READ_ONLY, "the file can only be read", ""),
    ROW(Q2_ERR_NO_SNAPSHOT, "no snapshot has this id or name",
        "list them with 'metalcow snapshot -l'"),
    ROW(Q2_ERR_DATA_FILE_UNEXPECTED,
        "a data file was given, but the image has no external data file", "leave out 'data-file'"),
    ROW(Q2_ERR_BACKING_FILE_UNEXPECTED, "a backing file was given, but the image has none",
        "leave out 'backing-file'"),
    ROW(Q2_ERR_NOT_OPEN, "only the metadata was opened", ""),
    ROW(Q2_ERR_BAD_MAGIC, "not a qcow2 image", "a raw image must be named as such"),
    ROW(Q2_ERR_BAD_HEADER, "the header breaks the specification", "restore the image from a copy"),
    ROW(Q2_ERR_BAD_EXTENSION, "a header extension breaks the specification",
        "restore the image from a copy"),
    ROW(Q2_ERR_BAD_L1, "an L1 entry breaks the specification", "run 'metalcow check' on the image"),
    ROW(Q2_ERR_BAD_L2, "an L2 entry breaks the specification", "run 'metalcow check' on the image"),
    ROW(Q2_ERR_BAD_REFCOUNT, "the refcount structure breaks the specification",
        "run 'metalcow check' on the image"),
    ROW(Q2_ERR_BAD_SNAPSHOT, "the snapshot table breaks the specification",
        "run 'metalcow check' on the image"),
    ROW(Q2_ERR_BAD_BITMAP, "the bitmap directory breaks the specification",
        "run 'metalcow check' on the image"),
    ROW(Q2_ERR_BAD_COMPRESSED, "a compressed cluster does not decode to exactly one cluster",
        "restore the image from a copy"),
    ROW(Q2_ERR_BAD_NAME, "the file name in the image is not usable", "name the file yourself"),
    ROW(Q2_ERR_TRUNCATED, "the file ends before data that the image names",
        "copy the file again if its original is longer, else restore it"),
    ROW(Q2_ERR_CHAIN_LOOP, "a file occurs twice in the image's chain",
        "give each image files of its own"),
    ROW(Q2_ERR_VERSION, "the qcow2 version is not supported", "versions 2 and 3 are"),
    ROW(Q2_ERR_FEATURE, "the image has an incompatible feature that is not supported",
        "convert the image without it"),
    ROW(Q2_ERR_UNSUPPORTED, "not supported", ""),
    ROW(Q2_ERR_LIMIT, "over a limit", ""),
    ROW(Q2_ERR_ENCRYPTED, "the image is encrypted and no key fits", ""),
    ROW(Q2_ERR_CORRUPT, "the image is marked corrupt and can only be read",
        "repair it with 'metalcow check -r all'"),
    ROW(Q2_ERR_NAME_DENIED, "the image names a file that must not be opened",
        "allow more names with 'names', or give the file yourself with 'backing-file' or "
        "'data-file'"),
    ROW(Q2_ERR_DATA_FILE_REQUIRED, "the image has an external data file but does not say which",
        "name it with 'data-file'"),
    ROW(Q2_ERR_BACKING_FORMAT, "the backing file has no format in the image",
        "say it with 'backing-format', or store it with 'metalcow rebase -u -b FILE -F FMT'"),
    ROW(Q2_ERR_IO, "the file cannot be read or written", ""),
    ROW(Q2_ERR_NOT_FOUND, "the file does not exist", ""),
    ROW(Q2_ERR_DENIED, "permission denied", ""),
    ROW(Q2_ERR_NOT_A_FILE, "not a file", ""),
    ROW(Q2_ERR_EXISTS, "the file exists already", ""),
    ROW(Q2_ERR_NO_SPACE, "no space left", "free some space"),
    ROW(Q2_ERR_NO_MEDIA, "the medium is gone", ""),
    ROW(Q2_ERR_MEDIA_CHANGED, "another medium is in the drive", "attach the image again"),
    ROW(Q2_ERR_BUSY, "the file is in use", "close the program or machine that has it open"),
    ROW(Q2_ERR_BAD_VOLUME, "the file system of the volume is damaged",
        "check the volume with 'fsck.fat' or 'chkdsk'"),
    ROW(Q2_ERR_UNTRUSTED, "Secure Boot does not allow the program",
        "sign it with a key that this machine trusts, or switch Secure Boot off"),
};
_Static_assert(sizeof(status_rows) / sizeof(status_rows[0]) == Q2_NB_STATUS, "one row per status");

static const struct status_row *row_of(enum q2_status status)
{
    static const struct status_row unknown = {"Q2_ERR_?", "unknown error", ""};

    return (unsigned)status < Q2_NB_STATUS ? &status_rows[status] : &unknown;
}

const char *q2_status_name(enum q2_status status)
{
    return row_of(status)->name;
}

const char *q2_status_text(enum q2_status status)
{
    return row_of(status)->text;
}

const char *q2_status_advice(enum q2_status status)
{
    return row_of(status)->advice;
}

/* Offsets and bit masks read best in hexadecimal, counts in decimal: small numbers are counts. */
static void put_value(struct q2_line *line, uint64_t value)
{
    if (value < 65536) {
        q2_line_put_number(line, value, 10);
    } else {
        q2_line_put(line, "0x");
        q2_line_put_number(line, value, 16);
    }
}

static void put_field(struct q2_line *line, const struct q2_fault *fault)
{
    if (!fault->field)
        return;
    q2_line_put(line, " (");
    q2_line_put(line, fault->field);
    if (fault->has_value) {
        q2_line_put(line, " is ");
        put_value(line, fault->value);
    }
    if (fault->has_limit) {
        q2_line_put(line, ", limit ");
        put_value(line, fault->limit);
    }
    q2_line_put(line, ")");
}

/* A text with a semicolon brings an advice of its own, which fits better than the status's. */
static bool has_advice(const struct q2_fault *fault)
{
    const char *c = fault->what ? fault->what : "";

    while (*c != '\0' && *c != ';')
        c++;
    return *c == ';';
}

size_t q2_fault_format(const struct q2_fault *fault, char *buffer, size_t size)
{
    struct q2_line line = q2_line_start(buffer, size);
    const struct status_row *row = row_of(fault->status);

    if (fault->file[0] != '\0') {
        q2_line_put_escaped(&line, fault->file);
        q2_line_put(&line, ": ");
    }
    q2_line_put(&line, fault->what ? fault->what : row->text);
    if (fault->detail[0] != '\0') {
        q2_line_put(&line, ": '");
        q2_line_put_escaped(&line, fault->detail);
        q2_line_put(&line, "'");
    }
    put_field(&line, fault);
    if (fault->has_offset) {
        q2_line_put(&line, ", at offset 0x");
        q2_line_put_number(&line, fault->offset, 16);
    }
    if (row->advice[0] != '\0' && !has_advice(fault)) {
        q2_line_put(&line, "; ");
        q2_line_put(&line, row->advice);
    }
    return line.length;
}

enum q2_status q2_fail(struct q2_fault *fault, enum q2_status status, const char *what,
                       const char *path)
{
    *fault = (struct q2_fault){.status = status, .what = what};
    if (path) {
        for (size_t i = 0; i < sizeof(fault->file) - 1 && path[i] != '\0'; i++)
            fault->file[i] = path[i];
    }
    return status;
}

enum q2_status q2_fail_at(struct q2_fault *fault, enum q2_status status, const char *what,
                          const char *path, uint64_t offset)
{
    (void)q2_fail(fault, status, what, path);
    fault->has_offset = true;
    fault->offset = offset;
    return status;
}

enum q2_status q2_fail_value(struct q2_fault *fault, enum q2_status status, const char *what,
                             const char *path, const char *field, uint64_t value)
{
    (void)q2_fail(fault, status, what, path);
    fault->field = field;
    fault->has_value = true;
    fault->value = value;
    return status;
}

enum q2_status q2_fail_limit(struct q2_fault *fault, enum q2_status status, const char *what,
                             const char *path, const char *field, uint64_t value, uint64_t limit)
{
    (void)q2_fail_value(fault, status, what, path, field, value);
    fault->has_limit = true;
    fault->limit = limit;
    return status;
}

enum q2_status q2_fail_memory(struct q2_fault *fault)
{
    return q2_fail(fault, Q2_ERR_LIMIT, "out of memory", NULL);
}

void q2_fault_add_detail(struct q2_fault *fault, const void *bytes, size_t length)
{
    const char *from = bytes;

    for (size_t i = 0; i < sizeof(fault->detail) - 1 && i < length; i++)
        fault->detail[i] = from[i];
}
