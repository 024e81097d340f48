/* Refused: 'design, section' names no text of the repository.
 *
 * Why this is so (design, section 4). */
