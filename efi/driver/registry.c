/* All attached disks.
 *
 * May call attach.c and publish.c. Invariants: a disk in the list has an open image, and its state
 * says whether it is published; a volume in the list is open BY_DRIVER, or is_opening says that it
 * will be; every disk's volume is in the list.
 */
#include "registry.h"

#include "efi/base/console.h"
#include "efi/base/device_path.h"
#include "q2_fail.h"
#include "efi/base/text.h"
#include "efi/base/firmware.h"
#include "efi/place/place.h"
#include "efi/image/room.h"

/* A volume that is open BY_DRIVER. */
struct host {
    struct host *next;
    EFI_HANDLE volume;
    EFI_GUID *held;        /* the protocol that is open */
    unsigned int nb_disks; /* with one that is on its way in or out: it needs the volume too */
    bool keep;             /* between Start and Stop */
    bool is_starting;      /* Start() is attaching its entries */
    bool is_opening;       /* OpenProtocol() has not returned yet */
    bool is_changing;      /* a disk on it is on its way in or out: its files have no owner that can
                              be asked, so no other disk is attached meanwhile */
    bool is_held_still;    /* its files are looked at: no disk of it goes either */
    struct mc_said said;   /* by Start() */
    struct mc_said *outer; /* what filtered messages before Start() */
};

static struct {
    EFI_HANDLE agent;
    struct mc_disk *disks;
    struct host *hosts;
    uint32_t next_number;
    bool is_suspended; /* disks are away, or on their way */
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

static void unlink_host(struct host *host)
{
    struct host **link = &registry.hosts;

    while (*link != host)
        link = &(*link)->next;
    *link = host->next;
}

/* Open a volume BY_DRIVER, so that nobody takes it away without asking. It is in the list before
 * that, so that a call from inside OpenProtocol() finds it. */
static EFI_STATUS add_host(EFI_HANDLE volume, struct host **ret_host)
{
    EFI_GUID *held = mc_place_held(volume);
    struct host *host = held ? mc_alloc(sizeof(*host)) : NULL;
    void *interface;
    EFI_STATUS status;

    if (!host)
        return held ? EFI_OUT_OF_RESOURCES : EFI_UNSUPPORTED;
    if (find_host(volume)) { /* from inside of the calls above */
        mc_free(host);
        return EFI_ALREADY_STARTED;
    }
    *host =
        (struct host){.next = registry.hosts, .volume = volume, .held = held, .is_opening = true};
    registry.hosts = host;
    status = mc_firmware.BootServices->OpenProtocol(volume, held, &interface, registry.agent,
                                                    volume, EFI_OPEN_PROTOCOL_BY_DRIVER);
    host->is_opening = false;
    if (EFI_ERROR(status)) {
        unlink_host(host);
        mc_free(host);
        return status;
    }
    *ret_host = host;
    return EFI_SUCCESS;
}

static void remove_host(struct host *host)
{
    unlink_host(host);
    (void)mc_firmware.BootServices->CloseProtocol(host->volume, host->held, registry.agent,
                                                  host->volume);
    mc_free(host);
}

static void remove_host_if_unused(struct host *host)
{
    if (host->nb_disks == 0 && !host->keep && !host->is_changing)
        remove_host(host);
}

EFI_STATUS mc_registry_keep(EFI_HANDLE volume, bool *ret_was_kept)
{
    struct host *host = find_host(volume);
    EFI_STATUS status = EFI_SUCCESS;

    if (registry.is_suspended)
        return EFI_ACCESS_DENIED;
    if (host && (host->is_opening || host->is_starting || host->is_changing))
        return EFI_ALREADY_STARTED;
    if (!host)
        status = add_host(volume, &host);
    if (EFI_ERROR(status))
        return status;
    *ret_was_kept = host->keep;
    host->keep = host->is_starting = true;
    host->outer = mc_say_new(&host->said);
    return EFI_SUCCESS;
}

void mc_registry_started(EFI_HANDLE volume)
{
    struct host *host = find_host(volume);

    if (!host)
        return;
    host->is_starting = false;
    (void)mc_say_new(host->outer);
}

bool mc_registry_uses(const uint64_t identity[2])
{
    const struct mc_disk *disk = registry.disks;

    for (; disk; disk = disk->next) {
        const struct q2_place_file *file = disk->image->opener.files;
        for (; file; file = file->next) {
            if (q2_same_identity(file->source->identity, identity))
                return true;
        }
    }
    return false;
}

bool mc_registry_hold_still(EFI_HANDLE volume)
{
    struct host *host = find_host(volume);

    if (!host || registry.is_suspended || host->is_opening || host->is_changing)
        return false;
    host->is_changing = host->is_held_still = true;
    return true;
}

void mc_registry_let_go(EFI_HANDLE volume)
{
    struct host *host = find_host(volume);

    host->is_changing = host->is_held_still = false;
    remove_host_if_unused(host);
}

EFI_STATUS mc_registry_release(EFI_HANDLE volume)
{
    struct host *host = find_host(volume);

    if (!host)
        return EFI_SUCCESS;
    if (host->nb_disks > 0 || host->is_opening || host->is_starting || host->is_changing)
        return EFI_DEVICE_ERROR;
    host->keep = false;
    remove_host(host);
    return EFI_SUCCESS;
}

static struct mc_disk *present(struct mc_disk *disk)
{
    while (disk && disk->state != MC_DISK_PRESENT)
        disk = disk->next;
    return disk;
}

struct mc_disk *mc_registry_first(void)
{
    return present(registry.disks);
}

struct mc_disk *mc_registry_next(const struct mc_disk *disk)
{
    return present(disk->next);
}

struct mc_disk *mc_registry_find_number(uint32_t number)
{
    struct mc_disk *disk = mc_registry_first();

    while (disk && disk->number != number)
        disk = mc_registry_next(disk);
    return disk;
}

/* In any state: who names the handle of a disk that is leaving must be refused, not be told that
 * there is none. */
struct mc_disk *mc_registry_find_handle(EFI_HANDLE handle)
{
    struct mc_disk *disk = handle ? registry.disks : NULL;

    while (disk && disk->published.handle != handle)
        disk = disk->next;
    return disk;
}

bool mc_registry_has_entry(EFI_HANDLE volume, const char *id)
{
    struct mc_disk *disk = registry.disks;

    while (disk &&
           !(disk->image->volume == volume && disk->entry && mc_text_equal(disk->entry, id)))
        disk = disk->next;
    return disk != NULL;
}

bool mc_registry_has_child(EFI_HANDLE volume, const EFI_DEVICE_PATH *remaining)
{
    const EFI_DEVICE_PATH *path = mc_protocol(volume, &mc_device_path_guid);

    for (const struct mc_disk *disk = path ? registry.disks : NULL; disk; disk = disk->next) {
        const EFI_DEVICE_PATH *own = disk->published.device_path;
        if (own && disk->image->volume == volume && mc_device_path_is_child(path, own, remaining))
            return true;
    }
    return false;
}

static bool is_taken(const struct mc_image *image, const EFI_DEVICE_PATH *volume,
                     unsigned int instance)
{
    EFI_DEVICE_PATH *path = mc_device_path_disk(volume, image->file->source->path, instance);
    bool taken = false;

    for (struct mc_disk *disk = registry.disks; path && disk && !taken; disk = disk->next)
        taken =
            disk->published.device_path && mc_device_path_below(disk->published.device_path, path);
    mc_free(path);
    return taken;
}

/* The instance number makes the device paths of one image differ, and stay the same over reboots:
 * the entry's own number, or the lowest one that no other disk of this image has. */
static unsigned int free_instance(const struct mc_image *image, const struct mc_origin *origin)
{
    const EFI_DEVICE_PATH *volume = mc_protocol(image->volume, &mc_device_path_guid);
    unsigned int instance = 0;

    if (!volume || (origin && !is_taken(image, volume, origin->instance)))
        return origin ? origin->instance : 0;
    while (instance < 255 && is_taken(image, volume, instance))
        instance++;
    return instance;
}

static enum q2_status check_depth(EFI_HANDLE volume, const char *path, struct q2_fault *fault)
{
    const EFI_DEVICE_PATH *device_path = mc_protocol(volume, &mc_device_path_guid);

    if (!device_path || mc_device_path_depth(device_path) < MC_MAX_DEPTH)
        return Q2_OK;
    return q2_fail(fault, Q2_ERR_LIMIT, "too many images inside images; copy the image to a stick",
                   path);
}

/* Mode rw writes the top image and its data file; nothing else is ever written. */
static bool writes(const struct mc_image *image, uint32_t layer)
{
    return image->mode == MC_MODE_READ_WRITE && layer == 0;
}

/* A file of two layers; NULL: they have none in common. */
static const struct q2_source *common_file(const struct q2_layer_info *a,
                                           const struct q2_layer_info *b)
{
    if (q2_same_file(a->source, b->source) || q2_same_file(a->source, b->data_source))
        return a->source;
    if (q2_same_file(a->data_source, b->source) || q2_same_file(a->data_source, b->data_source))
        return a->data_source;
    return NULL;
}

/* A file that two disks have in common and one of them writes (HAZARDS.md, U10); NULL: none. */
static const struct q2_source *contested_file(const struct mc_image *a, const struct mc_image *b)
{
    struct q2_layer_info layer_a, layer_b;

    for (uint32_t i = 0; i < q2_disk_nb_layers(a->disk); i++) {
        q2_disk_layer_info(a->disk, i, &layer_a);
        for (uint32_t j = 0; j < q2_disk_nb_layers(b->disk); j++) {
            q2_disk_layer_info(b->disk, j, &layer_b);
            if ((writes(a, i) || writes(b, j)) && common_file(&layer_a, &layer_b))
                return common_file(&layer_a, &layer_b);
        }
    }
    return NULL;
}

static enum q2_status check_contested(const struct mc_image *image, struct q2_fault *fault)
{
    for (const struct mc_disk *disk = registry.disks; disk; disk = disk->next) {
        const struct q2_source *source =
            disk->image != image ? contested_file(image, disk->image) : NULL;
        if (source)
            return q2_fail(fault, Q2_ERR_BUSY,
                           image->mode == MC_MODE_READ_WRITE
                               ? "attached already, so it cannot be attached for writing; detach "
                                 "that disk first"
                               : "attached for writing, so it cannot be attached again; detach "
                                 "that disk first",
                           source->path);
    }
    return Q2_OK;
}

/* Repair an image that was not closed cleanly, and say so: its file is changed before anybody
 * writes to the disk. Nothing but the firmware can refuse the disk after this. */
static enum q2_status repair(struct mc_image *image, const struct mc_disk_spec *spec,
                             struct q2_fault *fault)
{
    char line[400];
    struct q2_line text = q2_line_start(line, sizeof(line));
    enum q2_status status = mc_image_repair(image, spec, fault);

    if (status != Q2_OK)
        return status;
    q2_line_put_escaped(&text, image->file->source->path);
    q2_line_put(
        &text,
        ": the image was not closed cleanly; its refcounts have been repaired, its data was not "
        "touched");
    mc_say(line);
    return Q2_OK;
}

static enum q2_status open_image(struct mc_disk *disk, EFI_HANDLE volume,
                                 const struct mc_disk_spec *spec, struct q2_fault *fault)
{
    const char *title = spec->title ? spec->title : spec->image;
    enum q2_status status = mc_image_open(volume, spec, false, fault, &disk->image);

    if (status != Q2_OK)
        return status;
    status = check_contested(disk->image, fault);
    if (status == Q2_OK)
        status = mc_image_check_files(disk->image, fault);
    if (status == Q2_OK && disk->image->needs_repair)
        status = repair(disk->image, spec, fault);
    if (status == Q2_OK)
        status = mc_image_prepare_cache(disk->image, fault);
    (void)mc_text_copy(disk->title, sizeof(disk->title), title);
    disk->name = mc_to_ucs2(disk->title);
    return status;
}

/* Flush for the last time. If the medium is gone, nothing can be saved. */
static void flush(struct mc_disk *disk)
{
    if (q2_disk_flush(disk->image->disk) != Q2_OK)
        mc_say_fault(q2_disk_fault(disk->image->disk));
}

static void free_disk(struct mc_disk *disk)
{
    mc_upkeep_stop(&disk->upkeep);
    mc_published_close(&disk->published);
    mc_handoff_remove(disk->handoff);
    if (disk->image)
        mc_image_close(disk->image);
    mc_free(disk->name);
    mc_free(disk->entry);
    mc_free(disk);
}

static void append_disk(struct mc_disk *disk)
{
    struct mc_disk **link = &registry.disks;

    while (*link)
        link = &(*link)->next;
    *link = disk;
}

/* Keep the sentence for whoever starts the disk. */
static void explain(struct mc_disk *disk, const struct q2_fault *fault)
{
    static const char because[] =
        "a system that starts from this disk loses it, because it cannot be handed over: ";
    size_t length = sizeof(because) - 1;

    __builtin_memcpy(disk->no_handoff, because, length);
    (void)q2_fault_format(fault, disk->no_handoff + length, sizeof(disk->no_handoff) - length);
}

/* A disk that cannot be handed over still boots loaders and EFI programs, so this is no error. */
static void add_handoff(struct mc_disk *disk, const struct mc_disk_spec *spec, EFI_EVENT *ret_read)
{
    struct q2_fault fault;
    enum q2_status status = mc_handoff_add(disk->image, spec, &fault, ret_read, &disk->handoff);
    const char *why = status == Q2_OK ? mc_handoff_reason_against(disk->handoff) : NULL;

    if (why)
        status = q2_fail(&fault, Q2_ERR_UNSUPPORTED, why, spec->image);
    if (status != Q2_OK)
        explain(disk, &fault);
}

static void unlink_disk(struct mc_disk *disk)
{
    struct mc_disk **link = &registry.disks;

    while (*link && *link != disk)
        link = &(*link)->next;
    if (*link)
        *link = disk->next;
}

/* Free a disk that could not be attached, and give back the room that was made for it. Its number
 * is free again if no disk was attached after it. */
static void drop_disk(struct host *host, struct mc_disk *disk)
{
    struct q2_fault fault;

    unlink_disk(disk);
    if (disk->image)
        (void)mc_image_give_back(disk->image, &fault);
    if (registry.next_number == disk->number + 1)
        registry.next_number--;
    free_disk(disk);
    host->nb_disks--;
}

/* Nothing refuses the disk any more. Less room than asked for does no harm before a write. */
static void make_first_room(struct mc_image *image)
{
    struct q2_fault fault;

    if (mc_image_top_up(image, MC_ROOM_FOR_FIRST, 0, &fault) != Q2_OK)
        mc_say_fault(&fault);
}

/* Open and publish on a volume that is held. The number is taken first: whoever attaches from
 * inside gets another one. */
static enum q2_status attach_on(struct host *host, const struct mc_disk_spec *spec,
                                const struct mc_origin *origin, struct q2_fault *fault,
                                struct mc_disk **ret_disk)
{
    struct mc_disk *disk = mc_alloc(sizeof(*disk));
    EFI_EVENT read = NULL;
    enum q2_status status;

    if (!disk)
        return q2_fail_memory(fault);
    host->nb_disks++;
    disk->number = registry.next_number++;
    disk->entry = origin ? mc_copy_text(origin->id) : NULL;
    status = open_image(disk, host->volume, spec, fault);
    if (status == Q2_OK)
        append_disk(disk);
    if (status == Q2_OK)
        status = mc_upkeep_start(&disk->upkeep, disk->image, &disk->published.block_io, fault);
    if (status == Q2_OK)
        add_handoff(disk, spec, &read);
    if (status == Q2_OK)
        read = mc_upkeep_watch_reads(&disk->upkeep, disk->handoff, read);
    if (status == Q2_OK)
        status = mc_publish(&disk->published, disk->image, registry.agent,
                            free_instance(disk->image, origin), disk->number + 1,
                            disk->upkeep.written, read, fault);
    if (status != Q2_OK && disk->published.handle) {
        disk->state = MC_DISK_STUCK;
        q2_block_io_lose_medium(&disk->published.block_io);
        return status;
    }
    if (status != Q2_OK) {
        drop_disk(host, disk);
        return status;
    }
    make_first_room(disk->image);
    disk->state = MC_DISK_PRESENT;
    *ret_disk = disk;
    return Q2_OK;
}

enum q2_status mc_registry_attach(EFI_HANDLE volume, const struct mc_disk_spec *spec,
                                  const struct mc_origin *origin, struct q2_fault *fault,
                                  struct mc_disk **ret_disk)
{
    struct host *host = find_host(volume);
    enum q2_status status = check_depth(volume, spec->image, fault);

    if (status != Q2_OK)
        return status;
    if (registry.is_suspended)
        return q2_fail(fault, Q2_ERR_BUSY, "the driver is just being unloaded; load it again",
                       spec->image);
    host = find_host(volume);
    if (!host && EFI_ERROR(add_host(volume, &host)))
        return q2_fail(
            fault, Q2_ERR_BUSY,
            "another driver holds the image's volume; 'disconnect' in the shell takes it away",
            spec->image);
    if (host->is_changing || host->is_opening)
        return q2_fail(fault, Q2_ERR_BUSY,
                       "another disk of this volume is just being attached or detached; try again",
                       spec->image);
    host->is_changing = true;
    status = attach_on(host, spec, origin, fault, ret_disk);
    host->is_changing = false;
    remove_host_if_unused(host);
    return status;
}

/* What was not used goes back to the volume. Above TPL_APPLICATION somebody may hold the lock of
 * the file system that the files are made shorter through. */
static void give_back_room(struct mc_disk *disk)
{
    struct q2_fault fault;

    if (mc_current_tpl() == TPL_APPLICATION && disk->published.block_io.media.MediaPresent &&
        q2_disk_is_writable(disk->image->disk) &&
        mc_image_give_back_end(disk->image, &fault) != Q2_OK)
        mc_say_fault(&fault);
}

/* A disk that the firmware does not have any more: the last flush, and its files are closed. */
static void close_disk(struct host *host, struct mc_disk *disk)
{
    unlink_disk(disk);
    mc_upkeep_stop(&disk->upkeep);
    flush(disk);
    give_back_room(disk);
    free_disk(disk);
    host->nb_disks--;
}

/* While it serves our request, a driver below may find its medium gone and stop everything above it
 * (EDK2's driver for USB sticks does). Refuse then, because the request still uses what would be
 * freed. */
static EFI_STATUS take_away(struct mc_disk *disk)
{
    if (q2_block_io_is_busy(&disk->published.block_io) ||
        !q2_block_io_drain(&disk->published.block_io))
        return EFI_DEVICE_ERROR;
    return mc_unpublish(&disk->published);
}

static EFI_STATUS detach(struct mc_disk *disk)
{
    struct host *host = find_host(disk->published.volume);
    bool was_changing = host && host->is_changing;
    EFI_STATUS status;

    if (disk->state != MC_DISK_PRESENT || host->is_held_still)
        return EFI_DEVICE_ERROR;
    disk->state = MC_DISK_LEAVING;
    host->is_changing = true;
    status = take_away(disk);
    if (EFI_ERROR(status))
        disk->state = MC_DISK_PRESENT;
    else
        close_disk(host, disk);
    host->is_changing = was_changing;
    if (!EFI_ERROR(status))
        remove_host_if_unused(host);
    return status;
}

EFI_STATUS mc_registry_detach(struct mc_disk *disk)
{
    return registry.is_suspended ? EFI_DEVICE_ERROR : detach(disk);
}

/* Is any attach or detach under way? Then the driver must not be unloaded. */
static const struct mc_disk *disk_in_use(void)
{
    const struct mc_disk *disk = registry.disks;

    while (disk && disk->state == MC_DISK_PRESENT &&
           !q2_block_io_is_busy(&disk->published.block_io) && !disk->published.is_turning)
        disk = disk->next;
    return disk;
}

static bool is_volume_in_use(void)
{
    const struct host *host = registry.hosts;

    while (host && !host->is_opening && !host->is_starting && !host->is_changing)
        host = host->next;
    return host != NULL;
}

/* The newest disk that is present; NULL: none is. */
static struct mc_disk *last_present(void)
{
    struct mc_disk *last = NULL;

    for (struct mc_disk *disk = mc_registry_first(); disk; disk = mc_registry_next(disk))
        last = disk;
    return last;
}

/* Is a disk's volume inside another disk of ours? */
static bool is_inside(const struct mc_disk *disk)
{
    const EFI_DEVICE_PATH *path = mc_protocol(disk->published.volume, &mc_device_path_guid);

    return path && mc_device_path_depth(path) > 0;
}

static EFI_STATUS suspend(struct mc_disk *disk)
{
    EFI_STATUS status;

    if (is_inside(disk))
        return detach(disk);
    disk->state = MC_DISK_LEAVING;
    status = take_away(disk);
    disk->state = EFI_ERROR(status) ? MC_DISK_PRESENT : MC_DISK_AWAY;
    return status;
}

static EFI_STATUS refuse_unload(const struct mc_disk *disk, struct q2_fault *fault)
{
    (void)q2_fail(fault, Q2_ERR_BUSY,
                  "the disk is in use, so the driver is not unloaded; end the program that uses it",
                  disk ? disk->image->file->source->path : "a disk");
    return EFI_ACCESS_DENIED;
}

EFI_STATUS mc_registry_suspend(struct q2_fault *fault)
{
    struct mc_disk *disk;

    if (registry.is_suspended || is_volume_in_use() || disk_in_use())
        return refuse_unload(disk_in_use(), fault);
    registry.is_suspended = true;
    while ((disk = last_present()) != NULL) {
        if (!EFI_ERROR(suspend(disk)))
            continue;
        (void)refuse_unload(disk, fault);
        mc_registry_resume();
        return EFI_ACCESS_DENIED;
    }
    return EFI_SUCCESS;
}

static struct mc_disk *first_away(void)
{
    struct mc_disk *disk = registry.disks;

    while (disk && disk->state != MC_DISK_AWAY)
        disk = disk->next;
    return disk;
}

/* What does not come back is closed: nobody can reach it any more. */
static void bring_back(struct mc_disk *disk)
{
    struct host *host = find_host(disk->published.volume);
    EFI_HANDLE handle;

    disk->state = MC_DISK_ARRIVING;
    host->is_changing = true;
    if (EFI_ERROR(mc_publish_again(&disk->published))) {
        mc_say("the firmware does not take a disk back, so it is detached");
        close_disk(host, disk);
        host->is_changing = false;
        remove_host_if_unused(host);
        return;
    }
    disk->state = MC_DISK_PRESENT;
    host->is_changing = false;
    handle = disk->published.handle;
    (void)mc_firmware.BootServices->ConnectController(handle, NULL, NULL, TRUE);
}

void mc_registry_resume(void)
{
    struct mc_disk *disk;

    registry.is_suspended = false;
    while ((disk = first_away()) != NULL)
        bring_back(disk);
}

void mc_registry_close(void)
{
    struct mc_disk *disk;

    while ((disk = first_away()) != NULL)
        close_disk(find_host(disk->published.volume), disk);
    while (registry.hosts)
        remove_host(registry.hosts);
    registry.is_suspended = false;
}
