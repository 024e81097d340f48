/* Load options as bytes: taking apart, putting together, comparing, numbers and orders. */
#include "efi/base/load_option.h"

#include <stdlib.h>
#include <string.h>

#include "tests/support/t.h"

#define END    0x7f, 0xff, 4, 0
#define PCI    1, 1, 6, 0, 0, 2
#define USB    3, 5, 6, 0, 1, 0
#define HD(n)  4, 1, 8, 0, n, 0, 0, 0
#define FILE_A 4, 4, 8, 0, 'a', 0, 0, 0
#define FILE_B 4, 4, 8, 0, 'b', 0, 0, 0

struct bytes {
    const char *name;
    size_t size;
    uint8_t bytes[48];
};

static const struct bytes sound[] = {
    {"shortest", 12, {1, 0, 0, 0, 4, 0, 0, 0, END}},
    {"description, path, data",
     31,
     {1, 0, 0, 0x80, 18, 0, 'm', 0, 0, 0, PCI, FILE_A, END, 'd', 't', 'a'}},
    {"two paths", 20, {0, 0, 0, 0, 12, 0, 0, 0, 1, 1, 4, 0, END, END}},
};

static void test_load_option_decode_and_encode_are_inverse(void)
{
    for (size_t i = 0; i < sizeof(sound) / sizeof(sound[0]); i++) {
        struct mc_load_option option;
        uint8_t back[48];

        t_row(sound[i].name);
        T_CHECK(mc_load_option_decode(sound[i].bytes, sound[i].size, &option));
        T_CHECK_U64(mc_load_option_encode(&option, back, sizeof(back)), sound[i].size);
        T_CHECK(memcmp(back, sound[i].bytes, sound[i].size) == 0);
        T_CHECK_U64(mc_load_option_encode(&option, back, sound[i].size - 1), 0);
        T_CHECK_U64(mc_load_option_encode(&option, back, sound[i].size), sound[i].size);
    }
}

static void test_load_option_decode_parts(void)
{
    struct mc_load_option option;

    T_CHECK(mc_load_option_decode(sound[1].bytes, sound[1].size, &option));
    T_CHECK_U64(option.attributes, 0x80000001u);
    T_CHECK_U64(option.description_size, 4);
    T_CHECK_U64(option.path_size, 18);
    T_CHECK_U64(option.data_size, 3);
    T_CHECK(memcmp(option.data, "dta", 3) == 0);
}

static void test_load_option_decode_refuses_what_is_malformed(void)
{
    static const struct bytes rows[] = {
        {"nothing", 0, {0}},
        {"shorter than its head", 5, {1, 0, 0, 0, 4}},
        {"no description", 6, {1, 0, 0, 0, 4, 0}},
        {"a description without end", 10, {1, 0, 0, 0, 4, 0, 'a', 0, 'b', 0}},
        {"half a character", 9, {1, 0, 0, 0, 4, 0, 'a', 0, 0}},
        {"no path", 8, {1, 0, 0, 0, 0, 0, 0, 0}},
        {"path past the end", 12, {1, 0, 0, 0, 5, 0, 0, 0, END}},
        {"node shorter than a node", 12, {1, 0, 0, 0, 4, 0, 0, 0, 1, 1, 3, 0}},
        {"node past the path", 14, {1, 0, 0, 0, 6, 0, 0, 0, 1, 1, 7, 0, 0, 2}},
        {"path without end", 14, {1, 0, 0, 0, 6, 0, 0, 0, PCI}},
        {"end of an instance only", 12, {1, 0, 0, 0, 4, 0, 0, 0, 0x7f, 1, 4, 0}},
    };

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct mc_load_option option = {.path_size = 77};
        uint8_t *exact = malloc(rows[i].size + 1); /* with ASan: nothing after it is read */

        t_row(rows[i].name);
        memcpy(exact + 1, rows[i].bytes, rows[i].size);
        T_CHECK(!mc_load_option_decode(exact + 1, rows[i].size, &option));
        T_CHECK_U64(option.path_size, 77);
        free(exact);
    }
}

static void test_load_option_decode_survives_every_cut_and_flip(void)
{
    const struct bytes *whole = &sound[1];

    for (size_t size = 0; size <= whole->size; size++) {
        for (size_t at = 0; at < size; at++) {
            uint8_t *copy = malloc(size);
            struct mc_load_option option;

            memcpy(copy, whole->bytes, size);
            copy[at] ^= 0xff;
            if (mc_load_option_decode(copy, size, &option))
                T_CHECK(option.data + option.data_size == copy + size);
            free(copy);
        }
    }
}

static void test_load_option_encode_refuses_a_path_that_is_too_long(void)
{
    static uint8_t path[0x10000 + 16], to[sizeof(path) + 64];
    static const uint8_t no_text[2] = {0, 0};
    struct mc_load_option option = {.description = no_text, .description_size = 2, .path = path};

    option.path_size = 0xffff;
    T_CHECK_U64(mc_load_option_encode(&option, to, sizeof(to)), 0xffff + 8);
    option.path_size = 0x10000;
    T_CHECK_U64(mc_load_option_encode(&option, to, sizeof(to)), 0);
    option.path_size = SIZE_MAX - 4;
    T_CHECK_U64(mc_load_option_encode(&option, to, sizeof(to)), 0);
    T_CHECK_U64(mc_load_option_encode(&option, to, 5), 0);
}

static void test_load_option_match(void)
{
    static const struct {
        const char *name;
        enum mc_option_match match;
        uint32_t attributes;
        struct bytes option, wanted;
    } rows[] = {
        {"the same", MC_OPTION_SAME, 1, {"", 18, {PCI, FILE_A, END}}, {"", 18, {PCI, FILE_A, END}}},
        {"a name in capitals",
         MC_OPTION_SAME,
         1,
         {"", 18, {PCI, 4, 4, 8, 0, 'A', 0, 0, 0, END}},
         {"", 18, {PCI, FILE_A, END}}},
        {"letters of another node count",
         MC_OPTION_OTHER,
         1,
         {"", 18, {PCI, 4, 3, 8, 0, 'A', 0, 0, 0, END}},
         {"", 18, {PCI, 4, 3, 8, 0, 'a', 0, 0, 0, END}}},
        {"not active",
         MC_OPTION_STALE,
         0,
         {"", 18, {PCI, FILE_A, END}},
         {"", 18, {PCI, FILE_A, END}}},
        {"another file",
         MC_OPTION_OTHER,
         1,
         {"", 18, {PCI, FILE_B, END}},
         {"", 18, {PCI, FILE_A, END}}},
        {"another device without partition",
         MC_OPTION_OTHER,
         1,
         {"", 18, {USB, FILE_A, END}},
         {"", 18, {PCI, FILE_A, END}}},
        {"the partition on another bus",
         MC_OPTION_STALE,
         1,
         {"", 26, {USB, HD(1), FILE_A, END}},
         {"", 26, {PCI, HD(1), FILE_A, END}}},
        {"another partition",
         MC_OPTION_OTHER,
         1,
         {"", 26, {PCI, HD(2), FILE_A, END}},
         {"", 26, {PCI, HD(1), FILE_A, END}}},
        {"short form and long form",
         MC_OPTION_STALE,
         1,
         {"", 20, {HD(1), FILE_A, END}},
         {"", 26, {PCI, HD(1), FILE_A, END}}},
        {"long form and short form",
         MC_OPTION_STALE,
         1,
         {"", 26, {PCI, HD(1), FILE_A, END}},
         {"", 20, {HD(1), FILE_A, END}}},
        {"a partition on one side only",
         MC_OPTION_OTHER,
         1,
         {"", 12, {FILE_A, END}},
         {"", 20, {HD(1), FILE_A, END}}},
        {"the first of two paths counts",
         MC_OPTION_SAME,
         1,
         {"", 30, {PCI, FILE_A, END, FILE_B, END}},
         {"", 18, {PCI, FILE_A, END}}},
    };

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct mc_load_option option = {.attributes = rows[i].attributes,
                                        .path = rows[i].option.bytes,
                                        .path_size = rows[i].option.size};

        t_row(rows[i].name);
        T_CHECK(mc_load_option_match(&option, rows[i].wanted.bytes, rows[i].wanted.size) ==
                rows[i].match);
    }
}

static void test_option_path_prefix(void)
{
    static const struct {
        size_t prefix;
        struct bytes path;
    } rows[] = {
        {0, {"no partition", 18, {PCI, FILE_A, END}}},
        {6, {"after a bus", 26, {PCI, HD(1), FILE_A, END}}},
        {14, {"the last one", 34, {PCI, HD(1), HD(2), FILE_A, END}}},
        {0, {"in front", 20, {HD(1), FILE_A, END}}},
        {0, {"after the end", 18, {PCI, END, HD(1)}}},
    };

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        t_row(rows[i].path.name);
        T_CHECK_U64(mc_option_path_prefix(rows[i].path.bytes, rows[i].path.size), rows[i].prefix);
    }
}

/* ASCII as UCS-2. */
static const uint16_t *ucs2(const char *text)
{
    static uint16_t units[32];
    size_t n = 0;

    for (; text[n] != '\0'; n++)
        units[n] = (unsigned char)text[n];
    units[n] = 0;
    return units;
}

static void test_option_name(void)
{
    static const struct {
        const char *name;
        bool is_option;
        uint16_t number;
    } rows[] = {
        {"Driver0000", true, 0},
        {"Driver00AF", true, 0xaf},
        {"DriverFFFF", true, 0xffff},
        {"Driver00af", false, 0},
        {"Driver000", false, 0},
        {"Driver00000", false, 0},
        {"DriverOrder", false, 0},
        {"Boot0000", false, 0},
        {"driver0000", false, 0},
        {"Driver", false, 0},
        {"", false, 0},
        {"Driver00:0", false, 0},
        {"Driver000G", false, 0},
        {"Driver00/1", false, 0},
    };

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        uint16_t number = 7, name[16];

        t_row(rows[i].name);
        T_CHECK(mc_option_name_parse(ucs2(rows[i].name), "Driver", &number) == rows[i].is_option);
        if (!rows[i].is_option)
            continue;
        T_CHECK_U64(number, rows[i].number);
        mc_option_name_put("Driver", number, name);
        T_CHECK(memcmp(name, ucs2(rows[i].name), 22) == 0);
    }
}

static void test_option_number_is_the_lowest_that_is_free(void)
{
    static uint8_t used[MC_NB_OPTIONS / 8];
    uint16_t number = 9;

    T_CHECK(mc_option_number_find(used, &number));
    T_CHECK_U64(number, 0);
    used[0] = 0xff;
    used[1] = 0x07;
    T_CHECK(mc_option_number_find(used, &number));
    T_CHECK_U64(number, 11);
    memset(used, 0xff, sizeof(used));
    T_CHECK(!mc_option_number_find(used, &number));
    used[sizeof(used) - 1] = 0x7f;
    T_CHECK(mc_option_number_find(used, &number));
    T_CHECK_U64(number, 0xffff);
}

static void test_order_keeps_the_others_in_their_places(void)
{
    static const struct {
        const char *name;
        bool insert, in_front;
        size_t nb, nb_new;
        uint16_t order[5], want[5];
    } rows[] = {
        {"into nothing", true, false, 0, 1, {0}, {4}},
        {"after", true, false, 3, 4, {9, 2, 7}, {9, 2, 7, 4}},
        {"in front", true, true, 3, 4, {9, 2, 7}, {4, 9, 2, 7}},
        {"is there", true, true, 3, 3, {9, 4, 7}, {9, 4, 7}},
        {"out of the middle", false, false, 3, 2, {9, 4, 7}, {9, 7}},
        {"out of it twice", false, false, 4, 2, {4, 9, 4, 7}, {9, 7}},
        {"not in it", false, false, 2, 2, {9, 7}, {9, 7}},
        {"the only one", false, false, 1, 0, {4}, {0}},
    };

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        uint16_t order[5];
        size_t nb;

        t_row(rows[i].name);
        memcpy(order, rows[i].order, sizeof(order));
        nb = rows[i].insert ? mc_order_insert(order, rows[i].nb, 4, rows[i].in_front)
                            : mc_order_remove(order, rows[i].nb, 4);
        T_CHECK_U64(nb, rows[i].nb_new);
        T_CHECK(memcmp(order, rows[i].want, nb * sizeof(order[0])) == 0);
    }
}

int main(void)
{
    T_RUN(test_load_option_decode_and_encode_are_inverse);
    T_RUN(test_load_option_decode_parts);
    T_RUN(test_load_option_decode_refuses_what_is_malformed);
    T_RUN(test_load_option_decode_survives_every_cut_and_flip);
    T_RUN(test_load_option_encode_refuses_a_path_that_is_too_long);
    T_RUN(test_load_option_match);
    T_RUN(test_option_path_prefix);
    T_RUN(test_option_name);
    T_RUN(test_option_number_is_the_lowest_that_is_free);
    T_RUN(test_order_keeps_the_others_in_their_places);
    return t_done();
}
