/* The console of the menu.
 *
 * Calls ConOut, ConIn and boot services' timers. Invariant: rows that have not changed are not
 * written again, because a serial line is slow.
 */
#include "menu_console.h"

#include "efi/base/firmware.h"
#include "q2_fail.h"

/* In units of 100 ns. */
#define SECOND 10000000ull

/* Where QueryMode() fails.  (UEFI 2.10, 12.4: mode 0 is always 80x25) */
#define USUAL_COLUMNS 80u
#define USUAL_ROWS    25u

/* Indexed by enum mc_look. */
static const UINTN attributes[] = {
    EFI_TEXT_ATTR(EFI_LIGHTGRAY, EFI_BLACK), EFI_TEXT_ATTR(EFI_WHITE, EFI_BLUE),
    EFI_TEXT_ATTR(EFI_BLACK, EFI_LIGHTGRAY), EFI_TEXT_ATTR(EFI_CYAN, EFI_BLACK),
    EFI_TEXT_ATTR(EFI_YELLOW, EFI_BLACK),
};
_Static_assert(sizeof(attributes) / sizeof(attributes[0]) == MC_LOOK_ALARM + 1, "one per look");

static SIMPLE_TEXT_OUTPUT_INTERFACE *output(void)
{
    return mc_firmware.SystemTable->ConOut;
}

static void clear(void)
{
    SIMPLE_TEXT_OUTPUT_INTERFACE *out = output();

    (void)out->SetAttribute(out, attributes[MC_LOOK_PLAIN]);
    (void)out->ClearScreen(out);
}

static void get_size(struct mc_menu_console *console)
{
    SIMPLE_TEXT_OUTPUT_INTERFACE *out = output();
    UINTN columns, rows;

    console->columns = USUAL_COLUMNS;
    console->rows = USUAL_ROWS;
    if (EFI_ERROR(out->QueryMode(out, (UINTN)out->Mode->Mode, &columns, &rows)))
        return;
    console->columns = columns;
    /* Without a graphics console there is only a serial terminal, whose size the firmware cannot
     * know: use no more rows than most terminals have. */
    console->rows =
        mc_protocol_anywhere(&mc_graphics_guid) || rows < USUAL_ROWS ? rows : USUAL_ROWS;
}

enum q2_status mc_menu_console_open(struct q2_fault *fault, struct mc_menu_console **ret_console)
{
    EFI_BOOT_SERVICES *services = mc_firmware.BootServices;
    struct mc_menu_console *console = mc_alloc(sizeof(*console));

    if (!console)
        return q2_fail_memory(fault);
    if (EFI_ERROR(services->CreateEvent(EVT_TIMER, TPL_CALLBACK, NULL, NULL, &console->second))) {
        mc_free(console);
        return q2_fail_memory(fault);
    }
    (void)services->SetTimer(console->second, TimerPeriodic, SECOND);
    get_size(console);
    clear();
    (void)output()->EnableCursor(output(), FALSE);
    *ret_console = console;
    return Q2_OK;
}

void mc_menu_console_close(struct mc_menu_console *console)
{
    (void)mc_firmware.BootServices->CloseEvent(console->second);
    clear();
    (void)output()->EnableCursor(output(), TRUE);
    mc_free(console);
}

/* Write the columns from..to - 1 of a row in one look. */
static void write_part(const uint16_t *units, size_t from, size_t to, uint32_t look)
{
    SIMPLE_TEXT_OUTPUT_INTERFACE *out = output();
    CHAR16 text[MC_GRID_MAX_COLUMNS + 1];
    size_t n = 0;

    if (from >= to)
        return;
    for (size_t i = from; i < to; i++)
        text[n++] = units[i];
    text[n] = 0;
    /* OutputString() leaves out letters that a console does not have, which would move the rest of
     * the row. */
    if (EFI_ERROR(out->TestString(out, text))) {
        for (size_t i = 0; i < n; i++)
            text[i] = text[i] < 0x7f ? text[i] : (CHAR16)'?';
    }
    (void)out->SetAttribute(out, attributes[look]);
    (void)out->OutputString(out, text);
}

static void write_row(const struct mc_grid *grid, size_t row)
{
    const struct mc_grid_row *r = &grid->row[row];

    (void)output()->SetCursorPosition(output(), grid->left, grid->top + row);
    write_part(r->units, 0, r->from, MC_LOOK_PLAIN);
    write_part(r->units, r->from, r->to, r->look);
    write_part(r->units, r->to > r->from ? r->to : r->from, grid->columns, MC_LOOK_PLAIN);
}

void mc_menu_console_show(struct mc_menu_console *console, const struct mc_menu *menu)
{
    struct mc_grid *next = &console->next;
    SIMPLE_TEXT_OUTPUT_INTERFACE *out = output();

    mc_menu_draw(menu, console->columns, console->rows, next);
    for (size_t row = 0; row < next->rows; row++) {
        if (!mc_grid_row_equal(&next->row[row], &console->shown.row[row]))
            write_row(next, row);
    }
    (void)out->SetAttribute(out, attributes[MC_LOOK_PLAIN]);
    (void)out->EnableCursor(out, next->has_cursor);
    if (next->has_cursor)
        (void)out->SetCursorPosition(out, next->left + next->cursor_column,
                                     next->top + next->cursor_row);
    console->shown = *next;
}

enum mc_menu_event mc_menu_console_wait(struct mc_menu_console *console, struct mc_key *ret_key)
{
    SIMPLE_INPUT_INTERFACE *in = mc_firmware.SystemTable->ConIn;
    EFI_EVENT events[] = {console->second, in->WaitForKey};
    EFI_STATUS status;
    EFI_INPUT_KEY key;
    UINTN index;

    /* The event may come without a key: half of one, or a key that another reader took. */
    do {
        status = mc_firmware.BootServices->WaitForEvent(2, events, &index);
        if (!EFI_ERROR(status) && index == 0)
            return MC_EVENT_SECOND;
        if (!EFI_ERROR(status))
            status = in->ReadKeyStroke(in, &key);
    } while (status == EFI_NOT_READY);
    if (EFI_ERROR(status))
        return MC_EVENT_LOST;
    *ret_key = (struct mc_key){.scan_code = key.ScanCode, .unit = key.UnicodeChar};
    return MC_EVENT_KEY;
}
