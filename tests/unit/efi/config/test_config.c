/* efi/config/config.c and efi/config/config_order.c: every rule of the configuration with rows that
 * pass and rows that fail.
 */
#include <stdlib.h>

#include "efi/config/config.h"
#include "tests/support/t.h"

static struct mc_problems problems;

/* What is kept of the problems: how many, and the first. */
static void check_kept(uint32_t nb, const struct mc_problem *first, uint32_t want)
{
    T_CHECK_U64(nb, want);
    T_CHECK((first->text != NULL) == (want > 0));
    if (want == 0 || !first->text)
        return;
    T_CHECK_U64(first->status, problems.list[0].status);
    T_CHECK_U64(first->line, problems.list[0].line);
    T_CHECK_STR(first->text, problems.list[0].text);
}

/* Is the last problem one that is no line of the file? */
static bool is_about_the_entry(void)
{
    uint32_t nb = problems.nb < MC_MAX_PROBLEMS ? problems.nb : MC_MAX_PROBLEMS;

    return nb > 0 && (problems.list[nb - 1].status == MC_CONFIG_NO_IMAGE ||
                      problems.list[nb - 1].status == MC_CONFIG_NOT_WRITTEN);
}

/* Parse from a heap copy of exactly the length, so that AddressSanitizer sees a byte too far. Gives
 * the first problem's status; the entry is usable exactly if it has an image. */
static enum mc_config_status parse_entry(const char *text, size_t length, struct mc_entry *entry,
                                         struct mc_problem *error)
{
    char *copy = malloc(length);
    bool usable;

    for (size_t i = 0; i < length; i++)
        copy[i] = text[i];
    entry->problem = (struct mc_problem){.text = NULL};
    usable = mc_entry_parse(copy, length, entry, &problems);
    free(copy);
    T_CHECK(usable == (entry->spec.image != NULL));
    T_CHECK(usable || problems.nb > 0);
    check_kept(entry->nb_problems, &entry->problem, problems.nb - is_about_the_entry());
    if (problems.nb == 0)
        return MC_CONFIG_OK;
    *error = problems.list[0];
    return error->status;
}

static enum mc_config_status parse(const char *text, struct mc_entry *entry,
                                   struct mc_problem *error)
{
    return parse_entry(text, strlen(text), entry, error);
}

static void test_entry_parse_image_only_has_the_defaults(void)
{
    struct mc_entry entry;
    struct mc_problem error;

    memset(&entry, 0xa5, sizeof entry);
    T_CHECK_U64(parse("image /img/debian.qcow2", &entry, &error), MC_CONFIG_OK);
    T_CHECK_STR(entry.spec.image, "/img/debian.qcow2");
    T_CHECK(entry.spec.boot == NULL);
    T_CHECK_STR(entry.id, "");
    T_CHECK(entry.spec.title == NULL);
    T_CHECK(entry.spec.snapshot == NULL);
    T_CHECK(entry.spec.data_file == NULL);
    T_CHECK(entry.spec.backing_files[0] == NULL);
    T_CHECK(entry.spec.passphrase_file == NULL);
    T_CHECK(entry.spec.key_file == NULL);
    T_CHECK(entry.spec.sort_key == NULL);
    T_CHECK(entry.spec.machine_id == NULL);
    T_CHECK(entry.spec.version == NULL);
    T_CHECK_U64(entry.spec.names, Q2_NAMES_BELOW);
    T_CHECK_U64(entry.spec.mode, MC_MODE_READ_ONLY);
    T_CHECK_U64(entry.spec.overlay_size, 64ull << 20);
    T_CHECK_U64(entry.spec.room, 64ull << 20);
    T_CHECK(!entry.spec.no_attach);
    T_CHECK_U64(entry.spec.sector_size, 0);
    T_CHECK_U64(entry.spec.format, Q2_FORMAT_QCOW2);
    T_CHECK_U64(entry.spec.backing_format, Q2_UNSAID_REFUSED);
}

static void test_entry_parse_every_key_is_kept(void)
{
    static const char text[] = "\xef\xbb\xbf# a comment\r\n"
                               "title   Debian \xc3\x9c \xf0\x9f\x90\xae (stick) \t\r\n"
                               "\r\n"
                               "image \\img\\.\\debian.qcow2\r\n"
                               "  data-file\timg//debian.raw\r\n"
                               "backing-file /img/base.qcow2\n"
                               "backing-file /img/base 2.qcow2\n"
                               "format raw\nsector-size 4096\n"
                               "backing-format raw\n"
                               "snapshot before upgrade\n"
                               "names none\n"
                               "mode overlay\n"
                               "overlay-size 100M\n"
                               "room 3g\n"
                               "attach no\n"
                               "boot \\EFI\\debian\\grubx64.efi\n"
                               "passphrase-file /keys/a\n"
                               "key-file /keys/b\n"
                               "sort-key debian\n"
                               "version 6.1.0-13\n"
                               "machine-id 0123456789abcdef0123456789abcdef";
    struct mc_entry entry;
    struct mc_problem error;

    T_CHECK_U64(parse(text, &entry, &error), MC_CONFIG_OK);
    T_CHECK_STR(entry.spec.title, "Debian \xc3\x9c \xf0\x9f\x90\xae (stick)");
    T_CHECK_STR(entry.spec.image, "/img/debian.qcow2");
    T_CHECK_STR(entry.spec.data_file, "/img/debian.raw");
    T_CHECK_STR(entry.spec.backing_files[0], "/img/base.qcow2");
    T_CHECK_U64(entry.spec.backing_format, Q2_UNSAID_RAW);
    T_CHECK_STR(entry.spec.snapshot, "before upgrade");
    T_CHECK_U64(entry.spec.names, Q2_NAMES_NONE);
    T_CHECK_U64(entry.spec.mode, MC_MODE_OVERLAY);
    T_CHECK_U64(entry.spec.overlay_size, 100ull << 20);
    T_CHECK_U64(entry.spec.room, 3ull << 30);
    T_CHECK(entry.spec.no_attach);
    T_CHECK_U64(entry.spec.sector_size, 4096);
    T_CHECK_U64(entry.spec.format, Q2_FORMAT_RAW);
    T_CHECK_STR(entry.spec.backing_files[1], "/img/base 2.qcow2");
    T_CHECK(entry.spec.backing_files[2] == NULL);
    T_CHECK_STR(entry.spec.boot, "/EFI/debian/grubx64.efi");
    T_CHECK_STR(entry.spec.passphrase_file, "/keys/a");
    T_CHECK_STR(entry.spec.key_file, "/keys/b");
    T_CHECK_STR(entry.spec.sort_key, "debian");
    T_CHECK_STR(entry.spec.version, "6.1.0-13");
    T_CHECK_STR(entry.spec.machine_id, "0123456789abcdef0123456789abcdef");
}

static void test_entry_parse_words_have_their_values(void)
{
    static const struct {
        const char *text;
        unsigned names, mode, backing_format;
        bool attach;
    } rows[] = {
        {"names below\nmode ro\nbacking-format raw\nattach yes", Q2_NAMES_BELOW, MC_MODE_READ_ONLY,
         Q2_UNSAID_RAW, true},
        {"names none\nmode rw\nbacking-format qcow2\nattach no", Q2_NAMES_NONE, MC_MODE_READ_WRITE,
         Q2_UNSAID_QCOW2, false},
        {"names any\nmode overlay\nattach yes", Q2_NAMES_ANY, MC_MODE_OVERLAY, Q2_UNSAID_REFUSED,
         true},
    };

    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct mc_entry entry;
        struct mc_problem error;
        char text[256];

        t_row(rows[i].text);
        (void)snprintf(text, sizeof text, "image a\n%s\n", rows[i].text);
        T_CHECK_U64(parse(text, &entry, &error), MC_CONFIG_OK);
        T_CHECK_U64(entry.spec.names, rows[i].names);
        T_CHECK_U64(entry.spec.mode, rows[i].mode);
        T_CHECK_U64(entry.spec.no_attach, !rows[i].attach);
        T_CHECK_U64(entry.spec.backing_format, rows[i].backing_format);
    }
}

static void test_entry_parse_sizes(void)
{
    static const struct {
        const char *size;
        uint64_t bytes; /* UINT64_MAX: refused */
    } rows[] = {
        {"0", 0},
        {"1", 1},
        {"4096", 4096},
        {"7K", 7168},
        {"7k", 7168},
        {"64M", 64ull << 20},
        {"64m", 64ull << 20},
        {"1024G", 1ull << 40},
        {"1099511627776", 1ull << 40},
        {"1025G", UINT64_MAX},
        {"1099511627777", UINT64_MAX},
        {"18446744073709551617", UINT64_MAX},
        {"99999999999999999999999G", UINT64_MAX},
        {"M", UINT64_MAX},
        {"-1", UINT64_MAX},
        {"1.5G", UINT64_MAX},
        {"64MB", UINT64_MAX},
        {"64 M", UINT64_MAX},
        {"1T", UINT64_MAX},
    };

    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct mc_entry entry;
        struct mc_problem error;
        char text[256], line[128], want[128];

        t_row(rows[i].size);
        (void)snprintf(text, sizeof text, "image a\nroom %s\n", rows[i].size);
        if (rows[i].bytes != UINT64_MAX) {
            T_CHECK_U64(parse(text, &entry, &error), MC_CONFIG_OK);
            T_CHECK_U64(entry.spec.room, rows[i].bytes);
            continue;
        }
        T_CHECK_U64(parse(text, &entry, &error), MC_CONFIG_BAD_VALUE);
        (void)mc_problem_format(&error, "f", line, sizeof line);
        (void)snprintf(want, sizeof want,
                       "f, line 2: room '%s' is no size up to 1024G, such as 64M", rows[i].size);
        T_CHECK_STR(line, want);
    }
}

/* Every unknown key is named, with the key that was meant if there is one near. */
static void test_entry_parse_unknown_keys_are_named(void)
{
    static const struct {
        const char *text;
        unsigned nb;
        const char *last; /* as formatted */
    } rows[] = {
        {"image a\nlinux /vmlinuz\ninitrd /a\ninitrd /b\n", 3, "f, line 4: initrd is no key"},
        {"images a\nimage a\n", 1, "f, line 1: images is no key; did you mean image?"},
        {"imgae a\nimage a\n", 1, "f, line 1: imgae is no key; did you mean image?"},
        {"image a\nTitel x\n", 1, "f, line 2: Titel is no key; did you mean title?"},
        {"image a\nTITLE x\n", 1, "f, line 2: TITLE is no key; did you mean title?"},
        {"image a\ntitle=x\n", 1, "f, line 2: title=x is no key; did you mean title?"},
        {"image a\nmachine_id x\n", 1, "f, line 2: machine_id is no key; did you mean machine-id?"},
        {"image a\nbackingfile x\n", 1,
         "f, line 2: backingfile is no key; did you mean backing-file?"},
        {"image a\nalone\n", 1, "f, line 2: alone is no key"},
        {"image a\nf\xc3\xbcr mich\n", 1, "f, line 2: f??r is no key"},
        {"image a\n0123456789012345678901234567890123456789 x\n", 1,
         "f, line 2: 0123456789012345678901234567890 is no key"},
    };

    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct mc_entry entry;
        struct mc_problem error;
        char line[128];

        t_row(rows[i].text);
        T_CHECK_U64(parse(rows[i].text, &entry, &error), MC_CONFIG_UNKNOWN);
        T_CHECK_STR(entry.spec.image, "/a");
        T_CHECK_U64(problems.nb, rows[i].nb);
        (void)mc_problem_format(&problems.list[rows[i].nb - 1], "f", line, sizeof line);
        T_CHECK_STR(line, rows[i].last);
    }
}

/* A line that is wrong is a problem, and the other lines count. */
static void test_entry_parse_wrong_line_costs_that_line_only(void)
{
    static const char *const wrong[] = {"names all",    "mode",         "title \xff",  "room x",
                                        "boot a/../b",  "nothing here", "handoff nbd", "image b",
                                        "title a\x01b", "attach maybe", "snapshot"};
    char text[256];

    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        struct mc_entry entry;
        struct mc_problem error;

        t_row(wrong[i]);
        (void)snprintf(text, sizeof text, "image a\n%s\nsort-key k\nkey-file /k\n", wrong[i]);
        T_CHECK(parse(text, &entry, &error) != MC_CONFIG_OK);
        T_CHECK_U64(problems.nb, 1);
        T_CHECK_U64(error.line, 2);
        T_CHECK_STR(entry.spec.image, "/a");
        T_CHECK_STR(entry.spec.sort_key, "k");
        T_CHECK_STR(entry.spec.key_file, "/k");
        T_CHECK(entry.spec.title == NULL && entry.spec.boot == NULL);
        T_CHECK_U64(entry.spec.room, 64ull << 20);
    }
}

/* What was not understood whole is not written to. */
static void test_entry_parse_mode_rw_with_a_problem_becomes_ro(void)
{
    struct mc_entry entry;
    struct mc_problem error;
    char line[128];

    T_CHECK_U64(parse("image a\nmode rw\n", &entry, &error), MC_CONFIG_OK);
    T_CHECK_U64(entry.spec.mode, MC_MODE_READ_WRITE);
    T_CHECK_U64(parse("image a\nmode rw\ndatafile b\n", &entry, &error), MC_CONFIG_UNKNOWN);
    T_CHECK_U64(entry.spec.mode, MC_MODE_READ_ONLY);
    T_CHECK_U64(problems.nb, 2);
    (void)mc_problem_format(&problems.list[1], "f", line, sizeof line);
    T_CHECK_STR(line, "f: mode is ro until the lines above are right");
    T_CHECK_U64(parse("image a\nmode overlay\ndatafile b\n", &entry, &error), MC_CONFIG_UNKNOWN);
    T_CHECK_U64(entry.spec.mode, MC_MODE_OVERLAY);
}

static void test_entry_parse_more_problems_than_the_list_has_are_counted(void)
{
    static const struct {
        const char *line;
        enum mc_config_status status;
    } rows[] = {
        {"x y\n", MC_CONFIG_UNKNOWN},        {"verify\n", MC_CONFIG_NO_VALUE},
        {"verify x\n", MC_CONFIG_BAD_VALUE}, {"#\x01\n", MC_CONFIG_BAD_CHARACTER},
        {"#\xff\n", MC_CONFIG_BAD_ENCODING},
    };

    for (size_t row = 0; row < sizeof rows / sizeof *rows; row++) {
        struct mc_entry entry;
        struct mc_problem error;
        char text[400] = "image a\n";
        t_row(rows[row].line);
        for (int i = 0; i < 40; i++)
            strcat(text, rows[row].line);
        T_CHECK_U64(parse(text, &entry, &error), rows[row].status);
        T_CHECK_U64(problems.nb, 40);
        T_CHECK_U64(problems.list[MC_MAX_PROBLEMS - 1].line, MC_MAX_PROBLEMS + 1);
    }
}

/* Values that are right alone and too long together. */
static void test_entry_parse_texts_too_long_together_are_refused(void)
{
    static char text[64 * 1024];
    struct mc_entry entry;
    struct mc_problem error;
    size_t n = 0;

    n += (size_t)sprintf(text, "image a\n");
    for (int i = 0; i < 12; i++) {
        n += (size_t)sprintf(text + n, "backing-file ");
        for (int j = 0; j < 2000; j++)
            text[n++] = j % 100 == 99 ? '/' : 'b';
        n += (size_t)sprintf(text + n, "c\n");
    }
    T_CHECK_U64(parse(text, &entry, &error), MC_CONFIG_BAD_VALUE);
    T_CHECK_STR(error.text, "does not fit: the paths and texts of one disk are too long together");
    T_CHECK(entry.spec.backing_files[6] != NULL && entry.spec.backing_files[11] == NULL);
}

/* Lines of verify that cannot be used are reported, and still pin something that no file has. */
static void test_entry_parse_verify_lines(void)
{
    static const char text[] =
        "image a\nverify ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad\n"
        "verify\nverify abc\n";

    struct mc_entry entry;

    T_CHECK(mc_entry_parse(text, sizeof(text) - 1, &entry, &problems));
    T_CHECK(entry.spec.sums[0] && strlen(entry.spec.sums[0]) == 64);
    T_CHECK_STR(entry.spec.sums[1], "");
    T_CHECK_STR(entry.spec.sums[2], "");
    T_CHECK(entry.spec.sums[3] == NULL);
    T_CHECK_U64(problems.nb, 2);
    T_CHECK(problems.list[0].status == MC_CONFIG_NO_VALUE);
    T_CHECK(problems.list[1].status == MC_CONFIG_BAD_VALUE);
}

static void test_entry_parse_more_backing_files_than_layers_are_refused(void)
{
    char text[600] = "image a\n";
    struct mc_entry entry;
    struct mc_problem error;

    for (int i = 0; i < 16; i++)
        strcat(text, "backing-file b\n");
    T_CHECK_U64(parse(text, &entry, &error), MC_CONFIG_BAD_VALUE);
    T_CHECK_U64(error.line, 17);
    T_CHECK_U64(problems.nb, 1);
}

/* An expected refusal: as formatted, and its status. */
struct refusal {
    const char *text;
    enum mc_config_status status;
    const char *message;
};

static void check_refusal(const struct refusal *row, enum mc_config_status status,
                          const struct mc_problem *error)
{
    char message[256];

    T_CHECK_U64(status, row->status);
    if (status == MC_CONFIG_OK)
        return;
    T_CHECK_U64(error->status, row->status);
    (void)mc_problem_format(error, "f", message, sizeof message);
    T_CHECK_STR(message, row->message);
}

static void test_entry_parse_bad_line_is_refused(void)
{
    static const struct refusal rows[] = {
        {"", MC_CONFIG_NO_IMAGE, "f: image is missing; add a line 'image FILE'"},
        {"\xef\xbb\xbf", MC_CONFIG_NO_IMAGE, "f: image is missing; add a line 'image FILE'"},
        {"title x\n#image a\n", MC_CONFIG_NO_IMAGE, "f: image is missing; add a line 'image FILE'"},
        {"image", MC_CONFIG_NO_VALUE, "f, line 1: image has no value; write it after the key"},
        {"title x\r\nimage \t\r\n", MC_CONFIG_NO_VALUE,
         "f, line 2: image has no value; write it after the key"},
        {"image a\n\nimage b\n", MC_CONFIG_DUPLICATE,
         "f, line 3: image is given twice; the first line counts"},
        {"attach no\nattach no\n", MC_CONFIG_DUPLICATE,
         "f, line 2: attach is given twice; the first line counts"},
        {"names all\n", MC_CONFIG_BAD_VALUE, "f, line 1: names 'all' is none of below, none, any"},
        {"names Below\n", MC_CONFIG_BAD_VALUE,
         "f, line 1: names 'Below' is none of below, none, any"},
        {"mode r\n", MC_CONFIG_BAD_VALUE, "f, line 1: mode 'r' is none of ro, rw, overlay"},
        {"mode row\n", MC_CONFIG_BAD_VALUE, "f, line 1: mode 'row' is none of ro, rw, overlay"},
        {"backing-format vmdk\n", MC_CONFIG_BAD_VALUE,
         "f, line 1: backing-format 'vmdk' is neither raw nor qcow2"},
        {"format vmdk\n", MC_CONFIG_BAD_VALUE, "f, line 1: format 'vmdk' is neither qcow2 nor raw"},
        {"sector-size 520\n", MC_CONFIG_BAD_VALUE,
         "f, line 1: sector-size '520' is neither 512 nor 4096"},
        {"attach true\n", MC_CONFIG_BAD_VALUE, "f, line 1: attach 'true' is neither yes nor no"},
        {"handoff nbd\n", MC_CONFIG_BAD_VALUE,
         "f, line 1: handoff 'nbd' is none of auto, server, ramdisk, none"},
        {"title a\x01", MC_CONFIG_BAD_CHARACTER,
         "f, line 1 has a character that cannot be seen; write the line anew"},
        {"title a\x7f", MC_CONFIG_BAD_CHARACTER,
         "f, line 1 has a character that cannot be seen; write the line anew"},
        {"title a\xc2\x9f", MC_CONFIG_BAD_CHARACTER,
         "f, line 1 has a character that cannot be seen; write the line anew"},
        {"image a\n# \x1b[2J\n", MC_CONFIG_BAD_CHARACTER,
         "f, line 2 has a character that cannot be seen; write the line anew"},
        {"image a\rtitle b\n", MC_CONFIG_BAD_CHARACTER,
         "f, line 1 has a character that cannot be seen; write the line anew"},
        {"image a\r\r\n", MC_CONFIG_BAD_CHARACTER,
         "f, line 1 has a character that cannot be seen; write the line anew"},
        {"title \xff\n", MC_CONFIG_BAD_ENCODING, "f, line 1 is not UTF-8; save the file as UTF-8"},
        {"\xff\xfei", MC_CONFIG_BAD_ENCODING, "f is UTF-16; save the file as UTF-8"},
        {"\xfe\xff", MC_CONFIG_BAD_ENCODING, "f is UTF-16; save the file as UTF-8"},
        {"\xff\xff", MC_CONFIG_BAD_ENCODING, "f, line 1 is not UTF-8; save the file as UTF-8"},
        {"\xfe", MC_CONFIG_BAD_ENCODING, "f, line 1 is not UTF-8; save the file as UTF-8"},
    };

    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        static struct mc_entry entry;
        struct mc_problem error;

        t_row(rows[i].message);
        check_refusal(&rows[i], parse(rows[i].text, &entry, &error), &error);
    }
}

static void test_entry_parse_nul_byte_is_refused(void)
{
    static const struct refusal rows[] = {
        {"image a\0b\n", MC_CONFIG_BAD_CHARACTER,
         "f, line 1 has a zero byte; save the file as plain text"},
        {"image ab\n\0", MC_CONFIG_BAD_CHARACTER,
         "f, line 2 has a zero byte; save the file as plain text"},
        {"\0image ab\n", MC_CONFIG_BAD_CHARACTER,
         "f, line 1 has a zero byte; save the file as plain text"},
    };

    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct mc_entry entry;
        struct mc_problem error;

        t_row(rows[i].message);
        check_refusal(&rows[i], parse_entry(rows[i].text, 10, &entry, &error), &error);
    }
}

static void test_entry_parse_utf8_is_judged_by_its_table(void)
{
    static const struct {
        const char *bytes;
        bool good;
    } rows[] = {
        {"\xc2\xa0", true},
        {"\xdf\xbf", true},
        {"\xe0\xa0\x80", true},
        {"\xed\x9f\xbf", true},
        {"\xee\x80\x80", true},
        {"\xef\xbf\xbf", true},
        {"\xf0\x90\x80\x80", true},
        {"\xf4\x8f\xbf\xbf", true},
        {"\x80", false},
        {"\xbf", false},
        {"\xc0\xaf", false},
        {"\xc1\xbf", false},
        {"\xc3", false},
        {"\xc3(", false},
        {"\xe0\x9f\xbf", false},
        {"\xe2\x82", false},
        {"\xe2\x28\xa1", false},
        {"\xed\xa0\x80", false},
        {"\xed\xbf\xbf", false},
        {"\xf0\x8f\xbf\xbf", false},
        {"\xf0\x9f\x90", false},
        {"\xf4\x90\x80\x80", false},
        {"\xf5\x80\x80\x80", false},
        {"\xf8\x88\x80\x80\x80", false},
        {"\xfe", false},
        {"\xff", false},
    };

    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct mc_entry entry;
        struct mc_problem error;
        char text[32], name[16];

        (void)snprintf(name, sizeof name, "row %zu", i);
        t_row(name);
        (void)snprintf(text, sizeof text, "image a\ntitle %s", rows[i].bytes);
        T_CHECK_U64(parse(text, &entry, &error),
                    rows[i].good ? MC_CONFIG_OK : MC_CONFIG_BAD_ENCODING);
        (void)snprintf(text, sizeof text, "image a\n# %s \n", rows[i].bytes);
        T_CHECK_U64(parse(text, &entry, &error),
                    rows[i].good ? MC_CONFIG_OK : MC_CONFIG_BAD_ENCODING);
    }
}

static void test_entry_parse_path_is_made_absolute(void)
{
    static const struct {
        const char *given, *path;
    } rows[] = {
        {"a", "/a"},
        {"/a", "/a"},
        {"\\a\\b", "/a/b"},
        {"a/b\\c", "/a/b/c"},
        {"./a", "/a"},
        {"//a///b", "/a/b"},
        {"/a/./b", "/a/b"},
        {"/a/././b", "/a/b"},
        {"/.a/..b/c..", "/.a/..b/c.."},
        {"/a b/c d.qcow2", "/a b/c d.qcow2"},
        {"/\xc3\xbc/\xe2\x82\xac", "/\xc3\xbc/\xe2\x82\xac"},
        {"/\xef\xbf\xbd", "/\xef\xbf\xbd"},
    };

    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct mc_entry entry;
        struct mc_problem error;
        char text[128];

        t_row(rows[i].given);
        (void)snprintf(text, sizeof text, "image %s\n", rows[i].given);
        T_CHECK_U64(parse(text, &entry, &error), MC_CONFIG_OK);
        T_CHECK_STR(entry.spec.image, rows[i].path);
    }
}

static void test_entry_parse_bad_path_is_refused(void)
{
    static const char device[] = "names a device; paths are on the configuration's own volume";
    static const char parent[] = "has \"..\"; paths begin at the top of the volume";
    static const char folder[] = "names a folder, not a file";
    static const char character[] = "has a character that no file name can have";
    static const char plane[] = "has a character that file names cannot have in firmware";
    static const struct {
        const char *given, *why;
    } rows[] = {
        {"fs0:\\img\\a", device},
        {"file:/a", device},
        {"/a/b:c", device},
        {"..", parent},
        {"/../a", parent},
        {"/a/..\\b", parent},
        {"/", folder},
        {"\\", folder},
        {"/a/", folder},
        {".", folder},
        {"/./.", folder},
        {"/a*", character},
        {"/a?", character},
        {"\"/a\"", character},
        {"/a<b", character},
        {"/a>b", character},
        {"/a|b", character},
        {"/a\tb", character},
        {"/\xf0\x9f\x90\xae", plane},
        {"/\xef\xbf\xbe", plane},
        {"/\xef\xbf\xbf", plane},
    };
    static const char *const keys[] = {"image", "data-file", "backing-file",
                                       "boot",  "key-file",  "passphrase-file"};

    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        const char *key = keys[i % (sizeof keys / sizeof *keys)];
        struct mc_entry entry;
        struct mc_problem error;
        char text[128], message[128];

        t_row(rows[i].given);
        (void)snprintf(text, sizeof text, "%s %s\n", key, rows[i].given);
        (void)snprintf(message, sizeof message, "f, line 1: %s '%s' %s", key, rows[i].given,
                       rows[i].why);
        check_refusal(&(struct refusal){text, MC_CONFIG_BAD_VALUE, message},
                      parse(text, &entry, &error), &error);
    }
}

/* What is shown of a value ends between two characters. */
#define X40 "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"
_Static_assert(sizeof(X40) == MC_MAX_VALUE_SHOWN + 1, "what is shown of a longer one");

static void test_config_error_shows_whole_characters_of_a_value(void)
{
    struct mc_entry entry;
    struct mc_problem error;
    char text[64] = "mode ", line[128];

    for (unsigned int i = 0; i < 14; i++)
        strcat(text, "\xe2\x82\xac"); /* 42 bytes */
    T_CHECK_U64(parse(text, &entry, &error), MC_CONFIG_BAD_VALUE);
    T_CHECK_U64(strlen(error.value), 13 * 3 + 3);
    (void)mc_problem_format(&error, "f", line, sizeof line);
    T_CHECK(strstr(line, "\xe2\x82\xac...' is none of ro, rw, overlay") != NULL);
    T_CHECK_U64(parse("mode " X40, &entry, &error), MC_CONFIG_BAD_VALUE);
    T_CHECK_STR(error.value, X40); /* all of it */
}

/* "KEY xxx...", with nb_x of them and a '/' after each part_length, part_length 0: none. */
static void long_line(char *text, const char *key, size_t nb_x, size_t part_length)
{
    int n = sprintf(text, "%s ", key);

    for (size_t i = 0; i < nb_x; i++)
        text[n++] = part_length != 0 && i % (part_length + 1) == part_length ? '/' : 'x';
    text[n] = '\0';
}

static void test_entry_parse_length_is_limited(void)
{
    static const struct {
        const char *key;
        size_t nb_x, part_length;
        struct refusal refusal;
    } rows[] = {
        {"image a\ntitle", 255, 0, {"title of 255", MC_CONFIG_OK, ""}},
        {"title",
         256,
         0,
         {"title of 256", MC_CONFIG_BAD_VALUE,
          "f, line 1: title '" X40 "...' is longer than 255 bytes"}},
        {"snapshot",
         256,
         0,
         {"snapshot of 256", MC_CONFIG_BAD_VALUE,
          "f, line 1: snapshot '" X40 "...' is longer than 255 bytes"}},
        {"image", 255, 0, {"component of 255", MC_CONFIG_OK, ""}},
        {"image",
         256,
         0,
         {"component of 256", MC_CONFIG_BAD_VALUE,
          "f, line 1: image '" X40 "...' has a file name over 255 characters"}},
        {"image", 2046, 100, {"path of 2046", MC_CONFIG_OK, ""}},
        {"image",
         2047,
         100,
         {"path of 2047", MC_CONFIG_BAD_VALUE,
          "f, line 1: image '" X40 "...' is longer than 2046 bytes"}},
        {"image a\n#", 60000, 0, {"comment of 60000", MC_CONFIG_OK, ""}},
        {"image a\n#", 65536 - 10, 0, {"file of 64 KiB", MC_CONFIG_OK, ""}},
        {"image a\n#",
         65536 - 9,
         0,
         {"file over 64 KiB", MC_CONFIG_TOO_LARGE,
          "f is larger than 64 KiB, so it is no file of entries or settings"}},
    };
    static char text[70000];

    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct mc_entry entry;
        struct mc_problem error;

        t_row(rows[i].refusal.text);
        long_line(text, rows[i].key, rows[i].nb_x, rows[i].part_length);
        check_refusal(&rows[i].refusal, parse(text, &entry, &error), &error);
    }
}

/* Every prefix of a good file parses or is refused, and nothing is read after it. */
static void test_entry_parse_every_prefix_is_safe(void)
{
    static const char text[] = "\xef\xbb\xbftitle \xc3\x9c\r\nimage \\a\\b\r\nboot /x/y\nmode rw";
    unsigned good = 0;

    for (size_t length = 0; length < sizeof text; length++) {
        struct mc_entry entry;
        struct mc_problem error;

        good += parse_entry(text, length, &entry, &error) == MC_CONFIG_OK;
    }
    /* Good ones end in or after the value of image ("/a", "/a/b"), but not in a folder's name, nor
     * in a key or a value that is cut. */
    T_CHECK_U64(good, 8);
}

static enum mc_config_status parse_settings(const char *text, struct mc_settings *settings,
                                            struct mc_problem *error)
{
    size_t length = strlen(text);
    char *copy = malloc(length); /* as above */

    for (size_t i = 0; i < length; i++)
        copy[i] = text[i];
    memset(settings, 0xa5, sizeof *settings);
    mc_settings_parse(copy, length, settings, &problems);
    free(copy);
    check_kept(settings->nb_problems, &settings->problem, problems.nb);
    if (problems.nb == 0)
        return MC_CONFIG_OK;
    *error = problems.list[0];
    return error->status;
}

/* What is wrong costs its line: `default` holds beside it. */
static void test_settings_parse_lines_count_by_themselves(void)
{
    static const struct {
        const char *text, *default_entry;
        unsigned nb_problems;
    } rows[] = {
        {"", "", 0},
        {"default debian*\n", "debian*", 0},
        {"console-mode max\nbeep no\ndefault a b", "a b", 2},
        {"default @saved", MC_DEFAULT_SAVED, 0},
        {"default a\ndefault b\n", "a", 1},
        {"timeout 5\ndefault a\ntimeout 6\n", "a", 1},
        {"timeout x\ndefault a\neditor x\n", "a", 2},
        {"default\n", "", 1},
        {"\xff\ndefault a", "a", 1},
    };

    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct mc_settings settings;
        struct mc_problem error;

        t_row(rows[i].text);
        (void)parse_settings(rows[i].text, &settings, &error);
        T_CHECK_STR(settings.default_entry, rows[i].default_entry);
        T_CHECK_U64(problems.nb, rows[i].nb_problems);
    }
}

static void test_settings_parse_values_are_taken(void)
{
    static const struct {
        const char *text;
        enum mc_menu_when menu;
        uint32_t seconds, no_editor;
    } rows[] = {
        {"", MC_MENU_HIDDEN, 0, 0},
        {"timeout 0", MC_MENU_HIDDEN, 0, 0},
        {"timeout 1", MC_MENU_TIMEOUT, 1, 0},
        {"timeout 1980", MC_MENU_TIMEOUT, 1980, 0},
        {"timeout 3600\neditor yes", MC_MENU_TIMEOUT, 3600, 0},
        {"timeout menu-force\neditor no", MC_MENU_FORCE, 0, 1},
        {"timeout menu-hidden", MC_MENU_HIDDEN, 0, 0},
        {"timeout 3601\neditor maybe", MC_MENU_HIDDEN, 0, 0},
        {"timeout\ntimeout 7", MC_MENU_TIMEOUT, 7, 0},
    };

    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct mc_settings settings;
        struct mc_problem error;

        t_row(rows[i].text);
        (void)parse_settings(rows[i].text, &settings, &error);
        T_CHECK_U64(settings.menu, rows[i].menu);
        T_CHECK_U64(settings.timeout_seconds, rows[i].seconds);
        T_CHECK_U64(settings.no_editor, rows[i].no_editor);
    }
}

static void test_settings_parse_bad_line_is_refused(void)
{
#define TIMEOUT_REFUSAL(value)                                                                     \
    "f, line 1: timeout '" value "' is neither a number of seconds up to 3600, nor menu-force, "   \
    "nor menu-hidden"
    static const struct refusal rows[] = {
        {"timeout 3601", MC_CONFIG_BAD_VALUE, TIMEOUT_REFUSAL("3601")},
        {"timeout -1", MC_CONFIG_BAD_VALUE, TIMEOUT_REFUSAL("-1")},
        {"timeout 5s", MC_CONFIG_BAD_VALUE, TIMEOUT_REFUSAL("5s")},
        {"timeout 0x5", MC_CONFIG_BAD_VALUE, TIMEOUT_REFUSAL("0x5")},
        {"timeout 4294967297", MC_CONFIG_BAD_VALUE, TIMEOUT_REFUSAL("4294967297")},
        {"timeout menu", MC_CONFIG_BAD_VALUE, TIMEOUT_REFUSAL("menu")},
        {"timeout", MC_CONFIG_NO_VALUE, "f, line 1: timeout has no value; write it after the key"},
        {"editor No", MC_CONFIG_BAD_VALUE, "f, line 1: editor 'No' is neither yes nor no"},
        {"editor yes\neditor yes", MC_CONFIG_DUPLICATE,
         "f, line 2: editor is given twice; the first line counts"},
        {"defualt x", MC_CONFIG_UNKNOWN, "f, line 1: defualt is no key; did you mean default?"},
        {"default a\ndefault a", MC_CONFIG_DUPLICATE,
         "f, line 2: default is given twice; the first line counts"},
        {"\ndefault \xc3\n", MC_CONFIG_BAD_ENCODING,
         "f, line 2 is not UTF-8; save the file as UTF-8"},
        {"\xff\xfe", MC_CONFIG_BAD_ENCODING, "f is UTF-16; save the file as UTF-8"},
    };
    static char text[400] = "default ";

    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct mc_settings settings;
        struct mc_problem error;

        t_row(rows[i].text);
        check_refusal(&rows[i], parse_settings(rows[i].text, &settings, &error), &error);
    }
    for (size_t n = 255; n <= 256; n++) {
        struct mc_settings settings;
        struct mc_problem error;
        memset(text + 8, 'x', n);
        T_CHECK_U64(parse_settings(text, &settings, &error),
                    n == 255 ? MC_CONFIG_OK : MC_CONFIG_BAD_VALUE);
        T_CHECK_U64(strlen(settings.default_entry), n == 255 ? 255 : 0);
    }
}

static void test_config_error_format_is_cut_to_the_buffer(void)
{
    struct mc_problem error = {MC_CONFIG_BAD_VALUE, 4294967295u, "is bad", NULL, "key", "x"};
    char buffer[64];

    T_CHECK_U64(mc_problem_format(&error, "F", buffer, sizeof buffer), 34);
    T_CHECK_STR(buffer, "F, line 4294967295: key 'x' is bad");
    for (size_t size = 1; size <= 35; size++) {
        char *cut = malloc(size);
        T_CHECK_U64(mc_problem_format(&error, "F", cut, size), 34);
        T_CHECK_U64(strlen(cut), size - 1);
        T_CHECK(strncmp(cut, buffer, size - 1) == 0);
        free(cut);
    }
}

static void test_entry_set_id_takes_conf_files_only(void)
{
    static const struct {
        const char *file, *id;
    } rows[] = {
        {"debian.conf", "debian"}, {"DEBIAN.CONF", "DEBIAN"},
        {"a.conf.conf", "a.conf"}, {"a+3-1.conf", "a+3-1"},
        {".conf", NULL},           {"conf", NULL},
        {"a.conf", "a"},           {"a.config", NULL},
        {"a.conf~", NULL},         {"", NULL},
        {"aconf", NULL},           {"a_conf", NULL},
        {"a.donf", NULL},          {"a.cenf", NULL},
        {"a.comf", NULL},          {"a.cont", NULL},
    };
    static struct mc_entry entry;
    char name[300];

    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        t_row(rows[i].file);
        strcpy(entry.id, "kept");
        T_CHECK(mc_entry_set_id(&entry, rows[i].file) == (rows[i].id != NULL));
        T_CHECK_STR(entry.id, rows[i].id != NULL ? rows[i].id : "kept");
    }
    for (size_t length = 254; length <= 257; length++) {
        memset(name, 'x', length);
        strcpy(name + length, ".conf");
        T_CHECK(mc_entry_set_id(&entry, name) == (length <= 255));
    }
    T_CHECK_U64(strlen(entry.id), 255);
}

static void test_entry_title_falls_back_to_the_id(void)
{
    static struct mc_entry entry = {.spec = {.image = NULL}, .id = "debian"};

    T_CHECK_STR(mc_entry_title(&entry), "debian");
    entry.spec.title = "Debian";
    T_CHECK_STR(mc_entry_title(&entry), "Debian");
}

static int sign(int n)
{
    return (n > 0) - (n < 0);
}

/* The specification's own example of an order, and its single rules. */
static void test_version_compare_ascending_list_is_in_order(void)
{
    static const char *const versions[] = {
        "~",         "~~",      "~a",      "",        "0.9",   "A",
        "B",         "Z",       "a",       "b",       "z",     "122.1",
        "123~rc1-1", "123",     "123-a",   "123-a.1", "123-1", "123-1.1",
        "123^post1", "123.a-1", "123.1-1", "123a-1",  "124-1", "1000000000000000000000000"};
    size_t nb = sizeof versions / sizeof *versions;

    for (size_t i = 0; i < nb; i++) {
        for (size_t j = 0; j < nb; j++) {
            char row[64];
            (void)snprintf(row, sizeof row, "\"%s\" and \"%s\"", versions[i], versions[j]);
            t_row(row);
            T_CHECK(sign(mc_version_compare(versions[i], versions[j])) == (i > j) - (i < j));
        }
    }
}

static void test_version_compare_equal_versions_are_equal(void)
{
    static const struct {
        const char *a, *b;
    } rows[] = {
        {"", ""},
        {"1.2-3", "1.2-3"},
        {"1.02", "1.2"},
        {"007", "7"},
        {"0", "00"},
        {"1+a", "1a"},
        {"\xc3\xa4"
         "1",
         "1"},
        {"1+", "1"},
        {"_", ""},
        {"~", "~"},
        {"1-", "1-"},
        {"a^b", "a^b"},
    };

    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        t_row(rows[i].a);
        T_CHECK(mc_version_compare(rows[i].a, rows[i].b) == 0);
        T_CHECK(mc_version_compare(rows[i].b, rows[i].a) == 0);
    }
}

static struct mc_entry order[] = {
    {.spec = {.sort_key = "a", .machine_id = "1", .version = "2"}, .id = "p"},
    {.spec = {.sort_key = "a", .machine_id = "1", .version = "1"}, .id = "z"},
    {.spec = {.sort_key = "a", .machine_id = "2", .version = "10"}, .id = "y"},
    {.spec = {.sort_key = "a", .machine_id = "2", .version = "9"}, .id = "x"},
    {.spec = {.sort_key = "a", .machine_id = "2", .version = "9"}, .id = "w"},
    {.spec = {.sort_key = "b"}, .id = "debian-2"},
    {.spec = {.sort_key = "b"}, .id = "debian-1"},
    {.spec = {.image = NULL}, .id = "debian-10"},
    {.spec = {.version = "99"}, .id = "debian-9"},
    {.spec = {.machine_id = "0"}, .id = "debian-8"},
    {.spec = {.image = NULL}, .id = "debian-07"},
    {.spec = {.image = NULL}, .id = "debian-7"},
    {.spec = {.image = NULL}, .id = "deb+ian"},
    {.spec = {.image = NULL}, .id = "deb_ian"},
    {.spec = {.image = NULL}, .id = "Debian"},
};

static void test_entry_compare_list_is_in_order(void)
{
    size_t nb = sizeof order / sizeof *order;

    for (size_t i = 0; i < nb; i++) {
        for (size_t j = 0; j < nb; j++) {
            char row[64];
            (void)snprintf(row, sizeof row, "%.20s and %.20s", order[i].id, order[j].id);
            t_row(row);
            T_CHECK(sign(mc_entry_compare(&order[i], &order[j])) == (i > j) - (i < j));
        }
    }
}

static void test_glob_match_pattern_decides(void)
{
    static const struct {
        const char *pattern, *name;
        bool match;
    } rows[] = {
        {"", "", true},
        {"", "a", false},
        {"a", "", false},
        {"*", "", true},
        {"**", "", true},
        {"*", "anything", true},
        {"debian", "debian", true},
        {"debian", "DEBIAN", true},
        {"DEBIAN", "debian", true},
        {"az", "AZ", true},
        {"AZ", "az", true},
        {"`", "@", false},
        {"{", "[", false},
        {"debian", "debian2", false},
        {"debian2", "debian", false},
        {"debian*", "debian", true},
        {"debian*", "debian-12", true},
        {"*12", "debian-12", true},
        {"*12", "debian-12a", false},
        {"d*n*2", "debian-12", true},
        {"d*n*3", "debian-12", false},
        {"*a*b*c*", "xxaxxbxxcxx", true},
        {"*a*b*c*", "xxaxxcxxbxx", false},
        {"*aab", "aaaab", true},
        {"d?bian", "debian", true},
        {"d?bian", "dbian", false},
        {"?", "", false},
        {"?", "\xc3\xa4", true},
        {"?", "\xf0\x9f\x90\xae", true},
        {"??", "\xc3\xa4", false},
        {"?\xc3\xa4", "a\xc3\xa4", true},
        {"[abc]", "b", true},
        {"[abc]", "B", true},
        {"[abc]", "d", false},
        {"[abc]", "]", false},
        {"[a-c]x", "bx", true},
        {"[A-C]x", "bx", true},
        {"[a-c]x", "dx", false},
        {"[!a-c]x", "dx", true},
        {"[!a-c]x", "ax", false},
        {"[0-9][0-9]", "42", true},
        {"[]]", "]", true},
        {"[!]]", "]", false},
        {"[!]]", "a", true},
        {"[]-a]", "^", true},
        {"[a-]", "-", true},
        {"[-a]", "-", true},
        {"[-a]", "b", false},
        {"[\xc3\xa0-\xc3\xbc]", "\xc3\xa4", true},
        {"[\xc3\xa0-\xc3\xbc]", "a", false},
        {"[a", "[a", true},
        {"[a", "a", false},
        {"[]", "[]", true},
        {"[!]", "[!]", true},
        {"*[ab]", "xxa", true},
        {"*[ab]c", "xacbc", true},
        {"[ab]", "", false},
        {"\xff", "\xff", true},
        {"\xc3", "\xc3", true},
    };

    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char row[64];
        (void)snprintf(row, sizeof row, "%s on %s", rows[i].pattern, rows[i].name);
        t_row(row);
        T_CHECK(mc_glob_match(rows[i].pattern, rows[i].name) == rows[i].match);
    }
}

static void test_entry_matches_with_and_without_suffix(void)
{
    static struct mc_entry entry = {.spec = {.image = NULL}, .id = "debian-12"};
    static struct mc_entry longest;

    T_CHECK(mc_entry_matches(&entry, "debian-12"));
    T_CHECK(mc_entry_matches(&entry, "debian-12.conf"));
    T_CHECK(mc_entry_matches(&entry, "DEBIAN-*"));
    T_CHECK(mc_entry_matches(&entry, "*.conf"));
    T_CHECK(!mc_entry_matches(&entry, "debian"));
    T_CHECK(!mc_entry_matches(&entry, ""));
    memset(longest.id, 'x', MC_MAX_TEXT_LENGTH);
    T_CHECK(mc_entry_matches(&longest, "x*x.conf"));
}

int main(void)
{
    T_RUN(test_entry_parse_image_only_has_the_defaults);
    T_RUN(test_entry_parse_every_key_is_kept);
    T_RUN(test_entry_parse_words_have_their_values);
    T_RUN(test_entry_parse_sizes);
    T_RUN(test_entry_parse_unknown_keys_are_named);
    T_RUN(test_entry_parse_wrong_line_costs_that_line_only);
    T_RUN(test_entry_parse_mode_rw_with_a_problem_becomes_ro);
    T_RUN(test_entry_parse_more_problems_than_the_list_has_are_counted);
    T_RUN(test_entry_parse_texts_too_long_together_are_refused);
    T_RUN(test_entry_parse_verify_lines);
    T_RUN(test_entry_parse_more_backing_files_than_layers_are_refused);
    T_RUN(test_entry_parse_bad_line_is_refused);
    T_RUN(test_entry_parse_nul_byte_is_refused);
    T_RUN(test_entry_parse_utf8_is_judged_by_its_table);
    T_RUN(test_entry_parse_path_is_made_absolute);
    T_RUN(test_entry_parse_bad_path_is_refused);
    T_RUN(test_entry_parse_length_is_limited);
    T_RUN(test_entry_parse_every_prefix_is_safe);
    T_RUN(test_settings_parse_lines_count_by_themselves);
    T_RUN(test_settings_parse_values_are_taken);
    T_RUN(test_settings_parse_bad_line_is_refused);
    T_RUN(test_config_error_shows_whole_characters_of_a_value);
    T_RUN(test_config_error_format_is_cut_to_the_buffer);
    T_RUN(test_entry_set_id_takes_conf_files_only);
    T_RUN(test_entry_title_falls_back_to_the_id);
    T_RUN(test_version_compare_ascending_list_is_in_order);
    T_RUN(test_version_compare_equal_versions_are_equal);
    T_RUN(test_entry_compare_list_is_in_order);
    T_RUN(test_glob_match_pattern_decides);
    T_RUN(test_entry_matches_with_and_without_suffix);
    return t_done();
}
