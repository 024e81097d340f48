/* Refused: DESIGN.md has no section 3.99.
 *
 * Slices are fetched together (DESIGN.md, 3.2 and 3.99). */
