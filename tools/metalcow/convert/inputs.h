/* The inputs of convert: one disk after the other, read as one.
 *
 * If there are several, each takes whole sectors of 512 bytes, as in qemu-img; zeros fill the last
 * sector of one that ends inside it. Each function prints what failed on stderr.
 */
#ifndef METALCOW_INPUTS_H
#define METALCOW_INPUTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "tools/metalcow/base/arguments.h"
#include "tools/metalcow/base/image.h"
#include "q2_report.h"

struct input;

struct inputs {
    struct image **images;
    struct input *list; /* what else is known of each image */
    size_t nb;
    size_t current; /* the input that the last call has looked at; calls come mostly in order */
    uint64_t skip;  /* bytes of the first disk that are left out */
    uint64_t size;  /* of what is read, bytes */
    bool salvage;   /* what cannot be read reads as zeros */
    bool quiet;     /* and nothing is said of it */
};

/* Open all operands but the last one. Options that are about one image are refused if there are
 * several. On error nothing stays open. */
bool inputs_open(struct inputs *inputs, const struct arguments *arguments);

/* Read only length bytes from start on, all of them below size: offset 0 is start from now on. */
void inputs_cut(struct inputs *inputs, uint64_t start, uint64_t length);

void inputs_close(struct inputs *inputs);

/* The state at guest offset at, which is below size. The run ends with its input at the latest.
 * Where ret_entry has an offset, it is one into ret_entry->file. */
bool inputs_look(struct inputs *inputs, uint64_t at, struct q2_map_entry *ret_entry);

/* The descriptor of the file that an entry of inputs_look() has an offset into. */
int inputs_file(const struct inputs *inputs, const struct q2_map_entry *entry);

/* Read length bytes at at, all of them below size. */
bool inputs_read(struct inputs *inputs, uint64_t at, uint8_t *buffer, size_t length);

#endif
