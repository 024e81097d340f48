/* The opener: how the engine gets the files that an image names (backing file, data file).
 *
 * The engine calls it in q2_disk_open() and q2_disk_close() only, never in a read or write.
 * Implemented by drivers/posix/opener.c, by efi/image/opener.c over a place, and by
 * tools/handoff/open.c over the files of a record. The opener holds no policy:
 * core/read/name_gate.c has judged the name and joined it to the image's folder before (DESIGN.md,
 * 3.8).
 */
#ifndef Q2_OPENER_H
#define Q2_OPENER_H

#include <stdbool.h>

#include "q2_source.h"
#include "q2_status.h"

struct q2_opener;

struct q2_opener_ops {
    /* Open a file by path.
     *
     * path      UTF-8, '/' between components, NUL-terminated; in firmware absolute on the image's
     *           own volume ("/img/base.raw"), on the host as a user would type it
     * writable  open for writing; false: a source whose writable is false
     * ret_source  set only on Q2_OK; the opener owns it until close()
     *
     * Q2_ERR_NOT_FOUND  no such file
     * Q2_ERR_DENIED     not readable by this user
     * Q2_ERR_NOT_A_FILE a directory, a pipe, a device that the opener does not allow
     * Q2_ERR_READ_ONLY  writable was asked for and the file or volume is not
     * Q2_ERR_BUSY       another program writes it, or relies on it
     * Q2_ERR_BAD_NAME   no path that the system takes
     * Q2_ERR_LIMIT      no room for another open file
     * Q2_ERR_IO, Q2_ERR_NO_MEDIA, Q2_ERR_MEDIA_CHANGED   the device failed
     */
    enum q2_status (*open)(struct q2_opener *opener, const char *path, bool writable,
                           struct q2_source **ret_source);

    /* Give a source back. It must come from this opener's open(). Cannot fail. */
    void (*close)(struct q2_opener *opener, struct q2_source *source);
};

struct q2_opener {
    const struct q2_opener_ops *ops;
};

#endif
