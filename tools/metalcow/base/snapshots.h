/* Internal snapshots, as the verbs print and name them. */
#ifndef METALCOW_SNAPSHOTS_H
#define METALCOW_SNAPSHOTS_H

#include "image.h"

/* Number of snapshots of the top image. */
uint32_t snapshots_count(const struct image *image);

/* Print the table as qemu-img does; nothing if there are no snapshots. */
enum q2_status snapshots_print(struct image *image);

/* Find a snapshot by convert's -l parameter: "snapshot.id=ID,snapshot.name=NAME" (either or both),
 * or an id or a name alone.
 *
 * ret_name  what q2_disk_open() takes; 256 bytes
 * false     no such snapshot, or the table cannot be read (said on stderr)
 */
bool snapshots_find(const char *path, const struct image_options *options, const char *parameter,
                    char *ret_name, size_t size);

/* Open operand 0 with the snapshot that -l names, if it does; NULL as image_open(). */
struct image *snapshots_open(const struct arguments *arguments);

#endif
