/* tools/handoff/loop.c: a mapping gets another table, and the kernel refuses or gives up.
 *
 * device_control() is a device mapper with one mapping, as far as tables go. It does what
 * do_resume() of Linux does. A table is known by its number of targets.
 */
#include <errno.h>
#include <linux/ioctl.h> /* before dm-ioctl.h, which uses it */
#include <linux/dm-ioctl.h>

#include "tests/support/t.h"
#include "tools/handoff/handoff.h"

enum refusal {
    NONE,
    AT_LOAD,
    BEFORE_SWAP, /* the table that was loaded stays loaded */
    AT_SWAP,     /* it is gone, and the mapping stays suspended */
};

static struct {
    uint32_t active, loaded; /* targets; loaded 0: none */
    bool suspended;
    enum refusal refusal; /* of the next request that it fits */
    int error;
} kernel;

static int refuse(enum refusal refusal)
{
    if (kernel.refusal != refusal)
        return 0;
    kernel.refusal = NONE;
    errno = kernel.error;
    return -1;
}

static int load(const struct dm_ioctl *head)
{
    if (refuse(AT_LOAD) != 0)
        return -1;
    kernel.loaded = head->target_count;
    return 0;
}

static int resume(void)
{
    if (kernel.loaded != 0) {
        if (refuse(BEFORE_SWAP) != 0)
            return -1;
        kernel.suspended = true;
        if (refuse(AT_SWAP) != 0) {
            kernel.loaded = 0;
            return -1;
        }
        kernel.active = kernel.loaded;
        kernel.loaded = 0;
    }
    kernel.suspended = false;
    return 0;
}

int device_control(int fd, unsigned long request, const void *argument)
{
    (void)fd;
    switch (request) {
    case DM_TABLE_LOAD:
        return load(argument);
    case DM_TABLE_CLEAR:
        kernel.loaded = 0;
        return 0;
    case DM_DEV_SUSPEND:
        return resume();
    default:
        return -1;
    }
}

void log_say(enum log_level level, const char *format, ...)
{
    (void)level;
    (void)format;
}

bool module_load(const char *name, const char *sign)
{
    (void)name;
    (void)sign;
    return false;
}

bool host_share(struct handoff *handoff)
{
    (void)handoff;
    return false;
}

bool host_take_back(struct handoff *handoff)
{
    (void)handoff;
    return false;
}

void udev_announce_loop(int number)
{
    (void)number;
}

#define MIB (1024ull * 1024)

static void test_loop_change_tells_which_table_is_in_force(void)
{
    static const struct {
        const char *name;
        enum refusal refusal;
        int error;
        bool changed;
    } rows[] = {
        {"nothing is refused", NONE, 0, true},
        {"the table is refused", AT_LOAD, EBUSY, false},
        {"the machine goes to sleep", BEFORE_SWAP, EINTR, true},
        {"old requests do not end", BEFORE_SWAP, EIO, false},
        {"the table does not fit", AT_SWAP, EINVAL, false},
    };
    static const struct q2_route routes[] = {
        {.guest_offset = 0, .length = MIB, .volume_offset = MIB, .straight = true},
        {.guest_offset = MIB, .length = MIB},
    };
    const struct table table = {.routes = routes, .nb = 2, .straight = MIB};
    const struct target straight = {0x801, 0}, served = {0x2b00, 8 * MIB};

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        t_row(rows[i].name);
        kernel.active = 1;
        kernel.loaded = 0;
        kernel.refusal = rows[i].refusal;
        kernel.error = rows[i].error;
        T_CHECK_U64(loop_change_mapping(&table, &straight, &served), rows[i].changed);
        T_CHECK_U64(kernel.active, rows[i].changed ? 2 : 1);
        T_CHECK_U64(kernel.loaded, 0);
        T_CHECK(!kernel.suspended);
    }
    t_row("");
}

int main(void)
{
    T_RUN(test_loop_change_tells_which_table_is_in_force);
    return t_done();
}
