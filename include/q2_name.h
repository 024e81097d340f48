/* Names of files on a POSIX host, as they stand in images and as a person gives them.
 *
 * Implemented by core/read/name_gate.c: pure functions on strings, for programs that follow or
 * write a chain by themselves. The engine judges the names in images with the same functions. A
 * name in an image is a claim and no permission.
 */
#ifndef Q2_NAME_H
#define Q2_NAME_H

#include <stddef.h>

#include "q2_disk.h"

/* Turn a name from inside an image into a path for the opener, where names are those of POSIX:
 * every byte but NUL may occur, the backslash is a letter. A name "json:{...}" that describes a
 * plain file stands for that file (core/read/name_json.h).
 *
 * name         NUL-terminated, untrusted
 * policy       BELOW: no absolute path and no ".." component. ANY: both allowed
 * referrer     path of the image that holds the name
 * ret_path     size bytes, NUL-terminated on Q2_OK
 * ret_format   the format that a JSON description states; else Q2_UNSAID_REFUSED
 *
 * Q2_ERR_BAD_NAME     empty, a malformed description, or the joined path over size
 * Q2_ERR_UNSUPPORTED  a protocol prefix, or a description of something that is no plain file
 * Q2_ERR_NAME_DENIED  the policy forbids it
 */
enum q2_status q2_name_resolve_posix(const char *name, enum q2_name_policy policy,
                                     const char *referrer, char *ret_path, size_t size,
                                     enum q2_unsaid_format *ret_format);

/* Take QEMU's spelling off a name that a person gives: "file:" and "json:{...}" of a plain file.
 * What has neither is copied; so is "nbd:..." , which is then looked for as a file.
 *
 * ret_path, ret_format, errors   as q2_name_resolve_posix()
 */
enum q2_status q2_name_plain(const char *name, char *ret_path, size_t size,
                             enum q2_unsaid_format *ret_format);

#endif
