/* The control protocol: how a program asks the resident driver to attach and detach disks.
 *
 * metalcowdxe.efi installs it once in the system; metalcow.efi is its client (an application's
 * memory is freed when it returns, so what serves a disk cannot live in it). Both come from the
 * same source, but a driver may be older than the application: a client checks Version and uses
 * nothing if it differs. Structures hold plain values and pointers to the caller's memory that are
 * used during the call only.
 */
#ifndef METALCOW_EFI_CONTROL_H
#define METALCOW_EFI_CONTROL_H

#include <efi.h>

#include "core/spec/disk_spec.h"

/* Goes up with every change of this file. */
#define MC_CONTROL_VERSION 8u

/* A line of explanation; empty on success. */
#define MC_MESSAGE_SIZE 512u

/* mc_disk_record.room of a disk that has a place for all that can be written. */
#define MC_ROOM_FOR_ALL UINT64_MAX

/* What is known of an attached disk. */
struct mc_disk_record {
    UINT32 number;     /* for Detach(); never used again */
    EFI_HANDLE handle; /* the disk's own: Block I/O and device path */
    EFI_HANDLE volume; /* where the image is stored */
    UINT64 size;       /* bytes */
    UINT32 nb_layers;
    enum mc_mode mode;
    UINT64 room; /* bytes that new clusters can still take, if mode is not MC_MODE_READ_ONLY */
    BOOLEAN is_read_only; /* in mode rw: it turned so, after a write that failed */
    BOOLEAN is_gone;      /* the medium below was taken out */
    BOOLEAN is_by_itself; /* the driver attached it because an entry says so; nobody asked for it */
    CHAR8 image[256];
    CHAR8 title[256];
    /* Why a system that starts from the disk loses it, although the entry wants it handed over: a
     * sentence. Empty: it is handed over, or the entry does not want that. */
    CHAR8 no_handoff[MC_MESSAGE_SIZE];
};

struct mc_control {
    UINT32 Version;

    /* Attach an image and publish its disk; the caller connects it. An error attaches nothing, and
     * Message says why.
     *
     * Volume   a handle of a volume that has the files
     * Message  room for MC_MESSAGE_SIZE bytes */
    EFI_STATUS(EFIAPI *Attach)
    (struct mc_control *This, EFI_HANDLE Volume, const struct mc_disk_spec *Spec, CHAR8 *Message,
     UINT32 *RetNumber);

    /* Take a disk away. Message as for Attach(). EFI_NOT_FOUND: no such number. Other errors: the
     * firmware does not let go of it, and it keeps working. */
    EFI_STATUS(EFIAPI *Detach)(struct mc_control *This, UINT32 Number, CHAR8 *Message);

    /* EFI_ACCESS_DENIED: a disk uses the file with this identity (struct q2_source), so no other
     * program may change it. */
    EFI_STATUS(EFIAPI *MayChange)(struct mc_control *This, const UINT64 Identity[2]);

    /* Describe the Index-th disk, in the order they were attached. EFI_NOT_FOUND: past the last. */
    EFI_STATUS(EFIAPI *Get)
    (struct mc_control *This, UINTN Index, struct mc_disk_record *RetRecord);
};

#endif
