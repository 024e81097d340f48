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
static void check_path(const char *path, bool may_be_absent)
{
    size_t length = strlen(path);

    require(length <= Q2_MAX_PATH_LENGTH && (length > 1 || (length == 0 && may_be_absent)));
    if (length == 0)
        return;
    require(path[0] == '/' && path[length - 1] != '/');
    require(strstr(path, "//") == NULL && strstr(path, "/../") == NULL);
    require(strpbrk(path, "\\:*?\"<>|") == NULL);
}

static void check_error(const struct mc_config_error *error, enum mc_config_status status)
{
    char line[128];

    require(error->status == status && status < MC_CONFIG_NB_STATUS && error->text != NULL);
    require(mc_config_error_format(error, "file", line, sizeof line) > 4);
    require(strlen(line) < sizeof line);
}

static bool parse_entry(const uint8_t *data, size_t size, struct mc_entry *entry)
{
    struct mc_config_error error;
    enum mc_config_status status = mc_entry_parse((const char *)data, size, entry, &error);

    if (status != MC_CONFIG_OK) {
        check_error(&error, status);
        return false;
    }
    check_path(entry->image, false);
    check_path(entry->boot, false);
    check_path(entry->data_file, true);
    check_path(entry->backing_file, true);
    check_path(entry->passphrase_file, true);
    check_path(entry->key_file, true);
    require(entry->names <= Q2_NAMES_ANY && entry->mode <= MC_MODE_OVERLAY);
    require(entry->handoff <= MC_HANDOFF_NONE);
    require(strlen(entry->title) <= MC_MAX_TEXT_LENGTH);
    return true;
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
    struct mc_config_error error;
    enum mc_config_status status;
    size_t cut;

    if (size < 1)
        return 0;
    cut = data[0] < size - 1 ? data[0] : size - 1;
    data++;
    size--;
    status = mc_settings_parse((const char *)data, size, &settings, &error);
    if (status != MC_CONFIG_OK)
        check_error(&error, status);
    (void)parse_entry(data, size, &a);
    if (parse_entry(data, cut, &a) && parse_entry(data + cut, size - cut, &b)) {
        require(sign(mc_entry_compare(&a, &b)) == -sign(mc_entry_compare(&b, &a)));
        (void)mc_entry_set_id(&a, a.title);
        (void)mc_entry_matches(&a, b.title);
    }
    check_strings(data, cut, size);
    return 0;
}
