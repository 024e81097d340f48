/* The firmware around the driver, on the host: boot services that call back into the driver, and
 * volumes with files in memory.
 *
 * Whatever gives a TPL lock back may let an event in: a stick is pulled, a volume appears. So each
 * call of a boot service and of a volume counts, and at one of them the mocked firmware calls the
 * driver again. Everything of the driver is real but what is below it: the volumes' file systems,
 * and the hand-off.
 */
#ifndef METALCOW_TESTS_DRIVER_MOCK_H
#define METALCOW_TESTS_DRIVER_MOCK_H

#include <efi.h>

#include "efi/base/control.h"
#include "efi/driver/diagnostics.h"
#include "efi/driver/attach_disk.h"
#include "efi/driver/detach_disk.h"
#include "efi/driver/registry.h"
#include "efi/driver/volumes.h"
#include "q2_create.h"
#include "tests/support/t.h"

#define DISK_SIZE      (1u << 20)  /* of the raw images /a, /b, /c */
#define MOCK_FILE_ROOM (24u << 20) /* bytes that any file can grow to */
#define NB_VOLUMES     2u

/* A file of a volume. */
struct mock_file {
    char path[64];
    uint8_t *bytes; /* MOCK_FILE_ROOM */
    uint64_t size;
    unsigned int nb_open;
};

struct mock_volume {
    VENDOR_DEVICE_PATH node;
    EFI_DEVICE_PATH end;
    struct mock_file files[16];
    size_t nb_files;
    uint64_t free_space; /* bytes that files can still grow by, all together */
    bool is_open;        /* BY_DRIVER */
};

extern struct mock_volume volumes[NB_VOLUMES]; /* a volume's handle is its address */

struct mock_firmware {
    EFI_TPL tpl;
    unsigned int nb_calls, at; /* the call that lets the driver be called; 0: none */
    bool inside;
    void (*nested)(void);
    unsigned int nb_nested, nb_allocated, nb_installed, nb_open;
    unsigned int refuse_install, refuse_uninstall, refuse_disconnect, refuse_by_child;
    unsigned int refuse_driver_uninstall, refuse_cut;
    bool no_device_path;                 /* volumes have none */
    unsigned int nb_gotten, fail_to_get; /* memory and events; the one that fails; 0: none */
    EFI_HANDLE refuse_handle;            /* refuse_disconnect is about this one; NULL: any */
    unsigned int nb_reinstalled, nb_opened_by_driver;
    EFI_BLOCK_IO_PROTOCOL *reinstalled; /* the last one */
    void (*on_reinstall)(void);
    unsigned int nb_connected;               /* handles that the driver asked to connect */
    bool queues;                             /* reads can be queued at the volumes */
    bool exiting;                            /* inside of ExitBootServices() */
    const char *no_handoff, *reason_against; /* what the hand-off says; NULL: nothing */
    bool handoff;                            /* disks are handed over: reads are watched */
    unsigned int nb_records;                 /* how often the hand-off's record was made anew */
    const char *wrong_in_exit;               /* what was called there and must not be */
    unsigned int nb_grown, nb_cut;           /* calls that changed the size of a file */
    uint64_t grown, forgets_from;            /* bytes that files grew by, and those without which
                                                the volume cannot forget what it keeps of them */
    char text[8192];                         /* what was printed */
    const char *typed;                       /* keys that wait; NULL: nobody is at the console */
    EFI_DRIVER_BINDING_PROTOCOL *binding;
    MC_DRIVER_DIAGNOSTICS2 *diagnostics;
    struct mc_control *control;
    const struct mock_storage *storage; /* of files that are not in memory; NULL: all are */
};

/* Where the bytes of files are, if they are not in memory. */
struct mock_storage {
    /* The source of a file that was opened; NULL: it is in memory. */
    struct q2_source *(*open)(const struct mock_file *file);
    /* The file has another size; its source has been told a smaller one. */
    void (*resize)(const struct mock_file *file);
};

extern struct mock_firmware fw;

/* Before each case: nothing is attached, nothing was called. */
void mock_begin(void);

/* Nothing of the driver is left. */
void mock_check_nothing_left(void);

/* The end of a call: what waits at TPL_CALLBACK comes now. */
void mock_let_in(void);

/* What a disk's handle has of a protocol; NULL: nothing. */
void *mock_interface(EFI_HANDLE handle, const EFI_GUID *guid);

/* Add a file; bytes may be NULL for zeros. Returns it. */
struct mock_file *mock_add_file(size_t volume, const char *path, const void *bytes, uint64_t size);

/* Add an empty qcow2 image, one with options, and an entry. */
struct mock_file *mock_add_image(size_t volume, const char *path, uint64_t virtual_size);
struct mock_file *mock_create_image(size_t volume, const char *path,
                                    const struct q2_create_options *options);
void mock_add_entry(size_t volume, const char *id, const char *text);

/* Every timer that is set comes. */
void mock_fire_timers(void);

/* Boot services end, or try to: the groups of both events are signalled. */
void mock_exit_boot_services(void);

/* The image's handle, which carries the driver's protocols. */
#define MOCK_IMAGE ((EFI_HANDLE)0x1)

#endif
