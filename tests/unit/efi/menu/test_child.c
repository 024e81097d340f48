/* efi/menu/child.c: snapshots and loaders in words. */
#include "efi/menu/child.h"

#include "tests/support/t.h"

static struct mc_menu_child child;

static void test_child_snapshot_shows_date_and_name(void)
{
    static const struct {
        uint32_t seconds;
        const char *id, *name, *value, *label;
    } rows[] = {
        {0, "1", "first", "1", "snapshot 1970-01-01 00:00 UTC  first"},
        {951782399, "2", "", "2", "snapshot 2000-02-28 23:59 UTC  2"},
        {951868799, "", "leap", "leap", "snapshot 2000-02-29 23:59 UTC  leap"},
        {951868800, "3", "a b", "3", "snapshot 2000-03-01 00:00 UTC  a b"},
        {1798675199, "4", "x", "4", "snapshot 2026-12-30 23:59 UTC  x"},
        {1798848000, "4", "x", "4", "snapshot 2027-01-02 00:00 UTC  x"},
        {UINT32_MAX, "5", "end", "5", "snapshot 2106-02-07 06:28 UTC  end"},
    };

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        static struct q2_snapshot snapshot;
        t_row(rows[i].label);
        snapshot.date_sec = rows[i].seconds;
        strcpy(snapshot.id, rows[i].id);
        strcpy(snapshot.name, rows[i].name);
        if (!T_CHECK(mc_menu_child_snapshot(&snapshot, &child)))
            continue;
        T_CHECK_U64(child.kind, MC_CHILD_SNAPSHOT);
        T_CHECK_STR(child.value, rows[i].value);
        T_CHECK_STR(child.label, rows[i].label);
    }
}

static void test_child_snapshot_that_cannot_be_named_is_none(void)
{
    static struct q2_snapshot snapshot;

    T_CHECK(!mc_menu_child_snapshot(&snapshot, &child));
    memset(snapshot.id, 'i', 254);
    T_CHECK(mc_menu_child_snapshot(&snapshot, &child));
    T_CHECK_U64(strlen(child.value), 254);
    memset(snapshot.id, 'i', 255); /* perhaps cut */
    T_CHECK(!mc_menu_child_snapshot(&snapshot, &child));
}

static void test_child_loader_is_a_whole_path(void)
{
    static char path[300] = "/EFI/debian/shimx64.efi";

    T_CHECK(mc_menu_child_loader(path, &child));
    T_CHECK_U64(child.kind, MC_CHILD_LOADER);
    T_CHECK_STR(child.value, path);
    T_CHECK_STR(child.label, "loader /EFI/debian/shimx64.efi");
    memset(path, 'x', 256);
    T_CHECK(!mc_menu_child_loader(path, &child));
}

int main(void)
{
    T_RUN(test_child_snapshot_shows_date_and_name);
    T_RUN(test_child_snapshot_that_cannot_be_named_is_none);
    T_RUN(test_child_loader_is_a_whole_path);
    return t_done();
}
