/* core/spec/: the table of a disk's keys, and setting each of them from text. */
#include "core/spec/disk_spec.h"
#include "core/spec/spec_path.h"
#include "tests/support/t.h"

static struct mc_disk_spec spec;

static const char *set(const char *key, const char *text, struct mc_spec_pool *pool)
{
    const struct mc_spec_key *row = mc_spec_find_key(key, strlen(key));

    return T_CHECK(row != NULL) ? mc_spec_set(&spec, row, text, strlen(text), pool) : "no row";
}

static void test_keys_rows_are_whole_and_spelled_once(void)
{
    for (size_t i = 0; i < mc_spec_nb_keys; i++) {
        const struct mc_spec_key *key = &mc_spec_keys[i];
        t_row(key->key);
        T_CHECK(mc_spec_find_key(key->key, strlen(key->key)) == key);
        T_CHECK(!key->option || mc_spec_find_option(key->option) == key);
        T_CHECK(!key->option ||
                (strncmp(key->option, "--", 2) == 0 && strcmp(key->option + 2, key->key) == 0));
        T_CHECK(key->help && key->value);
        T_CHECK((key->kind == MC_SPEC_WORD) == (key->words != NULL));
        T_CHECK((key->kind == MC_SPEC_WORD || key->kind == MC_SPEC_NO) == (key->refusal != NULL));
        T_CHECK(key->offset < sizeof(spec));
        for (size_t j = 0; j < i; j++)
            T_CHECK(key->offset != mc_spec_keys[j].offset);
    }
    T_CHECK(mc_spec_nb_keys < 64); /* a bit for each in the parsers */
    t_row("");
}

static void test_find_of_what_is_no_key_finds_nothing(void)
{
    static const char *const rows[] = {"", "imag", "images", "Image", "--image", "image "};

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        T_CHECK(mc_spec_find_key(rows[i], strlen(rows[i])) == NULL);
    T_CHECK(mc_spec_find_key("images", 5) != NULL);
    T_CHECK(mc_spec_find_option("--title") == NULL);
    T_CHECK(mc_spec_find_option("--mod") == NULL);
    T_CHECK(mc_spec_find_option("mode") == NULL);
}

static void test_init_gives_the_defaults(void)
{
    memset(&spec, 0xa5, sizeof(spec));
    mc_spec_init(&spec);
    T_CHECK(!spec.image && !spec.title && !spec.backing_files[0] && !spec.boot);
    T_CHECK_U64(spec.names, Q2_NAMES_BELOW);
    T_CHECK_U64(spec.format, Q2_FORMAT_QCOW2);
    T_CHECK_U64(spec.mode, MC_MODE_READ_ONLY);
    T_CHECK_U64(spec.room, 64u << 20);
    T_CHECK_U64(spec.overlay_size, 64u << 20);
    T_CHECK_U64(spec.sector_size, 0);
    T_CHECK(!spec.no_attach && !spec.may_ask);
}

/* Every word of every row is taken, and no other. */
static void test_set_words(void)
{
    for (size_t i = 0; i < mc_spec_nb_keys; i++) {
        const struct mc_spec_key *key = &mc_spec_keys[i];
        t_row(key->key);
        for (const struct mc_spec_word *word = key->words; word && word->word; word++) {
            uint32_t value;
            T_CHECK(mc_spec_set(&spec, key, word->word, strlen(word->word), NULL) == NULL);
            memcpy(&value, (char *)&spec + key->offset, sizeof(value));
            T_CHECK_U64(value, word->value);
            T_CHECK(strstr(key->value, word->word) != NULL);
            T_CHECK(strstr(key->refusal, word->word) != NULL);
        }
        if (key->words)
            T_CHECK(mc_spec_set(&spec, key, "x", 1, NULL) == key->refusal);
    }
    T_CHECK(set("attach", "no", NULL) == NULL && spec.no_attach);
    T_CHECK(set("attach", "maybe", NULL) != NULL && spec.no_attach);
    T_CHECK(set("attach", "yes", NULL) == NULL && !spec.no_attach);
    T_CHECK(set("handoff", "none", NULL) == NULL && spec.handoff == MC_HANDOFF_NONE);
    T_CHECK(set("handoff", "ramdisk", NULL) == NULL && spec.handoff == MC_HANDOFF_RAMDISK);
    T_CHECK_STR(set("handoff", "nbd", NULL), "is none of auto, server, ramdisk, none");
}

static void test_set_sizes(void)
{
    T_CHECK(set("room", "3g", NULL) == NULL);
    T_CHECK_U64(spec.room, 3ull << 30);
    T_CHECK(set("room", "7K", NULL) == NULL);
    T_CHECK_U64(spec.room, 7168);
    T_CHECK_STR(set("room", "many", NULL), "is no size up to 1024G, such as 64M");
    T_CHECK_STR(set("room", "1025G", NULL), "is no size up to 1024G, such as 64M");
    T_CHECK_STR(set("room", "M", NULL), "is no size up to 1024G, such as 64M");
    T_CHECK_U64(spec.room, 7168);
}

static void test_size_parse_table(void)
{
    static const struct {
        const char *text;
        uint64_t size; /* UINT64_MAX: is none */
    } rows[] = {
        {"0", 0},
        {"9", 9},
        {"1k", 1024},
        {"1K", 1024},
        {"2m", 2 << 20},
        {"2M", 2 << 20},
        {"1g", 1 << 30},
        {"1024G", 1ull << 40},
        {"", UINT64_MAX},
        {"k", UINT64_MAX},
        {"1 ", UINT64_MAX},
        {"1:", UINT64_MAX},
        {"-1", UINT64_MAX},
        {"1T", UINT64_MAX},
        {"1kk", UINT64_MAX},
        {"1025G", UINT64_MAX},
        {"99999999999999999999999", UINT64_MAX},
    };

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        uint64_t size = UINT64_MAX;

        t_row(rows[i].text);
        T_CHECK(mc_size_parse(rows[i].text, strlen(rows[i].text), &size) ==
                (rows[i].size != UINT64_MAX));
        T_CHECK_U64(size, rows[i].size);
    }
    t_row("");
}

static void test_set_strings_are_copied_into_the_pool(void)
{
    char bytes[40], text[] = "\\img//a.qcow2";
    struct mc_spec_pool pool = {.bytes = bytes, .size = sizeof(bytes)};

    mc_spec_init(&spec);
    T_CHECK(set("image", text, &pool) == NULL);
    memset(text, 'x', sizeof(text) - 1);
    T_CHECK_STR(spec.image, "/img/a.qcow2");
    T_CHECK(set("title", "T", &pool) == NULL);
    T_CHECK_STR(spec.title, "T");
    T_CHECK(set("backing-file", "b", &pool) == NULL);
    T_CHECK(set("backing-file", "/c", &pool) == NULL);
    T_CHECK_STR(spec.backing_files[0], "/b");
    T_CHECK_STR(spec.backing_files[1], "/c");
    T_CHECK(set("image", "..", &pool) != NULL);
    T_CHECK_STR(spec.image, "/img/a.qcow2");
    T_CHECK(set("snapshot", "0123456789012345678901234567890123456789", &pool) != NULL);
    T_CHECK(set("data-file", "0123456789012345678901234567890123456789", &pool) != NULL);
    T_CHECK(!spec.snapshot && !spec.data_file);
}

/* On a command line paths are what only the shell can judge. */
static void test_set_without_a_pool_keeps_the_pointer(void)
{
    static const char path[] = "fs0:..\\a.qcow2";

    mc_spec_init(&spec);
    T_CHECK(set("image", path, NULL) == NULL);
    T_CHECK(spec.image == path);
    for (size_t i = 0; i < MC_MAX_BACKING_FILES; i++)
        T_CHECK(set("backing-file", path, NULL) == NULL);
    T_CHECK_STR(set("backing-file", path, NULL), "is said more often than images can have layers");
}

static void test_string_gives_the_members_of_a_row(void)
{
    const struct mc_spec_key *files = mc_spec_find_key("backing-file", 12);
    const struct mc_spec_key *image = mc_spec_find_key("image", 5);

    T_CHECK(mc_spec_string(&spec, image, 0) == &spec.image);
    T_CHECK(mc_spec_string(&spec, image, 1) == NULL);
    T_CHECK(mc_spec_string(&spec, files, 3) == &spec.backing_files[3]);
    T_CHECK(mc_spec_string(&spec, files, MC_MAX_BACKING_FILES) == NULL);
    T_CHECK(mc_spec_string(&spec, mc_spec_find_key("mode", 4), 0) == NULL);
}

static void test_nearest_names_what_was_meant(void)
{
    static const struct {
        const char *word, *meant;
    } rows[] = {
        {"Titel", "title"},
        {"imgae", "image"},
        {"mod", "mode"},
        {"moode", "mode"},
        {"backing_file", "backing-file"},
        {"backingformat", "backing-format"},
        {"datafile", "data-file"},
        {"sectorsize", "sector-size"},
        {"pass-phrase-file", "passphrase-file"},
        {"linux", NULL},
        {"initrd", NULL},
        {"x", NULL},
        {"", NULL},
        {"a-word-that-is-longer-than-any", NULL},
    };
    static const char *const names[] = {"default", "timeout", "a-name-that-is-longer-than-any",
                                        NULL};
    static const char *const words[] = {"ro", NULL};

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        const char *got = mc_spec_nearest_key(rows[i].word, strlen(rows[i].word));
        t_row(rows[i].word);
        T_CHECK_STR(got ? got : "nothing", rows[i].meant ? rows[i].meant : "nothing");
    }
    T_CHECK_STR(mc_spec_nearest(names, "Timout", 6), "timeout");
    T_CHECK_STR(mc_spec_nearest(names, "tymeowt", 7), "timeout"); /* two letters are others */
    T_CHECK_STR(mc_spec_nearest(names, "tiemtu", 6), "timeout");  /* three letters of six */
    T_CHECK(mc_spec_nearest(names, "console-mode", 12) == NULL);
    T_CHECK_STR(mc_spec_nearest(words, "or", 2), "ro"); /* one letter of two may be wrong */
    t_row("");
}

static void test_path_refusal_and_form_have_the_same_bounds(void)
{
    char path[2100], form[2100];

    T_CHECK(mc_path_refusal("", 0) != NULL);
    T_CHECK(mc_path_refusal("\xff", 1) != NULL);
    memset(path, 'x', sizeof(path));
    for (size_t i = 100; i < sizeof(path); i += 100)
        path[i] = '/';
    T_CHECK(mc_path_refusal(path, 2046) == NULL);
    T_CHECK(mc_path_refusal(path, 2047) != NULL);
    T_CHECK_U64(mc_path_form(path, 2046, form, 2048), 2048);
    T_CHECK_U64(mc_path_form(path, 2046, form, 2047), 0);
    T_CHECK_U64(mc_path_form("/", 1, form, 1), 1);
    T_CHECK_U64(mc_path_form("/", 1, form, 0), 0);
}

static void test_path_refusals_say_what_is_wrong(void)
{
    static const char folder[] = "names a folder, not a file";
    static const char dots[] = "has \"..\"; paths begin at the top of the volume";
    static const char device[] = "names a device; paths are on the configuration's own volume";
    static const char character[] = "has a character that no file name can have";
    static const char ucs2[] = "has a character that file names cannot have in firmware";
    static const struct {
        const char *path, *refusal; /* NULL: none */
    } rows[] = {
        {"a", NULL},
        {"/a/b", NULL},
        {"\\a\\.\\b", NULL},
        {"./a", NULL},
        {"a...b/...", NULL},
        {"\xef\xbf\xbd", NULL}, /* U+FFFD is the last that can be */
        {"a/", folder},
        {"a\\", folder},
        {"/", folder},
        {".", folder},
        {"/./.", folder},
        {"..", dots},
        {"a/../b", dots},
        {"fs0:a", device},
        {"a\"b", character},
        {"a*b", character},
        {"a<b", character},
        {"a>b", character},
        {"a?b", character},
        {"a|b", character},
        {"a\tb", character},
        {"\xef\xbf\xbe", ucs2},     /* U+FFFE */
        {"\xf0\x9f\x98\x80", ucs2}, /* beyond the basic plane */
        {"\xff", "is not UTF-8"},
        {"a/\xc3", "is not UTF-8"},
    };
    char name[300];

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        const char *got = mc_path_refusal(rows[i].path, strlen(rows[i].path));

        t_row(rows[i].path);
        T_CHECK_STR(got ? got : "none", rows[i].refusal ? rows[i].refusal : "none");
    }
    t_row("");
    memset(name, 'x', sizeof(name));
    T_CHECK(mc_path_refusal(name, 255) == NULL);
    T_CHECK_STR(mc_path_refusal(name, 256), "has a file name over 255 characters");
}

/* A sum that is none must not turn the check off: it fits no file. */
static void test_set_sums(void)
{
    static const char sum[] = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
    static const char refusal[] = "is no SHA-256: 64 hexadecimal digits";
    char bytes[80];
    struct mc_spec_pool pool = {.bytes = bytes, .size = sizeof(bytes)};

    mc_spec_init(&spec);
    T_CHECK(spec.sums[0] == NULL);
    T_CHECK(set("verify", sum, &pool) == NULL);
    T_CHECK(spec.sums[0] == bytes && strcmp(spec.sums[0], sum) == 0);
    T_CHECK_STR(set("verify", sum + 1, NULL), refusal);
    T_CHECK_STR(set("verify", "", NULL), refusal);
    T_CHECK(set("verify", sum, &pool) != NULL); /* the pool is full */
    for (size_t i = 1; i < 4; i++)
        T_CHECK_STR(spec.sums[i], "");
    for (size_t i = 4; i < 9; i++) {
        static const char strays[] = "/:@Gg";
        char text[sizeof(sum)];

        memcpy(text, sum, sizeof(sum));
        text[i * 7] = strays[i - 4]; /* neighbours of the digits; first and second of a byte */
        T_CHECK_STR(set("verify", text, NULL), refusal);
        T_CHECK_STR(spec.sums[i], "");
    }
    for (size_t i = 9; i < MC_MAX_SUMS; i++)
        T_CHECK(set("verify", sum, NULL) == NULL);
    T_CHECK_STR(set("verify", sum, NULL), "is said for more than 16 files");
    T_CHECK_STR(spec.sums[MC_MAX_SUMS - 1], "");
}

static void test_sum_parse_takes_both_cases(void)
{
    static const char sum[] = "BA7816BF8F01CFEA414140DE5DAE2223b00361a396177a9cb410ff61f20015aD";
    uint8_t bytes[MC_SUM_LENGTH];

    T_CHECK(mc_sum_parse(sum, bytes));
    T_CHECK(bytes[0] == 0xba && bytes[3] == 0xbf && bytes[31] == 0xad);
    T_CHECK(!mc_sum_parse("BA", bytes));
    T_CHECK(
        !mc_sum_parse("BA7816BF8F01CFEA414140DE5DAE2223b00361a396177a9cb410ff61f20015aD0", bytes));
}

int main(void)
{
    T_RUN(test_keys_rows_are_whole_and_spelled_once);
    T_RUN(test_find_of_what_is_no_key_finds_nothing);
    T_RUN(test_init_gives_the_defaults);
    T_RUN(test_set_words);
    T_RUN(test_set_sizes);
    T_RUN(test_size_parse_table);
    T_RUN(test_set_strings_are_copied_into_the_pool);
    T_RUN(test_set_without_a_pool_keeps_the_pointer);
    T_RUN(test_string_gives_the_members_of_a_row);
    T_RUN(test_set_sums);
    T_RUN(test_path_refusals_say_what_is_wrong);
    T_RUN(test_nearest_names_what_was_meant);
    T_RUN(test_path_refusal_and_form_have_the_same_bounds);
    T_RUN(test_sum_parse_takes_both_cases);
    return t_done();
}
