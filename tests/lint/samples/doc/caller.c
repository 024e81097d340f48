/* Refused: says who calls it.
 *
 * Called by drivers/efi/file.c. */
