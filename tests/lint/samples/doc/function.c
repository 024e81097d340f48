/* Refused: there is no function mc_disk_vanish().
 *
 * mc_disk_vanish() gives everything back. */
