/* The menu at the console, until somebody has chosen. */
#ifndef METALCOW_EFI_MENU_RUN_H
#define METALCOW_EFI_MENU_RUN_H

#include "commands.h"
#include "efi/menu/menu.h"

/* Is a key held down, or was one typed? Waits a tenth of a second, since a keyboard needs time.
 * The keys that came are dropped, the last one is ret_key. Only after mc_can_ask(). */
bool mc_menu_is_wanted(struct mc_key *ret_key);

/* Show a menu until a line is chosen or the countdown has ended. Stops the watchdog, which would
 * end a person's thinking after five minutes, and starts it again for the loader.
 *
 * volume       of the entries
 * held         keys that are this one are dropped until it is let go; NULL: none
 * ret_by_hand  START: it was a person who chose
 *
 * returns      MC_MENU_START: menu->choice; MC_MENU_LEAVE: nothing is to be started
 */
enum mc_menu_action mc_menu_run(struct mc_session *session, struct mc_menu *menu, EFI_HANDLE volume,
                                const struct mc_key *held, bool *ret_by_hand);

#endif
