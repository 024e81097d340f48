/* The boot parameters of an x86 Linux kernel.  (Linux, "The Linux/x86 Boot Protocol")
 *
 * May call mem*. Invariant: reads and writes inside the one page that it was given.
 */
#include "boot_params.h"

/* Offsets into the page, and values there. */
#define EXT_INITRD      0x0c0u /* upper halves of the two fields below */
#define EXT_INITRD_SIZE 0x0c4u
#define SENTINEL        0x1efu /* not 0: the loader has copied part of the kernel's file over it */
#define BOOT_FLAG       0x1feu
#define MAGIC           0x202u
#define LOADER_TYPE     0x210u
#define INITRD          0x218u
#define INITRD_SIZE     0x21cu
#define COMMAND_LINE    0x228u
#define INITRD_MAX      0x22cu
#define BOOT_FLAG_VALUE 0xaa55u
#define LOADER_HANDOVER 0x21u
#define LOADER_GRUB     0x72u
#define DEFAULT_MAX     0x37ffffffu /* where the kernel does not say */
#define ADDRESS_MAX_32  0xffffffffu

static uint32_t get(const uint8_t *page, size_t offset, size_t nb_bytes)
{
    uint32_t value = 0;

    for (size_t i = nb_bytes; i > 0; i--)
        value = value << 8 | page[offset + i - 1];
    return value;
}

static void put32(uint8_t *page, size_t offset, uint32_t value)
{
    for (size_t i = 0; i < 4; i++)
        page[offset + i] = (uint8_t)(value >> (8 * i));
}

/* GRUB's own loader zeroes what is before the setup header, and so the boot flag. GRUB's loader for
 * the stub copies the first bytes of the kernel's file, and so keeps the boot flag. */
static bool read_entry(const uint8_t *page, enum mc_boot_entry *ret_entry)
{
    uint32_t flag = get(page, BOOT_FLAG, 2);

    switch (page[LOADER_TYPE]) {
    case LOADER_HANDOVER:
        *ret_entry = MC_BOOT_ENTRY_HANDOVER;
        return flag == BOOT_FLAG_VALUE;
    case LOADER_GRUB:
        *ret_entry = MC_BOOT_ENTRY_LEGACY;
        return flag == BOOT_FLAG_VALUE || flag == 0;
    default:
        return false;
    }
}

bool mc_boot_params_read(const uint8_t *page, struct mc_boot_params *ret_params)
{
    struct mc_boot_params params;
    bool has_upper;

    /* One comparison for each of thousands of pages that are something else. */
    if (__builtin_memcmp(page + MAGIC, "HdrS", 4) != 0)
        return false;
    params.command_line = get(page, COMMAND_LINE, 4);
    if (params.command_line == 0 || !read_entry(page, &params.entry))
        return false;
    has_upper = page[SENTINEL] == 0;
    params.initrd = get(page, INITRD, 4);
    params.initrd_size = get(page, INITRD_SIZE, 4);
    if (has_upper) {
        params.initrd |= (uint64_t)get(page, EXT_INITRD, 4) << 32;
        params.initrd_size |= (uint64_t)get(page, EXT_INITRD_SIZE, 4) << 32;
    }
    params.initrd_max = get(page, INITRD_MAX, 4);
    if (params.initrd_max == 0)
        params.initrd_max = DEFAULT_MAX;
    *ret_params = params;
    return true;
}

void mc_boot_params_set_initrd(uint8_t *page, uint64_t address, uint64_t size)
{
    put32(page, INITRD, (uint32_t)address);
    put32(page, INITRD_SIZE, (uint32_t)size);
    if (page[SENTINEL] != 0)
        return;
    put32(page, EXT_INITRD, (uint32_t)(address >> 32));
    put32(page, EXT_INITRD_SIZE, (uint32_t)(size >> 32));
}

static bool starts_with(const uint8_t *bytes, size_t length, const char *start, size_t start_length)
{
    if (length < start_length)
        return false;
    for (size_t i = 0; i < start_length; i++) {
        if (bytes[i] != (uint8_t)start[i])
            return false;
    }
    return true;
}

bool mc_initrd_has_magic(const uint8_t *bytes, size_t length)
{
    static const struct {
        const char *start;
        size_t length;
    } magics[] = {
        {"070701", 6},           /* newc */
        {"070702", 6},           /* newc with checksums */
        {"\x1f\x8b", 2},         /* gzip */
        {"\x28\xb5\x2f\xfd", 4}, /* zstd */
        {"\xfd"
         "7zXZ",
         5},                     /* xz */
        {"\x02\x21\x4c\x18", 4}, /* lz4, the format of the kernel */
        {"\x5d\x00\x00", 3},     /* lzma */
        {"BZh", 3},              /* bzip2 */
        {"\x89LZO", 4},          /* lzop */
    };

    for (size_t i = 0; i < sizeof(magics) / sizeof(magics[0]); i++) {
        if (starts_with(bytes, length, magics[i].start, magics[i].length))
            return true;
    }
    return false;
}

bool mc_command_line_is_grubs(const uint8_t *bytes, size_t length)
{
    return starts_with(bytes, length, "BOOT_IMAGE=", 11);
}
