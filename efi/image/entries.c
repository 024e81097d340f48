/* Reading the configuration of a place.
 *
 * Calls the place and the parsers of efi/config/. Invariant: what is in sorted[] was accepted by
 * mc_entry_parse().
 */
#include "entries.h"

#include "efi/base/console.h"
#include "q2_fail.h"
#include "efi/base/firmware.h"
#include "efi/base/text.h"

/* One byte more than the parser takes, so that it refuses a file that is too large. */
#define FILE_BUFFER_SIZE (MC_MAX_CONFIG_SIZE + 1)

/* Files that are read, if there are more than can be kept. A folder may have a million. */
#define MAX_FILES (16 * MC_MAX_ENTRIES)

/* Memory to read with, beside the result. */
struct reading {
    struct q2_place_visitor visitor; /* first: of the folder's files */
    struct q2_place *place;
    struct mc_entries *entries;
    struct q2_fault *fault;
    char *buffer;      /* FILE_BUFFER_SIZE */
    uint32_t nb_files; /* that were read */
    struct mc_problems problems;
    char path[sizeof(MC_ENTRIES_FOLDER) + 1 + 3 * 256];
};

/* Ends the list at its first file. */
static enum q2_status found(struct q2_place_visitor *visitor, const char *name,
                            struct q2_fault *fault)
{
    (void)visitor;
    (void)name;
    fault->status = Q2_ERR_BUSY;
    return Q2_ERR_BUSY;
}

bool mc_entries_exist(struct q2_place *place)
{
    struct q2_place_visitor visitor = {.visit = found};
    struct q2_fault fault;
    enum q2_status status = place->ops->list(place, MC_ENTRIES_FOLDER, &visitor, &fault);

    return status == Q2_OK || status == Q2_ERR_BUSY;
}

/* The text of a file, at most the buffer. */
static enum q2_status read_text(struct reading *reading, const char *path, size_t *ret_length)
{
    *ret_length = FILE_BUFFER_SIZE;
    return reading->place->ops->load(reading->place, path, reading->buffer, ret_length,
                                     reading->fault);
}

/* Say all that is wrong with a file. */
static void say_problems(const struct mc_problems *problems, const char *path)
{
    char line[512];

    for (uint32_t i = 0; i < problems->nb && i < MC_MAX_PROBLEMS; i++) {
        (void)mc_problem_format(&problems->list[i], path, line, sizeof(line));
        mc_say(line);
    }
    if (problems->nb > MC_MAX_PROBLEMS)
        mc_say("there are more lines like these");
}

/* No file is no error: the defaults hold. */
static enum q2_status read_settings(struct reading *reading)
{
    size_t length;
    enum q2_status status = read_text(reading, MC_SETTINGS_FILE, &length);

    if (status == Q2_ERR_NOT_FOUND)
        length = 0;
    else if (status != Q2_OK)
        return status;
    mc_settings_parse(reading->buffer, length, &reading->entries->settings, &reading->problems);
    say_problems(&reading->problems, MC_SETTINGS_FILE);
    return Q2_OK;
}

/* Say why a file is no entry that can be used, and keep the first reason for the menu. */
static void refuse_entry(struct mc_entries *entries, const char *why)
{
    if (entries->refused[0] == '\0')
        (void)mc_text_copy(entries->refused, sizeof(entries->refused), why);
}

/* A file whose bytes the volume does not give costs no other entry. */
static void refuse_unreadable(struct reading *reading)
{
    char line[sizeof(reading->entries->refused)];

    (void)q2_fault_format(reading->fault, line, sizeof(line));
    mc_say(line);
    refuse_entry(reading->entries, line);
}

/* Insert an entry into the order of the menu. When there are more than can be kept, the last of the
 * order is left out, so the folder's own order does not matter. */
static void insert(struct mc_entries *entries, struct mc_entry *entry)
{
    struct mc_entry *place = entry;
    size_t at = entries->nb;

    if (at == MC_MAX_ENTRIES) {
        entries->has_more = true;
        place = entries->sorted[--at];
        if (mc_entry_compare(place, entry) <= 0)
            return;
        *place = *entry;
    } else {
        entries->nb++;
    }
    for (; at > 0 && mc_entry_compare(entries->sorted[at - 1], place) > 0; at--)
        entries->sorted[at] = entries->sorted[at - 1];
    entries->sorted[at] = place;
}

/* Judge the text of a file; it becomes an entry if it can be used. */
static void take_entry(struct reading *reading, const char *name, size_t length)
{
    struct mc_entries *entries = reading->entries;
    struct mc_entry *entry = &entries->entries[entries->nb];
    bool is_usable = mc_entry_parse(reading->buffer, length, entry, &reading->problems);
    char line[sizeof(entries->refused)];

    say_problems(&reading->problems, reading->path);
    if (!is_usable && reading->problems.nb > 0) {
        (void)mc_problem_format(&reading->problems.list[0], reading->path, line, sizeof(line));
        refuse_entry(entries, line);
    }
    if (!is_usable)
        return;
    (void)mc_entry_set_id(entry, name);
    insert(entries, entry);
}

/* struct q2_place_visitor.visit. Files that are no entries are passed over: other systems leave
 * some, such as ._debian.conf beside debian.conf. */
static enum q2_status visit(struct q2_place_visitor *visitor, const char *name,
                            struct q2_fault *fault)
{
    struct reading *reading = (struct reading *)visitor;
    struct mc_entries *entries = reading->entries;
    struct q2_line path = q2_line_start(reading->path, sizeof(reading->path));
    size_t length;

    (void)fault;
    if (name[0] == '.' || !mc_entry_set_id(&entries->entries[entries->nb], name))
        return Q2_OK;
    if (reading->nb_files == MAX_FILES) {
        entries->has_more = true;
        return Q2_OK;
    }
    reading->nb_files++;
    q2_line_put(&path, MC_ENTRIES_FOLDER "/");
    q2_line_put(&path, name);
    if (path.length >= path.size)
        (void)q2_fail(reading->fault, Q2_ERR_BAD_NAME, NULL, reading->path);
    else if (read_text(reading, reading->path, &length) == Q2_OK) {
        take_entry(reading, name, length);
        return Q2_OK;
    }
    refuse_unreadable(reading);
    return Q2_OK;
}

static void say_more(struct mc_entries *entries)
{
    static const char why[] = MC_ENTRIES_FOLDER ": more than 64 entries; the last ones are left "
                                                "out";

    mc_say(why);
    refuse_entry(entries, why);
}
_Static_assert(MC_MAX_ENTRIES == 64, "text above");

static enum q2_status read_all(struct reading *reading)
{
    enum q2_status status = read_settings(reading);

    if (status == Q2_OK)
        status = reading->place->ops->list(reading->place, MC_ENTRIES_FOLDER, &reading->visitor,
                                           reading->fault);
    if (status == Q2_OK && reading->entries->has_more)
        say_more(reading->entries);
    return status;
}

enum q2_status mc_entries_read(struct q2_place *place, struct q2_fault *fault,
                               struct mc_entries **ret_entries)
{
    struct reading *reading = mc_alloc(sizeof(*reading));
    struct mc_entries *entries = mc_alloc_pages(sizeof(*entries));
    char *buffer = mc_alloc_pages(FILE_BUFFER_SIZE);
    enum q2_status status = Q2_ERR_LIMIT;

    if (reading && entries && buffer) {
        __builtin_memset(entries, 0, sizeof(*entries));
        *reading = (struct reading){.visitor = {.visit = visit},
                                    .place = place,
                                    .entries = entries,
                                    .fault = fault,
                                    .buffer = buffer};
        status = read_all(reading);
    } else {
        (void)q2_fail_memory(fault);
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
