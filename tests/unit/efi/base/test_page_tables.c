/* efi/base/page_tables.c: what the processor's page tables let a program read. */
#include "efi/base/page_tables.h"

#include "tests/support/page_tables.h"
#include "tests/support/t.h"

#define KIB 1024ull
#define MIB (1024 * KIB)
#define GIB (1024 * MIB)

/* A page at 3 GiB + 6 MiB + 20 KiB is left out. */
#define HOLE (3 * GIB + 6 * MIB + 20 * KIB)

static const struct {
    const char *name;
    uint64_t address;
    bool mapped;
    uint64_t end;
} rows[] = {
    {"a page of 1 GiB", 0, true, GIB},
    {"its last byte", GIB - 1, true, GIB},
    {"a page of 2 MiB", 3 * GIB + 5 * MIB, true, 3 * GIB + 6 * MIB},
    {"a page of 4 KiB before the hole", HOLE - 1, true, HOLE},
    {"the hole", HOLE, false, HOLE + 4 * KIB},
    {"its last byte", HOLE + 4 * KIB - 1, false, HOLE + 4 * KIB},
    {"a page of 4 KiB after the hole", HOLE + 4 * KIB, true, HOLE + 8 * KIB},
    {"the page of 2 MiB after it", 3 * GIB + 8 * MIB, true, 3 * GIB + 10 * MIB},
    {"no table of level 3", 512 * GIB, false, 1024 * GIB},
};

static void check_levels(unsigned int nb_levels)
{
    struct mc_page_tables tables;

    t_page_tables_without(&tables, HOLE, nb_levels);
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        uint64_t end;
        t_row(rows[i].name);
        T_CHECK_U64(mc_page_tables_look(&tables, rows[i].address, &end), rows[i].mapped);
        T_CHECK_U64(end, rows[i].end);
    }
    t_row("");
}

static void test_pages_of_all_sizes(void)
{
    check_levels(4);
    check_levels(5);
}

/* Some machines mark encrypted memory in the root and in each entry; caches are told of in both. */
static void test_bits_that_are_no_address(void)
{
    struct mc_page_tables tables;
    uint64_t end;

    t_page_tables_without(&tables, HOLE, 4);
    tables.root |= 1ull << 47 | 0x18;
    T_CHECK(mc_page_tables_look(&tables, HOLE - 1, &end));
    T_CHECK(!mc_page_tables_look(&tables, HOLE, &end));
    T_CHECK_U64(end, HOLE + 4 * KIB);
}

static void test_nothing_is_known(void)
{
    const struct mc_page_tables tables = {0, 0};
    uint64_t end;

    T_CHECK(mc_page_tables_look(&tables, HOLE, &end));
    T_CHECK_U64(end, UINT64_MAX);
}

int main(void)
{
    T_RUN(test_pages_of_all_sizes);
    T_RUN(test_bits_that_are_no_address);
    T_RUN(test_nothing_is_known);
    return t_done();
}
