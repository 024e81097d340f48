/* Refused: HAZARDS.md has no section called Crash order.
 *
 * Every prefix is a state (HAZARDS.md,
 * "Crash order"). */
