/* Refused: there is no file app_main.c.
 *
 * May call app_main.c. */
