/* All attached disks.
 *
 * Below binding.c and control.c; calls attach.c and publish.c. Invariants: a disk in the list is
 * published; a volume in the list is open BY_DRIVER; every disk's volume is in the list.
 */
#include "registry.h"

#include "device_path.h"
#include "fail.h"
#include "firmware.h"

/* A volume that is open BY_DRIVER. */
struct host {
    struct host *next;
    EFI_HANDLE volume;
    unsigned int nb_disks;
    bool keep; /* between Start and Stop */
};

static struct {
    EFI_HANDLE agent;
    struct mc_disk *disks;
    struct host *hosts;
    uint32_t next_number;
} registry;

void mc_registry_init(EFI_HANDLE agent)
{
    registry.agent = agent;
}

static struct host *find_host(EFI_HANDLE volume)
{
    struct host *host = registry.hosts;

    while (host && host->volume != volume)
        host = host->next;
    return host;
}

bool mc_registry_holds(EFI_HANDLE volume)
{
    return find_host(volume) != NULL;
}

bool mc_registry_last_volume(EFI_HANDLE *ret_volume)
{
    if (!registry.hosts)
        return false;
    *ret_volume = registry.hosts->volume; /* the list has the newest first */
    return true;
}

/* Open a volume BY_DRIVER, so that nobody takes it away without asking. */
static EFI_STATUS add_host(EFI_HANDLE volume, struct host **ret_host)
{
    struct host *host = mc_alloc(sizeof(*host));
    void *interface;
    EFI_STATUS status;

    if (!host)
        return EFI_OUT_OF_RESOURCES;
    status =
        mc_firmware.BootServices->OpenProtocol(volume, &mc_file_system_guid, &interface,
                                               registry.agent, volume, EFI_OPEN_PROTOCOL_BY_DRIVER);
    if (EFI_ERROR(status)) {
        mc_free(host);
        return status;
    }
    *host = (struct host){.next = registry.hosts, .volume = volume};
    registry.hosts = host;
    *ret_host = host;
    return EFI_SUCCESS;
}

static void remove_host(struct host *host)
{
    struct host **link = &registry.hosts;

    while (*link != host)
        link = &(*link)->next;
    *link = host->next;
    (void)mc_firmware.BootServices->CloseProtocol(host->volume, &mc_file_system_guid,
                                                  registry.agent, host->volume);
    mc_free(host);
}

static void remove_host_if_unused(struct host *host)
{
    if (host->nb_disks == 0 && !host->keep)
        remove_host(host);
}

EFI_STATUS mc_registry_keep(EFI_HANDLE volume)
{
    struct host *host;
    EFI_STATUS status;

    if (find_host(volume))
        return EFI_ALREADY_STARTED;
    status = add_host(volume, &host);
    if (!EFI_ERROR(status))
        host->keep = true;
    return status;
}

void mc_registry_release(EFI_HANDLE volume)
{
    struct host *host = find_host(volume);

    if (!host)
        return;
    host->keep = false;
    remove_host_if_unused(host);
}

struct mc_disk *mc_registry_first(void)
{
    return registry.disks;
}

struct mc_disk *mc_registry_find_number(uint32_t number)
{
    struct mc_disk *disk = registry.disks;

    while (disk && disk->number != number)
        disk = disk->next;
    return disk;
}

struct mc_disk *mc_registry_find_handle(EFI_HANDLE handle)
{
    struct mc_disk *disk = registry.disks;

    while (disk && disk->published.handle != handle)
        disk = disk->next;
    return disk;
}

struct mc_disk *mc_registry_find_volume(EFI_HANDLE volume)
{
    struct mc_disk *disk = registry.disks;

    while (disk && disk->published.volume != volume)
        disk = disk->next;
    return disk;
}

/* The lowest number that no other disk of this image has: what keeps device paths apart, and the
 * same over reboots. */
static unsigned int free_instance(const struct mc_image *image)
{
    unsigned int instance = 0;
    EFI_DEVICE_PATH *volume = mc_protocol(image->volume.handle, &mc_device_path_guid);
    EFI_DEVICE_PATH *path;
    bool taken = true;

    while (volume && taken && instance < 255) {
        path = mc_device_path_disk(volume, image->file->path, instance);
        if (!path)
            break;
        taken = false;
        for (struct mc_disk *disk = registry.disks; disk && !taken; disk = disk->next)
            taken = mc_device_path_below(disk->published.device_path, path);
        mc_free(path);
        instance += taken ? 1 : 0;
    }
    return instance;
}

static enum q2_status check_depth(EFI_HANDLE volume, const char *path, struct q2_fault *fault)
{
    const EFI_DEVICE_PATH *device_path = mc_protocol(volume, &mc_device_path_guid);

    if (!device_path || mc_device_path_depth(device_path) < MC_MAX_DEPTH)
        return Q2_OK;
    return mc_fail(fault, Q2_ERR_LIMIT, "too many images inside images", path);
}

static enum q2_status open_image(struct mc_disk *disk, EFI_HANDLE volume,
                                 const struct mc_attach_options *options, struct q2_fault *fault)
{
    const char *title = options->title ? options->title : options->image;
    enum q2_status status = mc_image_open(volume, options, false, fault, &disk->image);

    if (status != Q2_OK)
        return status;
    status = mc_image_check_files(disk->image, fault);
    (void)mc_text_copy(disk->title, sizeof(disk->title), title);
    disk->name = mc_to_ucs2(disk->title);
    return status;
}

static void free_disk(struct mc_disk *disk)
{
    if (disk->image)
        mc_image_close(disk->image);
    mc_free(disk->name);
    mc_free(disk);
}

static void append_disk(struct mc_disk *disk, struct host *host)
{
    struct mc_disk **link = &registry.disks;

    while (*link)
        link = &(*link)->next;
    *link = disk;
    host->nb_disks++;
}

/* Open and publish on a volume that is held. */
static enum q2_status attach_on(struct host *host, const struct mc_attach_options *options,
                                struct q2_fault *fault, struct mc_disk **ret_disk)
{
    struct mc_disk *disk = mc_alloc(sizeof(*disk));
    enum q2_status status;

    if (!disk)
        return mc_fail_memory(fault);
    disk->number = registry.next_number;
    status = open_image(disk, host->volume, options, fault);
    if (status == Q2_OK)
        status = mc_publish(&disk->published, disk->image, registry.agent,
                            free_instance(disk->image), disk->number + 1, fault);
    if (status != Q2_OK) {
        free_disk(disk);
        return status;
    }
    registry.next_number++;
    append_disk(disk, host);
    *ret_disk = disk;
    return Q2_OK;
}

enum q2_status mc_registry_attach(EFI_HANDLE volume, const struct mc_attach_options *options,
                                  struct q2_fault *fault, struct mc_disk **ret_disk)
{
    struct host *host = find_host(volume);
    enum q2_status status = check_depth(volume, options->image, fault);

    if (status != Q2_OK)
        return status;
    /* Read-only instead would surprise whoever counts on what was written. */
    if (options->mode == MC_MODE_READ_WRITE)
        return mc_fail(fault, Q2_ERR_UNSUPPORTED,
                       "images cannot be written so far; say 'mode ro' or 'mode overlay'",
                       options->image);
    if (!host && EFI_ERROR(add_host(volume, &host)))
        return mc_fail(fault, Q2_ERR_BUSY, "another driver holds the image's volume",
                       options->image);
    status = attach_on(host, options, fault, ret_disk);
    remove_host_if_unused(host);
    return status;
}

EFI_STATUS mc_registry_detach(struct mc_disk *disk)
{
    struct mc_disk **link = &registry.disks;
    struct host *host = find_host(disk->published.volume);
    EFI_STATUS status = mc_unpublish(&disk->published);

    if (EFI_ERROR(status))
        return status;
    while (*link != disk)
        link = &(*link)->next;
    *link = disk->next;
    free_disk(disk);
    host->nb_disks--;
    remove_host_if_unused(host);
    return EFI_SUCCESS;
}
