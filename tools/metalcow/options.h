/* Every option of the host command: what it is called, which verbs take it and where it goes.
 *
 * What an entry file can say of a disk too has its name, its kind of value, its words, its limits
 * and its refusals from the table of keys in core/spec/disk_spec.h.
 */
#ifndef METALCOW_OPTIONS_H
#define METALCOW_OPTIONS_H

#include "core/spec/disk_spec.h"
#include "verbs.h"

enum option_kind {
    OPTION_HELP,
    OPTION_PERMISSION,    /* allows what is never needed here */
    OPTION_AIO,           /* threads; nothing is stored */
    OPTION_CACHE,         /* enum file_cache: writeback, none, writethrough, directsync, unsafe */
    OPTION_SET,           /* bool */
    OPTION_TEXT,          /* const char * */
    OPTION_SIZE,          /* uint64_t */
    OPTION_KEY,           /* as the disk key of this name says: a string, struct given_files (one
                             more), an enum or a uint64_t */
    OPTION_FORMAT,        /* enum format_choice: the words of the disk key "format" */
    OPTION_OUTPUT,        /* bool json: human, json */
    OPTION_MAP_OUTPUT,    /* enum map_output: human, json, html, svg */
    OPTION_TEXTS,         /* struct option_texts: one more */
    OPTION_COMMAND,       /* struct command_lines: one more */
    OPTION_ACTION,        /* struct verb_actions: one more */
    OPTION_REPAIR,        /* enum repair_wish: leaks, all */
    OPTION_DISCARD,       /* bool ignored: unmap, on, ignore, off */
    OPTION_PREALLOCATION, /* enum preallocation: off, metadata, falloc, full */
};

/* One meaning of an option. A letter or a name may have several rows, with other verbs each. */
struct option_row {
    int letter;        /* 0: none */
    const char *name;  /* without "--"; NULL: none */
    const char *value; /* how help calls the value; NULL: takes none, or OPTION_KEY */
    enum option_kind kind;
    size_t field;   /* offsetof(struct arguments, ...) */
    verb_set verbs; /* who takes it */
    const char *text;
};

extern const struct option_row option_rows[];
extern const size_t nb_option_rows; /* at most MAX_OPTION_ROWS */

#define MAX_OPTION_ROWS 128

/* The disk key that says which values an option takes: that of its name, without the 2 of the
 * second image, and "format" for OPTION_FORMAT. NULL: the option is the host's own. */
const struct mc_spec_key *option_key(const struct option_row *row);

/* How help calls the option's value; NULL: it takes none. */
const char *option_value(const struct option_row *row);

#endif
