/* efi/menu/options.c: the keys of a disk as one line. */
#include "efi/menu/options.h"

#include "tests/support/t.h"

#define SUM "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff"

static struct mc_options options;
static struct mc_options_problem problem;

static void check_line(const struct mc_disk_spec *spec, const char *line)
{
    char text[512];

    T_CHECK_U64(mc_options_format(spec, text, sizeof(text)), strlen(line));
    T_CHECK_STR(text, line);
}

/* Every line here is written as it was read. */
static void test_options_lines_survive_the_way_there_and_back(void)
{
    static const char *const rows[] = {
        "image=/a.qcow2",
        "image=/a.qcow2 mode=rw room=0",
        "image=/a.raw format=raw mode=overlay overlay-size=1G sector-size=4096",
        "image=\"/my images/a b.qcow2\" data-file=/d.raw",
        "image=/a.qcow2 backing-file=/b.qcow2 backing-file=\"/c d\" backing-format=raw",
        "image=/a.qcow2 snapshot=\"before \"\"the\"\" upgrade\" names=none",
        "image=/a.qcow2 snapshot=\"\"\"x\" boot=/EFI/x.efi",
        "image=/a.qcow2 handoff=ramdisk",
        "image=/a.qcow2 handoff=none handoff-secure-boot=yes",
        "image=/a.qcow2 passphrase-file=/p key-file=/k room=1537",
        "image=/a.qcow2 room=12K overlay-size=2049M",
        "image=/a=b.qcow2 snapshot=\xc3\xa4",
        "image=/a.qcow2 verify=" SUM " verify=" SUM,
    };

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct mc_disk_spec sorted;
        static char again[512];

        t_row(rows[i]);
        if (!T_CHECK(mc_options_parse(rows[i], &options, &problem)))
            continue;
        sorted = options.spec;
        (void)mc_options_format(&sorted, again, sizeof(again));
        T_CHECK_U64(strlen(again), strlen(rows[i]));
        if (T_CHECK(mc_options_parse(again, &options, &problem)))
            check_line(&options.spec, again);
    }
}

static void test_options_parse_sets_what_the_line_says(void)
{
    T_CHECK(mc_options_parse("  mode=rw\t image=\\img\\a.qcow2  snapshot=\"a \"\" b\" ", &options,
                             &problem));
    T_CHECK_STR(options.spec.image, "/img/a.qcow2");
    T_CHECK_STR(options.spec.snapshot, "a \" b");
    T_CHECK_U64(options.spec.mode, MC_MODE_READ_WRITE);
    T_CHECK_U64(options.spec.room, 64 << 20); /* not said: its default */
    T_CHECK(options.spec.title == NULL);
    T_CHECK(!options.spec.may_ask);
}

static void test_options_parse_wrong_line_is_refused(void)
{
    static const struct {
        const char *line, *text, *nearest;
        size_t at, key_length;
    } rows[] = {
        {"", "image is missing; write image=FILE", NULL, 0, 0},
        {"mode=rw ", "image is missing; write image=FILE", NULL, 8, 0},
        {"image=/a mdoe=rw", "is no key", "mode", 9, 4},
        {"image=/a qqqqqq=1", "is no key", NULL, 9, 6},
        {"image=/a =rw", "is no key", NULL, 9, 0},
        {"image=/a mode=RW", "is none of ro, rw, overlay", NULL, 9, 4},
        {"image=/a mode=", "has no value; write KEY=VALUE", NULL, 9, 4},
        {"image=/a mode", "has no value; write KEY=VALUE", NULL, 9, 4},
        {"image=/a mode rw", "has no value; write KEY=VALUE", NULL, 9, 4},
        {"image=/a mode=ro mode=rw", "is given twice; remove one of them", NULL, 17, 4},
        {"image=/a snapshot=\"x", "has a quote that does not end; add a quote", NULL, 9, 8},
        {"image=/a snapshot=\"x\"\"", "has a quote that does not end; add a quote", NULL, 9, 8},
        {"image=/a snapshot=\"", "has a quote that does not end; add a quote", NULL, 9, 8},
        {"image=/a snapshot=\"\"", "has no value; write KEY=VALUE", NULL, 9, 8},
        {"image=/a snapshot=\"x\"y", "needs a blank after the quote; write a quote inside twice",
         NULL, 9, 8},
        {"image=/a title=x", "cannot be changed for one boot; change it in the entry's file", NULL,
         9, 5},
        {"image=/a attach=no", "cannot be changed for one boot; change it in the entry's file",
         NULL, 9, 6},
        {"image=/a version=1", "cannot be changed for one boot; change it in the entry's file",
         NULL, 9, 7},
        {"image=/a verify=\"\"", "has no value; write KEY=VALUE", NULL, 9,
         6}, /* how a wrong sum is shown */
        {"image=/a verify=12", "is no SHA-256: 64 hexadecimal digits", NULL, 9, 6},
        {"image=/a room=1X", "is no size up to 1024G, such as 64M", NULL, 9, 4},
    };

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        t_row(rows[i].line);
        if (!T_CHECK(!mc_options_parse(rows[i].line, &options, &problem)))
            continue;
        T_CHECK_STR(problem.text, rows[i].text);
        T_CHECK_STR(problem.nearest ? problem.nearest : "", rows[i].nearest ? rows[i].nearest : "");
        T_CHECK_U64(problem.at, rows[i].at);
        T_CHECK_U64(problem.key_length, rows[i].key_length);
    }
}

/* The longest line there is, of values that need a byte more than they were typed with. */
static void test_options_parse_full_line_is_read(void)
{
    static char line[MC_FIELD_SIZE];
    size_t n = (size_t)snprintf(line, sizeof(line), "image=a");

    for (int i = 0; i < 15; i++)
        n += (size_t)snprintf(line + n, sizeof(line) - n, " backing-file=%0100d", i);
    T_CHECK(mc_options_parse(line, &options, &problem));
    T_CHECK_U64(options.spec.backing_files[14][0], '/');
    T_CHECK_U64(strlen(options.spec.backing_files[14]), 101);
    n += (size_t)snprintf(line + n, sizeof(line) - n, " backing-file=x");
    T_CHECK(!mc_options_parse(line, &options, &problem));
    memset(line, 'x', sizeof(line) - 1);
    T_CHECK(!mc_options_parse(line, &options, &problem));
    memcpy(line, "image=\"", 7);
    T_CHECK(!mc_options_parse(line, &options, &problem));
}

static void test_options_format_small_buffer_is_cut(void)
{
    char text[8];

    T_CHECK(mc_options_parse("image=/a.qcow2", &options, &problem));
    T_CHECK_U64(mc_options_format(&options.spec, text, sizeof(text)), 14);
    T_CHECK_STR(text, "image=/");
}

static void test_options_key_at_finds_the_key_of_a_place(void)
{
    static const char line[] = "image=\"/a b\" mode=ro  title=x";
    static const struct {
        size_t at;
        const char *key;
    } rows[] = {{0, "image"}, {5, "image"}, {9, "image"}, {11, "image"}, {12, "image"},
                {13, "mode"}, {20, "mode"}, {21, ""},     {26, ""},      {200, ""}};

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        const struct mc_spec_key *key = mc_options_key_at(line, rows[i].at);
        char row[16];

        (void)snprintf(row, sizeof(row), "%zu", rows[i].at);
        t_row(row);
        T_CHECK_STR(key ? key->key : "", rows[i].key);
    }
}

int main(void)
{
    T_RUN(test_options_lines_survive_the_way_there_and_back);
    T_RUN(test_options_parse_sets_what_the_line_says);
    T_RUN(test_options_parse_wrong_line_is_refused);
    T_RUN(test_options_parse_full_line_is_read);
    T_RUN(test_options_format_small_buffer_is_cut);
    T_RUN(test_options_key_at_finds_the_key_of_a_place);
    return t_done();
}
