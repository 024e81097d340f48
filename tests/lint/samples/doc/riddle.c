/* Refused: 'behind' is no plain word here.
 *
 * The table is stored behind the header. */
