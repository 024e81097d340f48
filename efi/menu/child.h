/* What is below an entry of the menu, in words.
 *
 * Pure functions. The text of images is untrusted; the picture shows only what is printable.
 */
#ifndef METALCOW_EFI_MENU_CHILD_H
#define METALCOW_EFI_MENU_CHILD_H

#include "menu.h"
#include "q2_disk.h"

/* "snapshot 2026-01-31 09:05 UTC  NAME", or the id of one without a name.
 *
 * returns  false: its id is too long to be started by it; ret_child is not written */
bool mc_menu_child_snapshot(const struct q2_snapshot *snapshot, struct mc_menu_child *ret_child);

/* "loader PATH". */
bool mc_menu_child_loader(const char *path, struct mc_menu_child *ret_child);

#endif
