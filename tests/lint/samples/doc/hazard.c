/* Refused: 'hazard W7' names no text of the repository.
 *
 * The order of writes (hazard W7). */
