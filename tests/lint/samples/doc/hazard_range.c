/* Refused: HAZARDS.md has no section W10.
 *
 * What fails while writing (HAZARDS.md, W4 to W10). */
