/* Any bytes as a configuration: parsed, formatted, sorted and matched; then the invariants that
 * callers build on are checked.
 *
 * Input: one byte where to cut, then two files, of which the first also serves as a pattern.
 */
#include <stdlib.h>
#include <string.h>

#include "efi/config/config.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool holds)
{
    if (!holds)
        abort();
}

/* What the opener and the firmware side count on. */
static void check_path(const char *path)
{
    size_t length = path ? strlen(path) : 0;

    if (!path)
        return;
    require(length > 1 && length <= Q2_MAX_PATH_LENGTH);
    require(path[0] == '/' && path[length - 1] != '/');
    require(strstr(path, "//") == NULL && strstr(path, "/../") == NULL);
    require(strpbrk(path, "\\:*?\"<>|") == NULL);
}

static void check_problems(const struct mc_problems *problems)
{
    char line[256];

    for (uint32_t i = 0; i < problems->nb && i < MC_MAX_PROBLEMS; i++) {
        const struct mc_problem *problem = &problems->list[i];
        require(problem->status != MC_CONFIG_OK && problem->status < MC_CONFIG_NB_STATUS);
        require(problem->text != NULL);
        require(mc_problem_format(problem, "file", line, sizeof line) > 4);
        require(strlen(line) < sizeof line);
    }
}

static bool parse_entry(const uint8_t *data, size_t size, struct mc_entry *entry)
{
    static struct mc_problems problems;
    const struct mc_disk_spec *spec = &entry->spec;
    bool is_usable = mc_entry_parse((const char *)data, size, entry, &problems);

    check_problems(&problems);
    require(is_usable == (spec->image != NULL));
    check_path(spec->image);
    check_path(spec->boot);
    check_path(spec->data_file);
    for (size_t i = 0; i < MC_MAX_BACKING_FILES; i++)
        check_path(spec->backing_files[i]);
    check_path(spec->passphrase_file);
    check_path(spec->key_file);
    require(spec->names <= Q2_NAMES_ANY && spec->mode <= MC_MODE_OVERLAY);
    require(spec->mode != MC_MODE_READ_WRITE || problems.nb == 0);
    require(!spec->title || strlen(spec->title) <= MC_MAX_TEXT_LENGTH);
    return is_usable;
}

static int sign(int n)
{
    return (n > 0) - (n < 0);
}

static void check_strings(const uint8_t *data, size_t cut, size_t size)
{
    char a[256] = "", b[256] = "";

    memcpy(a, data, cut < 255 ? cut : 255);
    memcpy(b, data + cut, size - cut < 255 ? size - cut : 255);
    require(sign(mc_version_compare(a, b)) == -sign(mc_version_compare(b, a)));
    require(mc_version_compare(a, a) == 0);
    (void)mc_glob_match(a, b);
    require(strpbrk(a, "[") != NULL || mc_glob_match(a, a));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct mc_entry a, b;
    struct mc_settings settings;
    static struct mc_problems problems;
    size_t cut;

    if (size < 1)
        return 0;
    cut = data[0] < size - 1 ? data[0] : size - 1;
    data++;
    size--;
    mc_settings_parse((const char *)data, size, &settings, &problems);
    check_problems(&problems);
    (void)parse_entry(data, size, &a);
    if (parse_entry(data, cut, &a) && parse_entry(data + cut, size - cut, &b)) {
        require(sign(mc_entry_compare(&a, &b)) == -sign(mc_entry_compare(&b, &a)));
        (void)mc_entry_set_id(&a, mc_entry_title(&a));
        (void)mc_entry_matches(&a, mc_entry_title(&b));
    }
    check_strings(data, cut, size);
    return 0;
}
