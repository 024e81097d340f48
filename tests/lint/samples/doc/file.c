/* Refused: there is no file core/workspace.c.
 *
 * The size is asserted in core/workspace.c. */
