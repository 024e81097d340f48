/* Every option of the host command: what it is called, which verbs take it and where it goes. */
#ifndef METALCOW_OPTIONS_H
#define METALCOW_OPTIONS_H

#include "verbs.h"

enum option_kind {
    OPTION_HELP,
    OPTION_IGNORED,       /* accepted because qemu-img has it; it changes nothing here */
    OPTION_SET,           /* bool */
    OPTION_TEXT,          /* const char * */
    OPTION_SIZE,          /* uint64_t */
    OPTION_FORMAT,        /* enum format_choice: qcow2, raw */
    OPTION_UNSAID,        /* enum q2_unsaid_format: qcow2, raw */
    OPTION_FILES,         /* struct given_files: one more */
    OPTION_OUTPUT,        /* bool json: human, json */
    OPTION_MAP_OUTPUT,    /* enum map_output: human, json, html, svg */
    OPTION_TEXTS,         /* struct option_texts: one more */
    OPTION_COMMAND,       /* struct command_lines: one more */
    OPTION_ACTION,        /* struct bitmap_actions: one more */
    OPTION_REPAIR,        /* enum repair_wish: leaks, all */
    OPTION_DISCARD,       /* bool ignored: unmap, on, ignore, off */
    OPTION_PREALLOCATION, /* enum preallocation: off, metadata, falloc, full */
    OPTION_NAMES,         /* enum q2_name_policy: below, none, any */
};

/* One meaning of an option. A letter or a name may have several rows, with other verbs each. */
struct option_row {
    int letter;        /* 0: none */
    const char *name;  /* without "--"; NULL: none */
    const char *value; /* how help calls the value; NULL: takes none */
    enum option_kind kind;
    size_t field;   /* offsetof(struct arguments, ...) */
    verb_set verbs; /* who takes it */
    const char *text;
};

extern const struct option_row option_rows[];
extern const size_t nb_option_rows;

#endif
