/* efi/handoff/boot_params.c: what counts as boot parameters, and how their initrd is replaced. */
#include "efi/handoff/boot_params.h"

#include "tests/support/t.h"

static uint8_t page[MC_BOOT_PARAMS_SIZE];

static void put(size_t offset, uint64_t value, size_t nb_bytes)
{
    for (size_t i = 0; i < nb_bytes; i++)
        page[offset + i] = (uint8_t)(value >> (8 * i));
}

/* Boot parameters as GRUB's own loader has them right before it ends boot services. */
static void make_legacy(void)
{
    memset(page, 0, sizeof(page));
    put(0x202, 0x53726448, 4);
    put(0x210, 0x72, 1);
    put(0x218, 0x7e000000, 4);
    put(0x21c, 0x1cc8dd4, 4);
    put(0x228, 0x8f000, 4);
    put(0x22c, 0x7fffffff, 4);
}

/* And as GRUB has them when it goes through the stub: the kernel's file shines through. */
static void make_handover(void)
{
    make_legacy();
    put(0x1ef, 0xff, 1);
    put(0x1fe, 0xaa55, 2);
    put(0x210, 0x21, 1);
    put(0x0c0, 0x1234, 4);
    put(0x0c4, 0x5678, 4);
}

static void test_boot_params_read_legacy(void)
{
    struct mc_boot_params params;

    make_legacy();
    T_CHECK(mc_boot_params_read(page, &params));
    T_CHECK_U64(params.entry, MC_BOOT_ENTRY_LEGACY);
    T_CHECK_U64(params.initrd, 0x7e000000);
    T_CHECK_U64(params.initrd_size, 0x1cc8dd4);
    T_CHECK_U64(params.initrd_max, 0x7fffffff);
    T_CHECK_U64(params.command_line, 0x8f000);
}

static void test_boot_params_read_upper_halves_only_with_a_clear_sentinel(void)
{
    struct mc_boot_params params;

    make_handover();
    T_CHECK(mc_boot_params_read(page, &params));
    T_CHECK_U64(params.entry, MC_BOOT_ENTRY_HANDOVER);
    T_CHECK_U64(params.initrd, 0x7e000000);
    T_CHECK_U64(params.initrd_size, 0x1cc8dd4);
    make_legacy();
    put(0x0c0, 1, 4);
    T_CHECK(mc_boot_params_read(page, &params));
    T_CHECK_U64(params.initrd, 0x17e000000);
}

static void test_boot_params_read_without_a_limit_uses_the_protocols_default(void)
{
    struct mc_boot_params params;

    make_legacy();
    put(0x22c, 0, 4);
    T_CHECK(mc_boot_params_read(page, &params));
    T_CHECK_U64(params.initrd_max, 0x37ffffff);
}

static void test_boot_params_read_refuses_what_is_something_else(void)
{
    static const struct {
        const char *row;
        size_t offset, nb_bytes;
        uint64_t value;
        bool handover;
    } rows[] = {
        {"no magic", 0x202, 4, 0x53726449, false},
        {"a kernel's file: no loader yet", 0x210, 1, 0, false},
        {"another loader", 0x210, 1, 0xe1, false},
        {"no command line", 0x228, 4, 0, false},
        {"a boot flag that is none", 0x1fe, 2, 0x1234, false},
        {"handover without the boot flag", 0x1fe, 2, 0, true},
    };
    struct mc_boot_params params;

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        t_row(rows[i].row);
        if (rows[i].handover)
            make_handover();
        else
            make_legacy();
        put(rows[i].offset, rows[i].value, rows[i].nb_bytes);
        T_CHECK(!mc_boot_params_read(page, &params));
    }
    t_row("");
}

static void test_boot_params_set_initrd(void)
{
    struct mc_boot_params params;
    uint8_t before[MC_BOOT_PARAMS_SIZE];

    make_legacy();
    mc_boot_params_set_initrd(page, 0x123456000, 0x2000004);
    T_CHECK(mc_boot_params_read(page, &params));
    T_CHECK_U64(params.initrd, 0x123456000);
    T_CHECK_U64(params.initrd_size, 0x2000004);
    make_handover();
    memcpy(before, page, sizeof(page));
    mc_boot_params_set_initrd(page, 0x60000000, 0x2000004);
    T_CHECK(memcmp(before, page, 0x218) == 0); /* the upper halves are no fields there */
    T_CHECK(memcmp(before + 0x220, page + 0x220, sizeof(page) - 0x220) == 0);
}

static void test_initrd_has_magic(void)
{
    static const struct {
        const char *row, *bytes;
        size_t length;
        bool expected;
    } rows[] = {
        {"cpio", "070701000", 9, true},
        {"cpio, cut", "07070", 5, false},
        {"gzip", "\x1f\x8b\x08", 3, true},
        {"zstd", "\x28\xb5\x2f\xfd\x04", 5, true},
        {"xz",
         "\xfd"
         "7zXZ",
         5, true},
        {"lz4", "\x02\x21\x4c\x18", 4, true},
        {"lzma", "\x5d\x00\x00\x80", 4, true},
        {"bzip2", "BZh9", 4, true},
        {"zeros", "\0\0\0\0\0\0\0\0", 8, false},
        {"a PE image", "MZ\x90\0\x03\0\0\0", 8, false},
        {"nothing", "", 0, false},
    };

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        t_row(rows[i].row);
        T_CHECK(mc_initrd_has_magic((const uint8_t *)rows[i].bytes, rows[i].length) ==
                rows[i].expected);
    }
    t_row("");
}

static void test_command_line_is_grubs(void)
{
    T_CHECK(mc_command_line_is_grubs((const uint8_t *)"BOOT_IMAGE=/vmlinuz ro", 16));
    T_CHECK(!mc_command_line_is_grubs((const uint8_t *)"BOOT_IMAGE", 10));
    T_CHECK(!mc_command_line_is_grubs((const uint8_t *)"root=/dev/sda1 BOOT_IMAGE=", 26));
}

static void test_initrd_padded(void)
{
    T_CHECK_U64(mc_initrd_padded(0), 0);
    T_CHECK_U64(mc_initrd_padded(1), 4);
    T_CHECK_U64(mc_initrd_padded(4), 4);
    T_CHECK_U64(mc_initrd_padded(0x100000001), 0x100000004);
}

int main(void)
{
    T_RUN(test_boot_params_read_legacy);
    T_RUN(test_boot_params_read_upper_halves_only_with_a_clear_sentinel);
    T_RUN(test_boot_params_read_without_a_limit_uses_the_protocols_default);
    T_RUN(test_boot_params_read_refuses_what_is_something_else);
    T_RUN(test_boot_params_set_initrd);
    T_RUN(test_initrd_has_magic);
    T_RUN(test_command_line_is_grubs);
    T_RUN(test_initrd_padded);
    return t_done();
}
