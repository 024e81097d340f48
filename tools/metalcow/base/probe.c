/* What a file is by its first bytes. May call the source. */
#include "probe.h"

#include <string.h>

#define QCOW_MAGIC "QFI\xfb"

#define FOREIGN(name) name ", which metalcow does not read; '-f raw' takes its bytes as they are"

/* Formats that metalcow does not read, by bytes that their files begin with. */
static const struct {
    size_t offset;
    const char *bytes;
    size_t length;
    const char *name; /* what a person is told */
} rows[] = {
    {0, QCOW_MAGIC "\0\0\0\1", 8, FOREIGN("a qcow image of version 1")},
    {0, "QED\0", 4, FOREIGN("a QED image")},
    {0, "KDMV", 4, FOREIGN("a VMDK image")},
    {0, "COWD", 4, FOREIGN("a VMDK image")},
    {0, "# Disk Descriptor", 17, FOREIGN("the descriptor of a VMDK image")},
    {64, "\x7f\x10\xda\xbe", 4, FOREIGN("a VDI image")},
    {0, "conectix", 8, FOREIGN("a VHD image")},
    {0, "vhdxfile", 8, FOREIGN("a VHDX image")},
    {0, "LUKS\xba\xbe", 6, FOREIGN("a LUKS container")},
    {0, "WithoutFreeSpace", 16, FOREIGN("a Parallels image")},
    {0, "WithouFreSpacExt", 16, FOREIGN("a Parallels image")},
};

enum probed probe_bytes(const uint8_t *bytes, size_t length, const char **ret_name)
{
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        if (rows[i].offset + rows[i].length <= length &&
            memcmp(bytes + rows[i].offset, rows[i].bytes, rows[i].length) == 0) {
            *ret_name = rows[i].name;
            return PROBED_FOREIGN;
        }
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
