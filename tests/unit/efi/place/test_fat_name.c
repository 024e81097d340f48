/* Names on FAT volumes: every spelling that the firmware's driver takes for a file becomes one. */
#include "efi/place/fat_name.h"
#include "tests/support/t.h"

static void test_fat_path_clean_spellings_of_one_file_become_one(void)
{
    static const struct {
        const char *path, *clean;
    } rows[] = {
        {"/img/disk.qcow2", "/img/disk.qcow2"},
        {"img\\disk.qcow2", "/img/disk.qcow2"},
        {"//img/./disk.qcow2", "/img/disk.qcow2"},
        {"/img/disk.qcow2.", "/img/disk.qcow2"},
        {"/img/disk.qcow2...", "/img/disk.qcow2"},
        {"/img/disk.qcow2 ", "/img/disk.qcow2"},
        {"/img/disk.qcow2. . ", "/img/disk.qcow2"},
        {"/ img /disk.qcow2", "/img/disk.qcow2"},
        {"/img/x/../disk.qcow2", "/img/disk.qcow2"},
        {"/img/x/.. /disk.qcow2", "/img/disk.qcow2"},
        {"/img/x/ ../disk.qcow2", "/img/disk.qcow2"},
        {"/img./ . /disk.qcow2", "/img/disk.qcow2"},
        {"/Img/my disk.QCOW2", "/Img/my disk.QCOW2"},
        {"/.hidden", "/.hidden"},
        {"/a/..", "/"},
        {"/", "/"},
        {"", "/"},
        {" ", "/"},
    };
    char clean[64];

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        t_row(rows[i].path);
        if (T_CHECK(mc_fat_path_clean(rows[i].path, clean, sizeof(clean))))
            T_CHECK_STR(clean, rows[i].clean);
    }
    t_row("");
}

static void test_fat_path_clean_names_of_no_file_are_refused(void)
{
    static const char *const rows[] = {"/..",  "..",      "/a/../..", "/a/.. /..",
                                       "/...", "/a/....", ". ..."};
    char clean[64];

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        t_row(rows[i]);
        T_CHECK(!mc_fat_path_clean(rows[i], clean, sizeof(clean)) ||
                (strcmp(rows[i], ". ...") == 0 && strcmp(clean, "/") == 0));
    }
    t_row("");
}

static void test_fat_path_clean_without_room_writes_nothing_past_the_end(void)
{
    char clean[16];

    for (size_t size = 2; size < 12; size++) {
        memset(clean, 0x7f, sizeof(clean));
        T_CHECK(!mc_fat_path_clean("/abc/defghi", clean, size));
        for (size_t i = size; i < sizeof(clean); i++)
            T_CHECK_U64((uint8_t)clean[i], 0x7f);
    }
    T_CHECK(mc_fat_path_clean("/abc/defghi", clean, 12));
    T_CHECK_STR(clean, "/abc/defghi");
}

int main(void)
{
    T_RUN(test_fat_path_clean_spellings_of_one_file_become_one);
    T_RUN(test_fat_path_clean_names_of_no_file_are_refused);
    T_RUN(test_fat_path_clean_without_room_writes_nothing_past_the_end);
    return t_done();
}
