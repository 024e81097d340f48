/* The mixed lane: most of the disk goes straight to the host partition, the rest through a server.
 *
 * A device-mapper table puts both together, and a loop device on it has the disk's partitions. The
 * table grows: what the server has allocated goes straight after a while (DESIGN.md, 15.6).
 *
 * Calls lane.c, which has looked at the disk before, loop.c, nbd.c, nbd_device.c and drivers/nbd/.
 * Two threads: the first one serves; the second one attaches the mapping and changes its table,
 * because both wait for answers of the server. Only the first one uses the engine, only the second
 * one the device mapper. Invariants: the server changes nothing that goes straight; one device of
 * the guest has the disk's partitions; if the table cannot be had, everything is as before, and the
 * server can still have the whole disk.
 */
#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "handoff.h"

#define MIB (1024ull * 1024)

/* A table that cannot grow is worth two devices if 1 / WORTH of the data goes straight. */
#define WORTH 4u

/* A new table is looked for when so much was written through the server, and 1 / PART of what goes
 * straight already: looking for it reads all L2 tables. While nobody asks for anything, 1 / PART of
 * that is enough. It must send so much more straight. Each time it does not, or the kernel refuses
 * it, twice as much must be written until the next look, and at most MOST times as much. */
#define FIRST_MARK (8 * MIB)
#define PART       32u
#define WORTH_GAIN MIB
#define MOST       16u

/* Where the second thread is. It sets ATTACHED, CHANGED and REFUSED, the first one the others. */
enum step {
    ATTACHING,
    ATTACHED,
    CHANGING,
    CHANGED,
    REFUSED
};

static struct {
    struct handoff *handoff;
    sem_t wanted; /* the second thread has something to do */
    _Atomic enum step step;
    struct table table, next; /* in force; what the second thread is to put in force */
    uint64_t data;            /* bytes of the disk that are stored somewhere */
    uint64_t mark;            /* bytes that are written before a new table is looked for */
    struct target straight, served;
    uint8_t stack[64 * 1024]; /* of the second thread; locked like all that is static */
} mixed;

static struct q2_route memory[2][MAX_MIXED_ROUTES]; /* of the tables, in turns */

/* A table in words. */
struct words {
    char text[96];
};

static struct words describe(void)
{
    struct words words;

    (void)snprintf(words.text, sizeof(words.text), "mixed, %llu of %llu MiB of data straight",
                   (unsigned long long)(mixed.table.straight / MIB),
                   (unsigned long long)(mixed.data / MIB));
    return words;
}

/* ---- The second thread ---- */

static bool attach(void)
{
    struct stat partition, device;

    if (fstat(mixed.handoff->host.fd, &partition) != 0 || stat(SERVER_DEVICE, &device) != 0)
        return false;
    server_tune(); /* before the table, which takes over the length of requests */
    mixed.straight.device = partition.st_rdev;
    mixed.served = (struct target){device.st_rdev, NBD_ROUTED_MARGIN};
    return loop_attach_mapped(mixed.handoff, &mixed.table, &mixed.straight, &mixed.served,
                              describe().text);
}

/* If the table cannot be attached, the kernel lets go of the server's device, and the server
 * ends. */
static void *attach_and_change(void *unused)
{
    (void)unused;
    if (!attach()) {
        server_detach();
        return NULL;
    }
    mixed.step = ATTACHED;
    for (;;) {
        while (sem_wait(&mixed.wanted) != 0) {
        }
        mixed.step =
            loop_change_mapping(&mixed.next, &mixed.straight, &mixed.served) ? CHANGED : REFUSED;
    }
}

/* ---- The first thread ---- */

static uint64_t mark_for(const struct table *table)
{
    return table->straight / PART > FIRST_MARK ? table->straight / PART : FIRST_MARK;
}

/* Find a table that sends more straight, and nothing less. What goes straight by it is durable
 * before: nobody flushes it by way of the server any more. */
static bool find_next(void)
{
    if (q2_disk_flush(mixed.handoff->disk) != Q2_OK || !lane_look(mixed.handoff, &mixed.table))
        return false;
    mixed.data = lane_choose_mixed(memory[mixed.table.routes == memory[0]], &mixed.next);
    return mixed.next.straight >= mixed.table.straight + WORTH_GAIN &&
           q2_routes_include(mixed.next.routes, mixed.next.nb, mixed.table.routes, mixed.table.nb);
}

/* Nothing came of a look: wait longer until the next one. */
static void back_off(void)
{
    if (mixed.mark < MOST * mark_for(&mixed.table))
        mixed.mark *= 2;
}

static void begin_change(struct nbd_routed_export *routed)
{
    routed->written = 0;
    if (!find_next()) {
        back_off();
        return;
    }
    nbd_routed_export_announce(routed, mixed.next.routes, mixed.next.nb);
    if (mixed.table.straight == 0) /* from now on the mapping holds the partition */
        (void)host_share(mixed.handoff);
    mixed.step = CHANGING;
    (void)sem_post(&mixed.wanted);
}

static void end_change(struct nbd_routed_export *routed, bool changed)
{
    if (changed) {
        nbd_routed_export_switch(routed);
        mixed.table = mixed.next;
        mixed.mark = mark_for(&mixed.table);
        log_say(LOG_INFO, "%s (%zu pieces)", describe().text, mixed.table.nb);
    } else {
        nbd_routed_export_announce(routed, mixed.table.routes, mixed.table.nb);
        back_off();
    }
    mixed.step = ATTACHED;
}

/* Was enough written to look for a table, while nobody asks for anything? */
static bool enough_for_idle(const struct nbd_routed_export *routed)
{
    return routed->written >= WORTH_GAIN && routed->written >= mixed.mark / PART;
}

static void between_requests(struct handoff *handoff, bool idle)
{
    struct nbd_routed_export *routed = &handoff->routed;
    enum step step = mixed.step; /* the other thread may change it meanwhile */

    if (step == CHANGED || step == REFUSED)
        end_change(routed, step == CHANGED);
    if (mixed.step == ATTACHED && (idle ? enough_for_idle(routed) : routed->written >= mixed.mark))
        begin_change(routed);
    handoff->wants_idle = mixed.step == ATTACHED && enough_for_idle(routed);
}

static bool begin_thread(pthread_t *ret_thread)
{
    pthread_attr_t attributes;

    return sem_init(&mixed.wanted, 0, 0) == 0 && pthread_attr_init(&attributes) == 0 &&
           pthread_attr_setstack(&attributes, mixed.stack, sizeof(mixed.stack)) == 0 &&
           pthread_create(ret_thread, &attributes, attach_and_change, NULL) == 0;
}

/* Serve until the kernel lets go; false: the table could not be attached. */
static bool serve(struct handoff *handoff, int socket)
{
    pthread_t thread;

    if (!begin_thread(&thread)) {
        (void)close(socket);
        return false;
    }
    handoff->between = between_requests;
    server_serve(handoff, &handoff->routed.export, socket);
    handoff->between = NULL;
    if (mixed.step != ATTACHING)
        return true;
    (void)pthread_join(thread, NULL);
    return false;
}

/* Will anything that is written go straight later? */
static bool can_grow(const struct handoff *handoff)
{
    struct q2_layer_info top;

    q2_disk_layer_info(handoff->disk, 0, &top);
    return handoff->record.mode == Q2_HANDOFF_RW && !layer_is_encrypted(&top);
}

/* Have the partition held by the mapping, unless nothing of it goes straight to the partition. Then
 * this process holds it on, until something does. */
static bool pass_partition(struct handoff *handoff)
{
    return mixed.table.straight > 0 ? host_share(handoff) : host_prepare_sharing(handoff);
}

/* Enough goes straight to be worth two devices, or will. */
static bool is_worth_it(const struct handoff *handoff)
{
    if (can_grow(handoff) ||
        (mixed.table.straight > 0 && mixed.table.straight >= mixed.data / WORTH))
        return true;
    log_say(LOG_INFO, "no mixed lane: %llu of %llu MiB of data can go straight",
            (unsigned long long)(mixed.table.straight / MIB),
            (unsigned long long)(mixed.data / MIB));
    return false;
}

bool mixed_lane(struct handoff *handoff)
{
    int socket;

    mixed.handoff = handoff;
    mixed.data = lane_choose_mixed(memory[0], &mixed.table);
    if (!is_worth_it(handoff) || !loop_can_map(&mixed.table) ||
        !module_load("nbd", SERVER_DEVICE) || !pass_partition(handoff))
        return false;
    mixed.mark = mark_for(&mixed.table);
    server_init(handoff);
    nbd_routed_export_init(&handoff->routed, &handoff->export.export, mixed.table.routes,
                           mixed.table.nb);
    socket = server_attach(handoff, &handoff->routed.export);
    if (socket >= 0 && serve(handoff, socket)) {
        log_say(LOG_WARNING, "the kernel has let go of %s", SERVER_DEVICE);
        return true;
    }
    (void)host_take_back(handoff);
    return false;
}
