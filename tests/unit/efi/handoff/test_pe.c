/* efi/handoff/pe.c: sections of a PE image in memory. */
#include "efi/handoff/pe.h"

#include "tests/support/t.h"

static uint8_t image[1024];

static void put(size_t offset, uint32_t value, size_t nb_bytes)
{
    for (size_t i = 0; i < nb_bytes; i++)
        image[offset + i] = (uint8_t)(value >> (8 * i));
}

/* PE32+ with an optional header of 240 bytes and the sections .text and .linux. */
static void make_image(void)
{
    memset(image, 0, sizeof(image));
    memcpy(image, "MZ", 2);
    put(60, 128, 4);
    memcpy(image + 128, "PE\0\0", 4);
    put(128 + 6, 2, 2);
    put(128 + 20, 240, 2);
    put(128 + 24 + 56, 0x5000, 4);
    memcpy(image + 128 + 24 + 240, ".text", 5);
    memcpy(image + 128 + 24 + 240 + 40, ".linux", 6);
}

static void test_pe_size_of_an_image(void)
{
    uint32_t size = 0;

    make_image();
    T_CHECK(mc_pe_size(image, sizeof(image), &size));
    T_CHECK_U64(size, 0x5000);
}

static void test_pe_has_section(void)
{
    make_image();
    T_CHECK(mc_pe_has_section(image, sizeof(image), ".linux"));
    T_CHECK(mc_pe_has_section(image, sizeof(image), ".text"));
    T_CHECK(!mc_pe_has_section(image, sizeof(image), ".linu"));
    T_CHECK(!mc_pe_has_section(image, sizeof(image), ".linuxx"));
    T_CHECK(!mc_pe_has_section(image, sizeof(image), ".initrd"));
    memcpy(image + 128 + 24 + 240, ".sbatlvl", 8); /* no NUL: the name fills its field */
    T_CHECK(mc_pe_has_section(image, sizeof(image), ".sbatlvl"));
}

static void test_pe_no_image_is_refused(void)
{
    uint32_t size;

    make_image();
    T_CHECK(!mc_pe_size(image, 63, &size));
    image[0] = 'X';
    T_CHECK(!mc_pe_size(image, sizeof(image), &size));
    make_image();
    image[128] = 'X';
    T_CHECK(!mc_pe_size(image, sizeof(image), &size));
    T_CHECK(!mc_pe_has_section(image, sizeof(image), ".linux"));
    make_image();
    put(128 + 20, 16, 2); /* an optional header too short to hold the size */
    T_CHECK(!mc_pe_size(image, sizeof(image), &size));
}

/* Every cut of the image, in memory of exactly that length, so that ASan sees a read too far. */
static void test_pe_cut_anywhere_reads_no_further(void)
{
    static uint8_t copy[sizeof(image)];
    size_t whole = 128 + 24 + 240 + 2 * 40;

    make_image();
    put(60, 0xfffffff0, 4);
    T_CHECK(!mc_pe_has_section(image, sizeof(image), ".linux"));
    make_image();
    put(128 + 6, 0xffff, 2);
    T_CHECK(!mc_pe_has_section(image, sizeof(image), ".none"));
    make_image();
    for (size_t length = 0; length < whole + 8; length++) {
        uint8_t *end = copy + sizeof(copy) - length;
        memcpy(end, image, length);
        T_CHECK(mc_pe_has_section(end, length, ".linux") == (length >= whole));
    }
}

int main(void)
{
    T_RUN(test_pe_size_of_an_image);
    T_RUN(test_pe_has_section);
    T_RUN(test_pe_no_image_is_refused);
    T_RUN(test_pe_cut_anywhere_reads_no_further);
    return t_done();
}
