/* Passphrases of an encrypted image: added, replaced and erased, as qemu-img amend does.
 *
 * Each function says on stderr why it fails.
 */
#ifndef METALCOW_KEYSLOTS_H
#define METALCOW_KEYSLOTS_H

#include <stdbool.h>

#include "tools/metalcow/base/arguments.h"
#include "tools/metalcow/base/image.h"

/* Are any options of keys given, and do they fit together? No file is opened. */
bool keyslots_given(const struct create_options *options);
bool keyslots_check(const struct create_options *options);

struct keyslots;

/* Get the image's key, choose the slots, and refuse what is to be refused. The file stays as it is.
 *
 * image    opened for writing; the passphrase is that of arguments->image[0], or is asked for
 * returns  NULL: said on stderr
 */
struct keyslots *keyslots_prepare(struct image *image, const struct arguments *arguments,
                                  const struct create_options *options);

/* Change the slots, durably. */
bool keyslots_apply(struct keyslots *keyslots);

/* Wipe and free; keyslots may be NULL. */
void keyslots_free(struct keyslots *keyslots);

#endif
