/* What is below an entry of the menu, in words.
 *
 * May call efi/base/text.c. Invariant: a child's value is whole, or there is no child.
 */
#include "child.h"

#include "efi/base/text.h"
#include "q2_line.h"

#define SECONDS_PER_DAY 86400u

static bool is_leap(uint32_t year)
{
    return (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
}

static void put_padded(struct q2_line *line, uint32_t number)
{
    q2_line_put(line, number < 10 ? "0" : "");
    q2_line_put_number(line, number, 10);
}

/* Seconds since 1970 as a date and a time of UTC; 32 bits reach the year 2106. */
static void put_date(struct q2_line *line, uint32_t seconds)
{
    static const uint8_t month_days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    uint32_t days = seconds / SECONDS_PER_DAY, minutes = seconds % SECONDS_PER_DAY / 60;
    uint32_t year = 1970, month = 0;

    for (; days >= (is_leap(year) ? 366u : 365u); year++)
        days -= is_leap(year) ? 366u : 365u;
    while (days >= month_days[month] + (month == 1 && is_leap(year) ? 1u : 0u)) {
        days -= month_days[month] + (month == 1 && is_leap(year) ? 1u : 0u);
        month++;
    }
    q2_line_put_number(line, year, 10);
    q2_line_put(line, "-");
    put_padded(line, month + 1);
    q2_line_put(line, "-");
    put_padded(line, days + 1);
    q2_line_put(line, " ");
    put_padded(line, minutes / 60);
    q2_line_put(line, ":");
    put_padded(line, minutes % 60);
    q2_line_put(line, " UTC");
}

bool mc_menu_child_snapshot(const struct q2_snapshot *snapshot, struct mc_menu_child *ret_child)
{
    struct q2_line label;
    const char *name = snapshot->name[0] != '\0' ? snapshot->name : snapshot->id;
    const char *id = snapshot->id[0] != '\0' ? snapshot->id : snapshot->name;

    /* What was cut at 255 bytes when it was read would not be found again. */
    if (id[0] == '\0' || q2_text_length(id) >= MC_MAX_TEXT_LENGTH)
        return false;
    ret_child->kind = MC_CHILD_SNAPSHOT;
    (void)mc_text_copy(ret_child->value, sizeof(ret_child->value), id);
    label = q2_line_start(ret_child->label, sizeof(ret_child->label));
    q2_line_put(&label, "snapshot ");
    put_date(&label, snapshot->date_sec);
    q2_line_put(&label, "  ");
    q2_line_put(&label, name);
    return true;
}

bool mc_menu_child_loader(const char *path, struct mc_menu_child *ret_child)
{
    struct q2_line label;

    if (q2_text_length(path) >= sizeof(ret_child->value))
        return false;
    ret_child->kind = MC_CHILD_LOADER;
    (void)mc_text_copy(ret_child->value, sizeof(ret_child->value), path);
    label = q2_line_start(ret_child->label, sizeof(ret_child->label));
    q2_line_put(&label, "loader ");
    q2_line_put(&label, path);
    return true;
}
