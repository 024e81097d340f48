/* Upkeep of a disk that is written.
 *
 * May call room.c and the place. The firmware calls it at TPL_CALLBACK. Invariant: while files are
 * looked after, the disk is acquired, so no request is under way and none comes in between.
 */
#include "upkeep.h"

#include "efi/base/console.h"
#include "q2_fail.h"
#include "efi/base/firmware.h"
#include "efi/image/room.h"

/* The metadata is flushed when a disk was not written for this long. The delay is much longer than
 * one write, so that many writes share a flush, and much shorter than the time from a boot loader's
 * last write to ExitBootServices(). A program that writes without a pause is flushed after this
 * many delays. */
#define FLUSH_DELAY (50u * 10000) /* units of 100 ns */
#define MAX_DELAYS  20u

/* A disk of which so much was read is being booted from: a kernel with its initrd is longer, and
 * the firmware reads less to find partitions and file systems. */
#define KERNEL_READS (4u * 1024 * 1024) /* bytes */

static bool set_timer(struct mc_upkeep *upkeep)
{
    return !EFI_ERROR(
        mc_firmware.BootServices->SetTimer(upkeep->timer, TimerRelative, FLUSH_DELAY));
}

/* The disk is acquired. The file system is not asked after each write, because asking costs as much
 * as a small write. */
static void check_files(struct mc_upkeep *upkeep, struct q2_place_file *const *files, size_t nb)
{
    struct q2_fault fault;

    for (size_t i = 0; i < nb; i++) {
        enum q2_status status = files[i]->place->ops->check(files[i], &fault);
        if (status == Q2_OK)
            continue;
        q2_block_io_lose_medium(upkeep->block_io);
        if (status == Q2_ERR_BUSY)
            mc_say_fault(&fault);
        upkeep->is_lost = true;
        return;
    }
}

/* The firmware must neither show nor write back what it keeps of the bytes that were written. What
 * it does not forget now is tried again after the next write. */
static void forget_old_bytes(struct q2_place *place)
{
    struct q2_fault fault;

    if (q2_place_can(place, Q2_PLACE_REMEMBERS))
        (void)place->ops->forget(place, false, &fault);
}

/* A write that found too little room waits for this, or has failed. */
static void make_room(struct mc_upkeep *upkeep)
{
    uint64_t needed = upkeep->block_io->short_of;
    struct q2_fault fault;

    if (mc_image_top_up(upkeep->image, needed > 0 ? MC_ROOM_FOR_A_WRITE : MC_ROOM_FOR_WRITES,
                        needed, &fault) != Q2_OK)
        mc_say_fault(&fault);
    else
        upkeep->block_io->short_of = 0;
}

static void look_after_files(struct mc_upkeep *upkeep, bool check)
{
    struct q2_place_file *files[2];
    size_t nb = mc_image_written_files(upkeep->image, files);
    uint64_t nb_changes;
    EFI_TPL tpl;

    if (!q2_block_io_acquire(upkeep->block_io, &tpl))
        return;
    nb_changes = q2_disk_nb_changes(upkeep->block_io->disk);
    /* If the source itself refused to write, say the reason once. */
    if (!upkeep->is_lost && (check || !upkeep->block_io->media.MediaPresent))
        check_files(upkeep, files, nb);
    if (upkeep->block_io->media.MediaPresent) {
        forget_old_bytes(upkeep->image->opener.place);
        if (upkeep->nb_changes != nb_changes || upkeep->block_io->short_of > 0)
            make_room(upkeep);
        upkeep->nb_changes = nb_changes;
    }
    q2_block_io_release(upkeep->block_io, tpl);
}

/* A request may be inside; then the next event tries again. A disk that is not handed over, as
 * things are, needs no room for a system. */
static void take_all_room(struct mc_upkeep *upkeep)
{
    struct q2_fault fault;
    EFI_TPL tpl;

    if (mc_handoff_reason_against(upkeep->handoff) || !q2_block_io_acquire(upkeep->block_io, &tpl))
        return;
    upkeep->has_all_room = true;
    if (upkeep->block_io->media.MediaPresent &&
        mc_image_top_up(upkeep->image, MC_ROOM_FOR_HANDOFF, 0, &fault) != Q2_OK)
        mc_say_fault(&fault);
    q2_block_io_release(upkeep->block_io, tpl);
    mc_handoff_moved(upkeep->handoff);
}

/* A loader reads a kernel: the system that starts cannot make files longer, so room is made before
 * it is told where they are stored. */
static VOID EFIAPI on_read(EFI_EVENT event, VOID *context)
{
    struct mc_upkeep *upkeep = context;

    (void)event;
    if (upkeep->block_io->is_quiet)
        return;
    if (upkeep->block_io->watch.nb_bytes >= KERNEL_READS && !upkeep->has_all_room)
        take_all_room(upkeep);
    (void)mc_firmware.BootServices->SignalEvent(upkeep->handoff_read);
}

EFI_EVENT mc_upkeep_watch_reads(struct mc_upkeep *upkeep, struct mc_handoff *handoff,
                                EFI_EVENT handoff_read)
{
    if (!upkeep->written || !handoff_read ||
        EFI_ERROR(mc_firmware.BootServices->CreateEvent(EVT_NOTIFY_SIGNAL, TPL_CALLBACK, on_read,
                                                        upkeep, &upkeep->read)))
        return handoff_read;
    upkeep->handoff = handoff;
    upkeep->handoff_read = handoff_read;
    return upkeep->read;
}

static VOID EFIAPI after_write(EFI_EVENT event, VOID *context)
{
    struct mc_upkeep *upkeep = context;

    (void)event;
    if (upkeep->block_io->is_quiet)
        return;
    look_after_files(upkeep, !upkeep->timer_is_set);
    if (!upkeep->timer_is_set) {
        upkeep->nb_delays = 0;
        upkeep->timer_is_set = set_timer(upkeep);
        upkeep->block_io->attention = !upkeep->timer_is_set;
    }
}

/* Writes in place leave nothing to flush: their bytes are with the device, as on any other disk. A
 * failure shows at the next request: the medium is read-only then. */
static void flush_metadata(struct mc_upkeep *upkeep)
{
    EFI_BLOCK_IO_PROTOCOL *protocol = &upkeep->block_io->protocol;

    if (q2_disk_is_dirty(upkeep->block_io->disk))
        (void)protocol->FlushBlocks(protocol);
}

static VOID EFIAPI on_timer(EFI_EVENT event, VOID *context)
{
    struct mc_upkeep *upkeep = context;

    (void)event;
    upkeep->block_io->is_quiet = false;
    look_after_files(upkeep, true);
    upkeep->timer_is_set = upkeep->nb_writes != upkeep->block_io->nb_writes &&
                           upkeep->nb_delays++ < MAX_DELAYS && set_timer(upkeep);
    upkeep->nb_writes = upkeep->block_io->nb_writes;
    if (upkeep->timer_is_set)
        return;
    upkeep->block_io->attention = true;
    flush_metadata(upkeep);
    upkeep->image->opener.place->ops->settle(upkeep->image->opener.place);
}

/* ExitBootServices() was called. The flush signals for upkeep, which would grow files and allocate
 * memory. Put upkeep off until the timer: it runs only if ExitBootServices() fails. */
static VOID EFIAPI on_exit(EFI_EVENT event, VOID *context)
{
    struct mc_upkeep *upkeep = context;

    (void)event;
    upkeep->block_io->is_quiet = true;
    upkeep->timer_is_set = set_timer(upkeep);
    flush_metadata(upkeep);
}

enum q2_status mc_upkeep_start(struct mc_upkeep *upkeep, struct mc_image *image,
                               struct q2_block_io *block_io, struct q2_fault *fault)
{
    EFI_BOOT_SERVICES *services = mc_firmware.BootServices;

    struct q2_place_file *files[2];
    size_t nb = mc_image_written_files(image, files);

    *upkeep = (struct mc_upkeep){.image = image, .block_io = block_io};
    if (image->mode != MC_MODE_READ_WRITE)
        return Q2_OK;
    for (size_t i = 0; i < nb; i++) {
        if (files[i]->place->ops->watch)
            files[i]->place->ops->watch(files[i], &block_io->attention);
    }
    if (EFI_ERROR(services->CreateEvent(EVT_NOTIFY_SIGNAL, TPL_CALLBACK, after_write, upkeep,
                                        &upkeep->written)) ||
        EFI_ERROR(services->CreateEvent(EVT_TIMER | EVT_NOTIFY_SIGNAL, TPL_CALLBACK, on_timer,
                                        upkeep, &upkeep->timer))) {
        mc_upkeep_stop(upkeep);
        return q2_fail(fault, Q2_ERR_LIMIT, "the firmware has no events left; restart the machine",
                       image->file->source->path);
    }
    /* Register for both events: the group BeforeExitBootServices of UEFI 2.9, which older firmware
     * never signals, and ExitBootServices, when USB has already stopped. If neither exists, only
     * the timer flushes. */
    if (EFI_ERROR(services->CreateEventEx(EVT_NOTIFY_SIGNAL, TPL_CALLBACK, on_exit, upkeep,
                                          &mc_before_exit_guid, &upkeep->before_exit)))
        upkeep->before_exit = NULL;
    if (EFI_ERROR(services->CreateEvent(EVT_SIGNAL_EXIT_BOOT_SERVICES, TPL_CALLBACK, on_exit,
                                        upkeep, &upkeep->exit)))
        upkeep->exit = NULL;
    return Q2_OK;
}

void mc_upkeep_stop(struct mc_upkeep *upkeep)
{
    EFI_EVENT events[] = {upkeep->written, upkeep->timer, upkeep->before_exit, upkeep->exit,
                          upkeep->read};

    for (size_t i = 0; i < sizeof(events) / sizeof(events[0]); i++) {
        if (events[i])
            (void)mc_firmware.BootServices->CloseEvent(events[i]);
    }
    *upkeep = (struct mc_upkeep){.written = NULL};
}
