/* What a file is by its first bytes. */
#ifndef METALCOW_PROBE_H
#define METALCOW_PROBE_H

#include "q2_source.h"

/* As many bytes as QEMU looks at when it guards a raw image. */
#define PROBE_SIZE 512u

enum probed {
    PROBED_RAW, /* nothing that is known */
    PROBED_QCOW2,
    PROBED_FOREIGN,
};

/* Judge the first length bytes of a file, length <= PROBE_SIZE.
 *
 * ret_name  FOREIGN: static text that says what it is; else untouched
 */
enum probed probe_bytes(const uint8_t *bytes, size_t length, const char **ret_name);

/* The same, of a file. A file that cannot be read is raw: whoever uses it will say what is wrong.
 */
enum probed probe_file(struct q2_source *source, const char **ret_name);

#endif
