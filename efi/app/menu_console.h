/* The console of the menu: pictures on ConOut, keys and seconds from ConIn and a timer.
 *
 * ConOut and ConIn stand for all consoles at once, so the screen and the serial line show the same,
 * and both are listened to. Only at TPL_APPLICATION.
 */
#ifndef METALCOW_EFI_MENU_CONSOLE_H
#define METALCOW_EFI_MENU_CONSOLE_H

#include <efi.h>

#include "efi/menu/menu_draw.h"
#include "q2_status.h"

/* Some 20 KiB: pool memory. */
struct mc_menu_console {
    size_t columns, rows; /* of the screen */
    EFI_EVENT second;     /* comes once a second */
    struct mc_grid shown, next;
};

/* What has come. */
enum mc_menu_event {
    MC_EVENT_KEY,
    MC_EVENT_SECOND,
    MC_EVENT_LOST, /* the console failed: nobody can choose any more */
};

/* Take the console: clear it, hide the cursor, start the seconds.
 *
 * Q2_ERR_LIMIT  no memory or no timer; the fault says so */
enum q2_status mc_menu_console_open(struct q2_fault *fault, struct mc_menu_console **ret_console);

/* Draw what has changed. */
void mc_menu_console_show(struct mc_menu_console *console, const struct mc_menu *menu);

enum mc_menu_event mc_menu_console_wait(struct mc_menu_console *console, struct mc_key *ret_key);

/* Leave an empty screen in its usual colours. */
void mc_menu_console_close(struct mc_menu_console *console);

#endif
