/* Names of files in QEMU's form "json:{...}", as libvirt and qemu-img write them into images.
 *
 * Pure functions on strings; bounded by the name's length.
 */
#ifndef Q2_CORE_NAME_JSON_H
#define Q2_CORE_NAME_JSON_H

#include <stddef.h>

#include "q2_disk.h"

/* Find the plain file that a JSON description names.
 *
 * json          NUL-terminated, untrusted: the object, without "json:"
 * ret_filename  size bytes; the file's name, NUL-terminated on Q2_OK
 * ret_format    the format that the description states, or Q2_UNSAID_REFUSED if it states none
 *
 * Known keys: driver (qcow2, raw, file, host_device), file.driver, file.filename and filename,
 * nested or with dots, and some that say how a file is cached or locked, which change nothing here.
 *
 * Q2_ERR_BAD_NAME     not such an object, no file name in it, or a name that does not fit
 * Q2_ERR_UNSUPPORTED  a driver or a key that is not known: no plain file, or a part of one
 */
enum q2_status q2_name_json(const char *json, char *ret_filename, size_t size,
                            enum q2_unsaid_format *ret_format);

#endif
