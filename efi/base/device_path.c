/* Device paths.
 *
 * May call the pool. Invariant: a path that is returned ends in an end node.
 */
#include "device_path.h"

#include "firmware.h"
#include "text.h"

/* Our vendor node.  (UEFI 2.10, 10.3.5.3 "Vendor-Defined Media Device Path") */
struct disk_node {
    VENDOR_DEVICE_PATH vendor;
    UINT8 instance;
};
#define DISK_NODE_SIZE (offsetof(struct disk_node, instance) + 1)

size_t mc_device_path_size(const EFI_DEVICE_PATH *path)
{
    const EFI_DEVICE_PATH *node = path;

    while (!IsDevicePathEnd(node))
        node = NextDevicePathNode(node);
    return (size_t)((const UINT8 *)node - (const UINT8 *)path) + END_DEVICE_PATH_LENGTH;
}

/* Append a node of size bytes at *at. */
static void append_node(UINT8 **at, UINT8 type, UINT8 subtype, size_t size)
{
    EFI_DEVICE_PATH *node = (EFI_DEVICE_PATH *)(void *)*at;

    node->Type = type;
    node->SubType = subtype;
    SetDevicePathNodeLength(node, size);
    *at += size;
}

/* Append a file path node; *at has room for it. Its components are separated by '\'. */
static void append_file(UINT8 **at, const CHAR16 *name, size_t nb_units)
{
    size_t size = END_DEVICE_PATH_LENGTH + nb_units * sizeof(CHAR16);
    UINT8 *bytes = *at + END_DEVICE_PATH_LENGTH;

    append_node(at, MEDIA_DEVICE_PATH, MEDIA_FILEPATH_DP, size);
    for (size_t i = 0; i < nb_units; i++) {
        CHAR16 c = name[i] == '/' ? (CHAR16)'\\' : name[i];
        bytes[2 * i] = (UINT8)c;
        bytes[2 * i + 1] = (UINT8)(c >> 8);
    }
}

/* Nodes may start at any address, so the fields after the header are copied as bytes. */
static void append_disk(UINT8 **at, unsigned int instance)
{
    UINT8 *node = *at;

    append_node(at, MEDIA_DEVICE_PATH, MEDIA_VENDOR_DP, DISK_NODE_SIZE);
    __builtin_memcpy(node + offsetof(struct disk_node, vendor.Guid), &mc_disk_guid,
                     sizeof(mc_disk_guid));
    node[offsetof(struct disk_node, instance)] = (UINT8)instance;
}

static EFI_DEVICE_PATH *make_path(const EFI_DEVICE_PATH *volume, const char *file, bool is_disk,
                                  unsigned int instance)
{
    size_t volume_size = mc_device_path_size(volume) - END_DEVICE_PATH_LENGTH;
    CHAR16 *name = mc_to_ucs2(file);
    size_t nb_units = 1;
    UINT8 *path = NULL, *at;

    if (!name)
        return NULL;
    for (const CHAR16 *c = name; *c != 0; c++)
        nb_units++;
    /* A node's length has 16 bits. */
    if (nb_units < 32000)
        path = mc_alloc(volume_size + 2 * END_DEVICE_PATH_LENGTH + nb_units * sizeof(CHAR16) +
                        sizeof(struct disk_node));
    if (path) {
        __builtin_memcpy(path, volume, volume_size);
        at = path + volume_size;
        append_file(&at, name, nb_units);
        if (is_disk)
            append_disk(&at, instance);
        append_node(&at, END_DEVICE_PATH_TYPE, END_ENTIRE_DEVICE_PATH_SUBTYPE,
                    END_DEVICE_PATH_LENGTH);
    }
    mc_free(name);
    return (EFI_DEVICE_PATH *)(void *)path;
}

EFI_DEVICE_PATH *mc_device_path_file(const EFI_DEVICE_PATH *volume, const char *file)
{
    return make_path(volume, file, false, 0);
}

EFI_DEVICE_PATH *mc_device_path_disk(const EFI_DEVICE_PATH *volume, const char *image,
                                     unsigned int instance)
{
    return make_path(volume, image, true, instance);
}

static bool is_disk_node(const EFI_DEVICE_PATH *node)
{
    return DevicePathType(node) == MEDIA_DEVICE_PATH &&
           DevicePathSubType(node) == MEDIA_VENDOR_DP &&
           DevicePathNodeLength(node) == DISK_NODE_SIZE &&
           __builtin_memcmp((const UINT8 *)node + offsetof(VENDOR_DEVICE_PATH, Guid), &mc_disk_guid,
                            sizeof(mc_disk_guid)) == 0;
}

size_t mc_device_path_child_size(const EFI_DEVICE_PATH *path)
{
    const EFI_DEVICE_PATH *next;

    if (DevicePathType(path) != MEDIA_DEVICE_PATH || DevicePathSubType(path) != MEDIA_FILEPATH_DP ||
        (size_t)DevicePathNodeLength(path) <= END_DEVICE_PATH_LENGTH)
        return 0;
    next = NextDevicePathNode(path);
    return is_disk_node(next) ? (size_t)DevicePathNodeLength(path) + DISK_NODE_SIZE : 0;
}

bool mc_device_path_is_child(const EFI_DEVICE_PATH *volume, const EFI_DEVICE_PATH *disk,
                             const EFI_DEVICE_PATH *remaining)
{
    size_t prefix = mc_device_path_size(volume) - END_DEVICE_PATH_LENGTH;
    size_t size = mc_device_path_child_size(remaining);

    return size > 0 && mc_device_path_below(volume, disk) &&
           mc_device_path_size(disk) - END_DEVICE_PATH_LENGTH == prefix + size &&
           __builtin_memcmp((const UINT8 *)disk + prefix, remaining, size) == 0;
}

unsigned int mc_device_path_depth(const EFI_DEVICE_PATH *path)
{
    unsigned int depth = 0;

    for (; !IsDevicePathEnd(path); path = NextDevicePathNode(path))
        depth += is_disk_node(path) ? 1 : 0;
    return depth;
}

bool mc_device_path_below(const EFI_DEVICE_PATH *device, const EFI_DEVICE_PATH *path)
{
    size_t prefix = mc_device_path_size(device) - END_DEVICE_PATH_LENGTH;

    return mc_device_path_size(path) - END_DEVICE_PATH_LENGTH >= prefix &&
           __builtin_memcmp(device, path, prefix) == 0;
}

/* Copy the name in a file path node up to its NUL. Returns its units of UCS-2. */
static size_t take_name(const EFI_DEVICE_PATH *node, CHAR16 *to)
{
    const UINT8 *bytes = (const UINT8 *)node + END_DEVICE_PATH_LENGTH;
    size_t nb_units = (DevicePathNodeLength(node) - END_DEVICE_PATH_LENGTH) / sizeof(CHAR16);
    size_t n = 0;

    for (; n < nb_units; n++) {
        to[n] = (CHAR16)(bytes[2 * n] | bytes[2 * n + 1] << 8);
        if (to[n] == 0)
            break;
    }
    return n;
}

char *mc_device_path_to_file(const EFI_DEVICE_PATH *node)
{
    size_t size = mc_device_path_size(node);
    CHAR16 *joined = mc_alloc(size + sizeof(CHAR16));
    char *utf8 = NULL, *clean = NULL;
    size_t n = 0;

    if (!joined)
        return NULL;
    for (; !IsDevicePathEnd(node); node = NextDevicePathNode(node)) {
        if (DevicePathType(node) != MEDIA_DEVICE_PATH ||
            DevicePathSubType(node) != MEDIA_FILEPATH_DP)
            goto free_joined;
        joined[n++] = '/'; /* fits: a node's header has 4 bytes */
        n += take_name(node, joined + n);
    }
    joined[n] = 0;
    utf8 = mc_to_utf8(joined);
    if (utf8)
        clean = mc_alloc(q2_text_length(utf8) + 2);
    if (clean && !mc_path_clean(utf8, clean, q2_text_length(utf8) + 2)) {
        mc_free(clean);
        clean = NULL;
    }
    mc_free(utf8);
free_joined:
    mc_free(joined);
    return clean;
}
