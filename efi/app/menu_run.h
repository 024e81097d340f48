/* The menu at the console, until somebody has chosen. */
#ifndef METALCOW_EFI_MENU_RUN_H
#define METALCOW_EFI_MENU_RUN_H

#include "commands.h"
#include "efi/menu/menu.h"

/* Was a key typed, or is one held down? Waits a tenth of a second, because a keyboard needs time.
 * All keys that were read are dropped; ret_key gets the last one. Only after mc_can_ask(). */
bool mc_menu_is_wanted(struct mc_key *ret_key);

/* Show a menu until a line is chosen or the countdown has ended. Stops the watchdog, because it
 * resets the machine after five minutes and a person may think longer.
 *
 * volume       of the entries
 * held         a key that is pressed already; it is ignored until it is released. NULL: none
 * ret_by_hand  START: it was a person who chose
 *
 * returns      MC_MENU_START: menu->choice; MC_MENU_LEAVE: nothing is to be started
 */
enum mc_menu_action mc_menu_run(struct mc_session *session, struct mc_menu *menu, EFI_HANDLE volume,
                                const struct mc_key *held, bool *ret_by_hand);

#endif
