/* The menu as a picture for a screen of any size; 80 columns and 25 rows show all of it.
 *
 * Pure function. Only ASCII is drawn, and the selected line has a '>' in front, so that a terminal
 * without colours shows everything. The last column and the last row stay empty, because writing
 * there scrolls some screens. A smaller screen loses the less important rows first.
 */
#ifndef METALCOW_EFI_MENU_DRAW_H
#define METALCOW_EFI_MENU_DRAW_H

#include "grid.h"
#include "menu.h"

/* columns, rows  of the screen */
void mc_menu_draw(const struct mc_menu *menu, size_t columns, size_t rows,
                  struct mc_grid *ret_grid);

/* The edit line in the frame's rows row..row + rows - 1; menu_draw_edit.c. */
void mc_menu_draw_edit(const struct mc_menu *menu, struct mc_grid *grid, size_t row, size_t rows);

#endif
