/* Internal snapshots.
 *
 * May call the engine. Invariant: strings out of an image are escaped when they are printed.
 */
#include "snapshots.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "output.h"

uint32_t snapshots_count(const struct image *image)
{
    struct q2_layer_info info;

    q2_disk_layer_info(image->disk, 0, &info);
    return info.header ? info.header->nb_snapshots : 0;
}

/* Text in a column: escaped, then padded. */
static void print_column(const char *text, int width)
{
    int length = 0;

    for (const char *at = text; *at != '\0';) {
        bool printable;

        at += output_piece(at, &printable);
        length += printable ? 1 : 4;
    }
    print_escaped(stdout, text);
    printf("%*s", length < width ? width - length : 0, "");
}

static void print_row(const struct q2_snapshot *snapshot)
{
    char size[16], date[32] = "", clock[32], icount[24] = "";
    time_t seconds = (time_t)snapshot->date_sec;
    uint64_t clock_sec = snapshot->vm_clock_nsec / 1000000000u;
    struct tm tm;

    format_size(snapshot->vm_state_size, size, sizeof(size));
    if (localtime_r(&seconds, &tm))
        (void)strftime(date, sizeof(date), "%Y-%m-%d %H:%M:%S", &tm);
    (void)snprintf(clock, sizeof(clock), "%02" PRIu64 ":%02u:%02u.%03u", clock_sec / 3600,
                   (unsigned)(clock_sec / 60 % 60), (unsigned)(clock_sec % 60),
                   (unsigned)(snapshot->vm_clock_nsec / 1000000u % 1000u));
    if (snapshot->has_icount)
        (void)snprintf(icount, sizeof(icount), "%" PRIu64, snapshot->icount);
    print_column(snapshot->id, 9);
    putchar(' ');
    print_column(snapshot->name, 16);
    printf(" %8s%20s%13s%11s\n", size, date, clock, icount);
}

enum q2_status snapshots_print(struct image *image)
{
    uint32_t nb_snapshots = snapshots_count(image);

    if (nb_snapshots == 0)
        return Q2_OK;
    printf("Snapshot list:\n%-10s%-17s%8s%20s%13s%11s\n", "ID", "TAG", "VM SIZE", "DATE",
           "VM CLOCK", "ICOUNT");
    for (uint32_t i = 0; i < nb_snapshots; i++) {
        struct q2_snapshot snapshot;
        enum q2_status status = q2_disk_snapshot(image->disk, i, &snapshot);

        if (status != Q2_OK)
            return status;
        print_row(&snapshot);
    }
    return Q2_OK;
}

/* What -l asks for; "" where it does not say. */
struct wanted {
    char id[256];
    char name[256];
    bool either; /* id or name, as one text */
};

static bool take(const char **at, const char *key, char *ret_value, size_t size)
{
    size_t length = strlen(key), value_length;

    if (strncmp(*at, key, length) != 0)
        return false;
    *at += length;
    value_length = strcspn(*at, ",");
    if (value_length >= size)
        return false;
    memcpy(ret_value, *at, value_length);
    ret_value[value_length] = '\0';
    *at += value_length;
    if (**at == ',')
        (*at)++;
    return true;
}

static bool parse_wanted(const char *parameter, struct wanted *ret_wanted)
{
    struct wanted wanted = {0};

    if (strncmp(parameter, "snapshot.", strlen("snapshot.")) != 0) {
        wanted.either = true;
        (void)snprintf(wanted.name, sizeof(wanted.name), "%s", parameter);
        *ret_wanted = wanted;
        return strlen(parameter) < sizeof(wanted.name);
    }
    while (*parameter != '\0') {
        if (!take(&parameter, "snapshot.id=", wanted.id, sizeof(wanted.id)) &&
            !take(&parameter, "snapshot.name=", wanted.name, sizeof(wanted.name)))
            return false;
    }
    *ret_wanted = wanted;
    return true;
}

static bool matches(const struct wanted *wanted, const struct q2_snapshot *snapshot)
{
    return (wanted->id[0] == '\0' || strcmp(wanted->id, snapshot->id) == 0) &&
           (wanted->name[0] == '\0' || strcmp(wanted->name, snapshot->name) == 0);
}

static enum q2_status search(struct image *image, const struct wanted *wanted, char *ret_name,
                             size_t size)
{
    uint32_t nb_snapshots = snapshots_count(image);

    for (uint32_t i = 0; i < nb_snapshots; i++) {
        struct q2_snapshot snapshot;
        enum q2_status status = q2_disk_snapshot(image->disk, i, &snapshot);

        if (status != Q2_OK)
            return status;
        if (matches(wanted, &snapshot)) {
            (void)snprintf(ret_name, size, "%s", snapshot.id);
            return Q2_OK;
        }
    }
    return Q2_ERR_NO_SNAPSHOT;
}

bool snapshots_find(const char *path, const struct image_options *options, const char *parameter,
                    char *ret_name, size_t size)
{
    struct wanted wanted;
    struct image *image;
    enum q2_status status = Q2_ERR_NO_SNAPSHOT;

    if (!parse_wanted(parameter, &wanted)) {
        print_status(path, Q2_ERR_NO_SNAPSHOT);
        return false;
    }
    if (wanted.either) { /* the engine looks for both */
        (void)snprintf(ret_name, size, "%s", wanted.name);
        return true;
    }
    image = image_open(path, options, true);
    if (!image)
        return false;
    status = search(image, &wanted, ret_name, size);
    if (status == Q2_ERR_NO_SNAPSHOT)
        print_status(path, status);
    else if (status != Q2_OK)
        image_print_fault(image);
    image_close(image);
    return status == Q2_OK;
}

struct image *snapshots_open(const struct arguments *arguments)
{
    struct image_options options = arguments->image[0];
    const char *path = arguments->operands[0];
    char snapshot[256];

    if (arguments->snapshot_param) {
        if (!snapshots_find(path, &options, arguments->snapshot_param, snapshot, sizeof(snapshot)))
            return NULL;
        options.snapshot = snapshot;
    }
    return image_open(path, &options, false);
}
