/* tools/handoff/mixed.c: when a longer table is looked for, in which order it is put in force, and
 * what is done when the kernel refuses it.
 *
 * The engine, the device mapper and the server are made here. server_serve() is the guest: it
 * writes, and calls what is called between its requests.
 */
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/support/t.h"
#include "tools/handoff/handoff.h"

#define MIB       (1024ull * 1024)
#define DISK_SIZE (64 * MIB)

static char steps[64];   /* what was done, one letter each */
static uint64_t longest; /* bytes from the disk's start that can go straight */
static bool refuses;     /* the device mapper does */
static struct handoff handoff;

static void note(char step)
{
    size_t n = strlen(steps);

    if (n + 1 < sizeof(steps))
        steps[n] = step;
}

/* The server's device is there. */
int __wrap_stat(const char *path, struct stat *ret_stat);
int __wrap_stat(const char *path, struct stat *ret_stat)
{
    T_CHECK_STR(path, SERVER_DEVICE);
    memset(ret_stat, 0, sizeof(*ret_stat));
    return 0;
}

int __wrap_stat64(const char *path, struct stat *ret_stat);
int __wrap_stat64(const char *path, struct stat *ret_stat)
{
    return __wrap_stat(path, ret_stat);
}

enum q2_status q2_disk_flush(struct q2_disk *disk)
{
    (void)disk;
    note('f');
    return Q2_OK;
}

void q2_disk_layer_info(const struct q2_disk *disk, uint32_t layer, struct q2_layer_info *ret_info)
{
    (void)disk;
    (void)layer;
    memset(ret_info, 0, sizeof(*ret_info));
}

bool lane_look(struct handoff *of, const struct table *keep)
{
    (void)of;
    (void)keep;
    note('l');
    return true;
}

uint64_t lane_choose_mixed(struct q2_route *memory, struct table *ret_table)
{
    size_t nb = 0;

    if (longest > 0)
        memory[nb++] = (struct q2_route){0, longest, 4096, true};
    memory[nb++] = (struct q2_route){longest, DISK_SIZE - longest, 0, false};
    *ret_table = (struct table){memory, nb, longest};
    return DISK_SIZE;
}

bool layer_is_encrypted(const struct q2_layer_info *layer)
{
    (void)layer;
    return false;
}

bool loop_can_map(const struct table *table)
{
    (void)table;
    return true;
}

bool loop_attach_mapped(struct handoff *of, const struct table *table,
                        const struct target *straight, const struct target *served,
                        const char *lane)
{
    (void)of;
    (void)table;
    (void)straight;
    (void)served;
    (void)lane;
    return true;
}

bool loop_change_mapping(const struct table *table, const struct target *straight,
                         const struct target *served)
{
    (void)straight;
    (void)served;
    T_CHECK_U64(table->straight, longest);
    /* What is to go straight keeps its place already. */
    T_CHECK_U64(handoff.routed.announced[0].length, longest);
    note(refuses ? 'r' : 'c');
    return !refuses;
}

bool module_load(const char *name, const char *sign)
{
    (void)name;
    (void)sign;
    return true;
}

bool host_prepare_sharing(struct handoff *of)
{
    (void)of;
    return true;
}

bool host_share(struct handoff *of)
{
    (void)of;
    note('s');
    return true;
}

bool host_take_back(struct handoff *of)
{
    (void)of;
    return true;
}

void log_say(enum log_level level, const char *format, ...)
{
    (void)level;
    (void)format;
}

void server_init(struct handoff *of)
{
    of->export.export.size = DISK_SIZE;
}

int server_attach(const struct handoff *of, const struct nbd_export *export)
{
    (void)of;
    (void)export;
    return 9;
}

void server_tune(void)
{
}

void server_detach(void)
{
    T_CHECK(false);
}

/* So many bytes were written; then what the second thread was asked for is waited for. */
static void write_some(uint64_t length)
{
    const struct nbd_routed_export *routed = &handoff.routed;

    handoff.routed.written += length;
    handoff.between(&handoff, false);
    while (routed->announced != routed->routes) {
        (void)usleep(1000);
        handoff.between(&handoff, false);
    }
}

static void expect(const char *want)
{
    T_CHECK_STR(steps, want);
    memset(steps, 0, sizeof(steps));
}

void server_serve(struct handoff *of, struct nbd_export *export, int socket)
{
    (void)export;
    (void)socket;
    T_CHECK(of == &handoff);
    handoff.routed.written = MIB; /* enough for a guest that rests */
    while (!handoff.wants_idle)   /* until the mapping is attached */
        write_some(0);
    t_row("too little was written");
    longest = 4 * MIB;
    write_some(6 * MIB);
    expect("");
    t_row("enough, and refused");
    refuses = true;
    write_some(MIB);
    expect("flsr");
    T_CHECK(!handoff.routed.routes[0].straight);
    T_CHECK(handoff.routed.announced == handoff.routed.routes);
    t_row("as much again is too soon");
    write_some(8 * MIB);
    expect("");
    t_row("twice as much, and not refused");
    refuses = false;
    write_some(8 * MIB);
    expect("flsc");
    T_CHECK_U64(handoff.routed.routes[0].length, longest);
    t_row("longer");
    longest = 6 * MIB;
    write_some(8 * MIB);
    expect("flc");
    T_CHECK_U64(handoff.routed.routes[0].length, longest);
    t_row("");
}

static void test_mixed_table_grows_and_is_tried_again(void)
{
    handoff.host.fd = open("/dev/null", O_RDONLY);
    handoff.record.mode = Q2_HANDOFF_RW;
    T_CHECK(mixed_lane(&handoff));
}

int main(void)
{
    T_RUN(test_mixed_table_grows_and_is_tried_again);
    return t_done();
}
