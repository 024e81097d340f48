/* What a file is by its first bytes.
 *
 * May call the source and core/base/foreign.c. Invariant: at most PROBE_SIZE bytes are read.
 */
#include "probe.h"

#include <string.h>

#include "q2_foreign.h"

#define QCOW_MAGIC "QFI\xfb"

#define ROW(offset, bytes, length, name)                                                           \
    name ", which metalcow does not read; '-f raw' takes its bytes as they are",

/* What a person is told of each format. */
static const char *const names[] = {Q2_FOREIGN_FORMATS(ROW)};
_Static_assert(PROBE_SIZE >= Q2_FOREIGN_SIZE, "every row can be compared");

enum probed probe_bytes(const uint8_t *bytes, size_t length, const char **ret_name)
{
    size_t row = q2_foreign_find(bytes, length);

    if (row < Q2_NB_FOREIGN) {
        *ret_name = names[row];
        return PROBED_FOREIGN;
    }
    return length >= 4 && memcmp(bytes, QCOW_MAGIC, 4) == 0 ? PROBED_QCOW2 : PROBED_RAW;
}

enum probed probe_file(struct q2_source *source, const char **ret_name)
{
    uint8_t bytes[PROBE_SIZE] = {0};
    size_t length = source->size < PROBE_SIZE ? (size_t)source->size : PROBE_SIZE;

    if (length == 0 || source->ops->read_at(source, 0, bytes, length) != Q2_OK)
        return PROBED_RAW;
    return probe_bytes(bytes, length, ret_name);
}
