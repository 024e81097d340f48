/* The program of the hand-off: what its files share.
 *
 * A static program; see main.c for the order of steps. Its memory is got before it serves requests,
 * and is locked. It has one thread; the mixed lane has a second one (mixed.c).
 */
#ifndef METALCOW_TOOLS_HANDOFF_H
#define METALCOW_TOOLS_HANDOFF_H

#include <stdbool.h>
#include <stdint.h>

#include "drivers/codec/zlib.h"
#include "drivers/codec/zstd.h"
#include "drivers/crypto/key_unlocker.h"
#include "drivers/extents/source.h"
#include "drivers/memory/source.h"
#include "drivers/nbd/disk_export.h"
#include "drivers/nbd/routed_export.h"
#include "drivers/posix/direct.h"
#include "q2_disk.h"
#include "q2_handoff.h"
#include "q2_handoff_routes.h"

/* The longest request that the kernel's nbd driver is asked for. */
#define BUFFER_SIZE (1280u * 1024)
#define BOUNCE_SIZE (128u * 1024)

/* One file of the record as a source. */
struct record_file {
    struct q2_source_extents source;
    bool used;
};

struct record_opener {
    struct q2_opener opener;
    const struct q2_handoff *handoff;
    struct q2_source *volume;
    struct record_file files[Q2_HANDOFF_MAX_FILES];
};

/* The host partition that was found and is held open. */
struct host {
    char path[64];      /* of the partition, /dev/... */
    char disk_path[64]; /* of the disk that it is on */
    int fd;
    int shared_fd; /* of host_prepare_sharing(); -1: none */
    struct q2_source_direct source;
};

/* The state of the program. */
struct handoff {
    struct q2_handoff record;
    uint8_t *record_bytes; /* strings and keys of the record are stored there */
    size_t record_length;
    struct q2_handoff_sample *samples; /* of all files; NULL after they were compared */
    size_t samples_size;               /* bytes */
    struct host host;
    struct record_opener opener;
    struct q2_codec_zlib zlib;
    struct q2_codec_zstd zstd;
    struct q2_unlocker_key unlocker;
    struct q2_source_memory overlay;
    struct q2_disk *disk;
    uint64_t size; /* of the device, bytes; a multiple of its sectors */
    struct nbd_disk_export export;
    struct nbd_routed_export routed; /* the mixed lane's, on top of it */
    uint64_t room_told;              /* the last room that the log was told of */
    uint8_t *workspace, *buffer, *bounce;

    /* Called between requests; idle: none has come for a second. NULL: there is nothing to do. */
    void (*between)(struct handoff *handoff, bool idle);
    bool wants_idle; /* call it when none comes */
};

/* ---- log.c: the kernel log ---- */

/* How loud: the kernel's levels. */
enum log_level {
    LOG_ERROR = 3,
    LOG_WARNING = 4,
    LOG_NOTE = 5,
    LOG_INFO = 6,
};

/* Open the kernel log; lines that are logged before are lost. */
void log_open(void);

/* Say one line, with "metalcow: " before it. */
void log_say(enum log_level level, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Say why a call of the engine failed. */
void log_fault(const char *what, const struct q2_fault *fault);

/* ---- record.c: where the record comes from ---- */

/* Take the record: from the cpio, else from the EFI variables. The file is emptied, so that a
 * second start finds none, and keys in it are gone.
 *
 * ret_present  false: there is no record, nothing to do
 * returns      false, and said in the log: there is one and it cannot be used
 */
bool record_take(struct handoff *handoff, bool *ret_present);

/* Give back what was needed to compare the files only: the samples, and the encoded record apart
 * from its strings and keys. Locked memory stays small however many pieces the files have. */
void record_shrink(struct handoff *handoff);

/* Wipe the keys of the record: the disk is open. */
void record_forget(struct handoff *handoff);

/* ---- find.c: the host partition ---- */

/* Wait for the host partition and open it; false, and said in the log, if it does not come or
 * cannot be used. */
bool host_find(struct handoff *handoff);

/* Open the partition that was found, exclusively, once more; -1, and said in the log: somebody else
 * has taken it. */
int host_open(struct handoff *handoff);

/* Hold the partition open without keeping others from it, while the device mapper holds it
 * exclusively; or hold it exclusively again. false: it cannot be opened, which after the initrd is
 * always so: its name leads nowhere then. What was prepared can be done later. */
bool host_prepare_sharing(struct handoff *handoff);
bool host_share(struct handoff *handoff);
bool host_take_back(struct handoff *handoff);

/* ---- open.c: the disk ---- */

/* Make sources of the record's files and compare their samples. */
bool files_verify(struct handoff *handoff);

/* Open the disk as the record says. */
bool disk_open(struct handoff *handoff);

/* ioctl(), whose request is an int in musl and an unsigned long in glibc. */
int device_control(int fd, unsigned long request, const void *argument);

/* ---- module.c: kernel modules ---- */

/* Begin to load modules by the guest's modprobe; the next module_load() waits for them.
 *
 * nb  1..4; a module that the guest lacks is no mistake */
void modules_begin(const char *const *names, size_t nb);

/* Load a module by the guest's modprobe, unless `sign` exists already; true if it does then. */
bool module_load(const char *name, const char *sign);

/* ---- lane.c: the choice ---- */

/* Routes of a table that has no server in it, and of one that has. More cost memory; with a server
 * they also cost time (DESIGN.md, 15.6). */
#define MAX_FAST_ROUTES  1024u
#define MAX_MIXED_ROUTES 128u

/* A table that covers the disk, and how much of it goes straight to the host partition. */
struct table {
    const struct q2_route *routes;
    size_t nb;
    uint64_t straight; /* bytes */
};

/* Begin to load the modules that the disk will probably need, while the host disk is not there
 * yet. */
void lane_prepare(const struct handoff *handoff);

/* Attach the disk in the fastest way that is right for the image and that the guest can do; serve
 * it, if it takes a server, until the machine is switched off. */
void lane_take(struct handoff *handoff);

/* Are the layer's guest bytes stored encrypted? */
bool layer_is_encrypted(const struct q2_layer_info *layer);

/* Look at the whole disk: what can go straight? False: its tables cannot be read.
 *
 * keep  a table that the next one is to include, if it can; NULL: none
 */
bool lane_look(struct handoff *handoff, const struct table *keep);

/* The table that the last look gives, with a server for the rest.
 *
 * memory   for MAX_MIXED_ROUTES routes; must stay as long as the table is used
 * returns  bytes of the disk that are stored somewhere
 */
uint64_t lane_choose_mixed(struct q2_route *memory, struct table *ret_table);

/* ---- loop.c: devices ---- */

/* A device that a table's routes lead to; a route's place counts from `start`, in bytes. */
struct target {
    uint64_t device; /* dev_t */
    uint64_t start;
};

/* Has the guest what it takes to attach a table? The log says what it lacks. */
bool loop_can_map(const struct table *table);

/* Attach the host partition, without a server: all of the table goes straight. False: the guest
 * lacks what it takes, and the log says what; the partition is held as before. */
bool loop_attach(struct handoff *handoff, const struct table *table);

/* Attach a table as one device with partitions. Nobody may hold a device of it exclusively.
 *
 * straight, served  where its routes lead to
 * lane              for the log
 */
bool loop_attach_mapped(struct handoff *handoff, const struct table *table,
                        const struct target *straight, const struct target *served,
                        const char *lane);

/* Give the mapping of loop_attach_mapped() another table; requests wait meanwhile. False, and said
 * in the log: the old one is still in force. */
bool loop_change_mapping(const struct table *table, const struct target *straight,
                         const struct target *served);

/* ---- mixed.c: the mixed lane ---- */

/* Attach the disk with a server for what does not go straight, and serve that until the machine is
 * switched off. False: little can go straight, or the guest lacks what it takes, and the log says
 * what. */
bool mixed_lane(struct handoff *handoff);

/* ---- nbd_device.c: /dev/nbd0 ---- */

#define SERVER_DEVICE "/dev/nbd0"

/* Attach an export as /dev/nbd0: the socket to serve it on, or -1, and the log says why. */
int server_attach(const struct handoff *handoff, const struct nbd_export *export);

/* Let the kernel send requests as long as the server's buffer: its driver cuts them at 128 KiB
 * otherwise, and the server answers one at a time. And let whoever asks send them: with a
 * scheduler, a thread of the kernel wakes for each one first. Setting the scheduler, and in newer
 * kernels setting the length, waits for requests that are on their way. So another thread or
 * process than the one that serves has to call this. A refusal costs speed only. */
void server_tune(void);

/* Have the kernel let go. */
void server_detach(void);

/* ---- nbd.c: the server's lane ---- */

/* Begin to export the disk. */
void server_init(struct handoff *handoff);

/* Serve until the kernel lets go; then the disk was flushed. Closes the socket. */
void server_serve(struct handoff *handoff, struct nbd_export *export, int socket);

/* Attach /dev/nbd0 and serve it until the machine is switched off. Returns only if it could not be
 * attached, or if the kernel let go. */
void server_lane(struct handoff *handoff);

/* ---- hibernation.c ---- */

/* Have the system refuse to hibernate. */
void hibernation_forbid(void);

/* ---- file.c ---- */

/* Write to a file that is there, such as one below /sys. */
void file_set(const char *path, const char *text);

/* Write a file, whose name begins with '/', into a folder that is made if it is not there. */
void file_write(const char *folder, const char *name, const char *text);

/* ---- udev.c: rules for LVM ---- */

/* Write the rule of the initrd. Before its udev starts. */
void udev_prepare(void);

/* Loop device `number` is about to be ours. */
void udev_announce_loop(int number);

/* ---- process.c ---- */

/* Become a process that lives as long as the machine: nobody's child, no signal ends it, memory
 * locked. argv0 is marked so that systemd leaves the process alone. */
void process_settle(char *argv0);

#endif
