/* Paths of a disk's specification.
 *
 * Pure functions; may call core/base/utf8.h. */
#ifndef METALCOW_CORE_SPEC_PATH_H
#define METALCOW_CORE_SPEC_PATH_H

#include <stddef.h>

/* Write a path that mc_path_refusal() lets pass with '/' in front and between its components, and a
 * NUL.
 *
 * returns  the bytes written, NUL included; 0: more than size */
size_t mc_path_form(const char *path, size_t length, char *to, size_t size);

#endif
