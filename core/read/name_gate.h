/* File names found inside images: judged, then joined to the image's folder. (DESIGN.md, 3.8;
 * HAZARDS.md, F9)
 *
 * Pure functions on strings. A name in an image is a claim, not a permission, and it is a path, not
 * a URL.
 */
#ifndef Q2_CORE_NAME_GATE_H
#define Q2_CORE_NAME_GATE_H

#include <stddef.h>

#include "q2_disk.h"
#include "q2_name.h"

/* Turn a name from inside an image into a path for the opener, where names are those of UEFI.
 *
 * name         NUL-terminated, untrusted, at most Q2_MAX_NAME_LENGTH bytes; its "file:" prefix is
 *              taken off, any other protocol prefix is refused
 * policy       BELOW: no absolute path and no ".." component. ANY: both allowed
 * referrer     path of the image that holds the name; '/' between components
 * ret_path     size bytes, NUL-terminated on Q2_OK
 *
 * Q2_ERR_BAD_NAME  empty, a control character, invalid UTF-8, beyond the basic plane, a surrogate,
 *                  a component over Q2_MAX_COMPONENT_LENGTH units of UTF-16, or the joined
 *                  path over size
 * Q2_ERR_NAME_DENIED  the policy forbids it, or it has a protocol or drive prefix
 */
enum q2_status q2_name_resolve(const char *name, enum q2_name_policy policy, const char *referrer,
                               char *ret_path, size_t size);

#endif
