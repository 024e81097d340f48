/* The keys of a disk as one line that a person edits: KEY=VALUE KEY="a value" ...
 *
 * The keys are those of an entry file (mc_spec_keys), without the ones that say nothing about a
 * boot: title, attach, and the keys of the order. A value with blanks is in double quotes; a quote
 * inside it is written twice. What is not said has its default.
 *
 * Pure functions on memory, no allocation.
 */
#ifndef METALCOW_EFI_OPTIONS_H
#define METALCOW_EFI_OPTIONS_H

#include "core/spec/disk_spec.h"
#include "field.h"

/* A line, read. Does not move: spec points into pool. */
struct mc_options {
    struct mc_disk_spec spec;
    char value[MC_FIELD_SIZE];    /* without its quotes, while the line is read */
    char pool[2 * MC_FIELD_SIZE]; /* a path can become one byte longer than it was typed */
};

/* What is wrong with a line. */
struct mc_options_problem {
    size_t at,
        key_length;      /* bytes: where its key is in the line; at the end: something is missing */
    const char *text;    /* static, to be read on after the key */
    const char *nearest; /* the key that was meant, perhaps; NULL: none is near */
};

/* Is a key one of such a line? */
bool mc_options_has(const struct mc_spec_key *key);

/* Write the line of a disk.
 *
 * buffer   size bytes, >= 1; NUL-terminated, cut when too small
 * returns  the length of the whole line without the NUL, as if the buffer were large enough
 */
size_t mc_options_format(const struct mc_disk_spec *spec, char *buffer, size_t size);

/* Read a line, at most MC_FIELD_SIZE - 1 bytes of UTF-8.
 *
 * ret_options  written always; spec is good only on true. Its title is NULL
 * returns      false: the line is wrong, and ret_problem says why
 */
bool mc_options_parse(const char *line, struct mc_options *ret_options,
                      struct mc_options_problem *ret_problem);

/* The key that the byte `at` of a line belongs to; NULL: none. */
const struct mc_spec_key *mc_options_key_at(const char *line, size_t at);

#endif
