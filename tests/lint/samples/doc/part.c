/* Refused: there is no file verb/transform.c.
 *
 * The table is in verb/transform.c. */
