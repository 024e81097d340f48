/* Reading the configuration of a volume.
 *
 * Above config.c, beside volume.c; calls the file system. Invariant: what stands in sorted[] was
 * accepted by config.c.
 */
#include "entries.h"

#include "drivers/efi/status.h"
#include "efi/base/console.h"
#include "efi/base/fail.h"
#include "efi/base/firmware.h"
#include "efi/base/text.h"

/* A directory record: EFI_FILE_INFO and a name of 255 units. */
#define RECORD_SIZE (sizeof(EFI_FILE_INFO) + 256 * sizeof(CHAR16))

/* One entry file more than the parser takes, so that it can refuse. */
#define FILE_BUFFER_SIZE (MC_MAX_CONFIG_SIZE + 1)

/* Memory to read with, beside the result. */
struct reading {
    const struct mc_volume *volume;
    struct mc_entries *entries;
    struct q2_fault *fault;
    char *buffer; /* FILE_BUFFER_SIZE */
    char path[sizeof(MC_ENTRIES_FOLDER) + 1 + 3 * 256];
};

bool mc_entries_exist(EFI_SIMPLE_FILE_SYSTEM_PROTOCOL *FileSystem)
{
    EFI_FILE_PROTOCOL *folder;

    if (mc_file_system_open(FileSystem, MC_ENTRIES_FOLDER, &folder) != Q2_OK)
        return false;
    (void)folder->Close(folder);
    return true;
}

static enum q2_status open_file(struct reading *reading, const char *path,
                                EFI_FILE_PROTOCOL **ret_file)
{
    enum q2_status status = mc_file_system_open(reading->volume->FileSystem, path, ret_file);

    return status == Q2_OK ? Q2_OK : mc_fail(reading->fault, status, NULL, path);
}

/* The text of a file, at most the buffer. */
static enum q2_status read_text(struct reading *reading, const char *path, size_t *ret_length)
{
    *ret_length = FILE_BUFFER_SIZE;
    return mc_file_system_read(reading->volume->FileSystem, path, reading->buffer, ret_length,
                               reading->fault);
}

static void say_error(const struct mc_config_error *error, const char *path)
{
    char line[512];

    (void)mc_config_error_format(error, path, line, sizeof(line));
    mc_say(line);
}

/* A key that nobody knows is no error, but mostly a typing mistake. */
static void say_unknown(const struct mc_unknown_keys *unknown, const char *path)
{
    char line[512];
    struct q2_line text;

    if (unknown->nb == 0)
        return;
    text = q2_line_start(line, sizeof(line));
    q2_line_put(&text, path);
    q2_line_put(&text, ", line ");
    q2_line_put_number(&text, unknown->line, 10);
    q2_line_put(&text, ": unknown key '");
    q2_line_put(&text, unknown->key);
    q2_line_put(&text, "' is ignored");
    mc_say(line);
}

/* No file is no error: the defaults hold. */
static enum q2_status read_settings(struct reading *reading)
{
    struct mc_settings *settings = &reading->entries->settings;
    struct mc_config_error error;
    size_t length;
    enum q2_status status = read_text(reading, MC_SETTINGS_FILE, &length);

    if (status == Q2_ERR_NOT_FOUND)
        length = 0;
    else if (status != Q2_OK)
        return status;
    if (mc_settings_parse(reading->buffer, length, settings, &error) != MC_CONFIG_OK) {
        say_error(&error, MC_SETTINGS_FILE);
        (void)mc_settings_parse("", 0, settings, &error);
    }
    say_unknown(&settings->unknown, MC_SETTINGS_FILE);
    return Q2_OK;
}

/* Take one file of the folder, if it is an entry file. */
static enum q2_status read_entry(struct reading *reading, const char *name)
{
    struct mc_entries *entries = reading->entries;
    struct mc_entry *entry = &entries->entries[entries->nb];
    struct mc_config_error error;
    struct q2_line path;
    size_t length;
    enum q2_status status;

    entry->id[0] = '\0';
    if (!mc_entry_set_id(entry, name))
        return Q2_OK;
    path = q2_line_start(reading->path, sizeof(reading->path));
    q2_line_put(&path, MC_ENTRIES_FOLDER "/");
    q2_line_put(&path, name);
    if (path.length >= path.size)
        return mc_fail(reading->fault, Q2_ERR_BAD_NAME, NULL, reading->path);
    status = read_text(reading, reading->path, &length);
    if (status != Q2_OK)
        return status;
    if (mc_entry_parse(reading->buffer, length, entry, &error) != MC_CONFIG_OK) {
        say_error(&error, reading->path);
        return Q2_OK;
    }
    say_unknown(&entry->unknown, reading->path);
    (void)mc_entry_set_id(entry, name);
    entries->sorted[entries->nb++] = entry;
    return Q2_OK;
}

/* A folder's next file; *ret_name is NULL at its end, else pool memory. */
static enum q2_status next_name(struct reading *reading, EFI_FILE_PROTOCOL *folder,
                                EFI_FILE_INFO *record, char **ret_name)
{
    UINTN size;
    EFI_STATUS status;

    *ret_name = NULL;
    do {
        size = RECORD_SIZE;
        status = folder->Read(folder, &size, record);
        if (EFI_ERROR(status))
            return mc_fail(reading->fault, q2_status_from_efi(status), NULL, MC_ENTRIES_FOLDER);
        if (size == 0)
            return Q2_OK;
    } while ((record->Attribute & EFI_FILE_DIRECTORY) != 0);
    *ret_name = mc_to_utf8(record->FileName);
    return *ret_name ? Q2_OK : mc_fail(reading->fault, Q2_ERR_BAD_NAME, NULL, MC_ENTRIES_FOLDER);
}

static enum q2_status read_folder(struct reading *reading, EFI_FILE_PROTOCOL *folder)
{
    EFI_FILE_INFO *record = mc_alloc(RECORD_SIZE);
    enum q2_status status = record ? Q2_OK : mc_fail_memory(reading->fault);
    char *name = NULL;

    while (status == Q2_OK) {
        status = next_name(reading, folder, record, &name);
        if (status != Q2_OK || !name)
            break;
        if (reading->entries->nb == MC_MAX_ENTRIES)
            status =
                mc_fail(reading->fault, Q2_ERR_LIMIT, "more than 64 entries", MC_ENTRIES_FOLDER);
        else
            status = read_entry(reading, name);
        mc_free(name);
    }
    mc_free(record);
    return status;
}

/* Insertion sort: there are few. */
static void sort(struct mc_entries *entries)
{
    for (size_t i = 1; i < entries->nb; i++) {
        struct mc_entry *entry = entries->sorted[i];
        size_t at = i;
        for (; at > 0 && mc_entry_compare(entries->sorted[at - 1], entry) > 0; at--)
            entries->sorted[at] = entries->sorted[at - 1];
        entries->sorted[at] = entry;
    }
}

static enum q2_status read_all(struct reading *reading)
{
    EFI_FILE_PROTOCOL *folder;
    enum q2_status status = open_file(reading, MC_ENTRIES_FOLDER, &folder);

    if (status != Q2_OK)
        return status;
    status = read_settings(reading);
    if (status == Q2_OK)
        status = read_folder(reading, folder);
    (void)folder->Close(folder);
    sort(reading->entries);
    return status;
}

enum q2_status mc_entries_read(const struct mc_volume *volume, struct q2_fault *fault,
                               struct mc_entries **ret_entries)
{
    struct reading *reading = mc_alloc(sizeof(*reading));
    struct mc_entries *entries = mc_alloc_pages(sizeof(*entries));
    char *buffer = mc_alloc_pages(FILE_BUFFER_SIZE);
    enum q2_status status = Q2_ERR_LIMIT;

    if (reading && entries && buffer) {
        __builtin_memset(entries, 0, sizeof(*entries));
        *reading = (struct reading){
            .volume = volume, .entries = entries, .fault = fault, .buffer = buffer};
        status = read_all(reading);
    } else {
        (void)mc_fail_memory(fault);
    }
    mc_free_pages(buffer, FILE_BUFFER_SIZE);
    mc_free(reading);
    if (status != Q2_OK) {
        mc_entries_free(entries);
        return status;
    }
    *ret_entries = entries;
    return Q2_OK;
}

void mc_entries_free(struct mc_entries *entries)
{
    mc_free_pages(entries, sizeof(*entries));
}

const struct mc_entry *mc_entries_default(const struct mc_entries *entries)
{
    const char *pattern = entries->settings.default_entry;

    for (size_t i = 0; pattern[0] != '\0' && i < entries->nb; i++) {
        if (mc_entry_matches(entries->sorted[i], pattern))
            return entries->sorted[i];
    }
    return entries->nb > 0 ? entries->sorted[0] : NULL;
}

static const char *or_null(const char *text)
{
    return text[0] != '\0' ? text : NULL;
}

struct mc_attach_options mc_entry_options(const struct mc_entry *entry)
{
    return (struct mc_attach_options){
        .image = entry->image,
        .data_file = or_null(entry->data_file),
        .backing_file = or_null(entry->backing_file),
        .passphrase_file = or_null(entry->passphrase_file),
        .key_file = or_null(entry->key_file),
        .snapshot = or_null(entry->snapshot),
        .title = mc_entry_title(entry),
        .names = entry->names,
        .mode = entry->mode,
        .overlay_size = entry->overlay_size,
        .room = entry->room,
        .backing_raw = entry->backing_raw,
    };
}
