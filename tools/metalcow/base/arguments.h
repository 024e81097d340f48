/* The command line: const tables of flags, one per verb, and what they parse into.
 *
 * Called by main.c, which hands a verb the result. Strings point into argv.
 */
#ifndef METALCOW_ARGUMENTS_H
#define METALCOW_ARGUMENTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "q2_disk.h"

#include "create_options.h"

/* How one image is to be opened. */
struct image_options {
    enum q2_image_format format; /* never probed */
    const char *data_file;
    const char *backing_file;
    const char *snapshot;
    const char *passphrase_file; /* NULL: ask on the terminal if the image is encrypted */
    enum q2_name_policy names;
    bool backing_raw; /* a backing file without a format is raw */
    bool writable;    /* what was written is durable after image_flush() */
    bool repair;      /* with writable: for q2_disk_repair() alone */
};

/* How map tells what it found. */
enum map_output {
    MAP_HUMAN,
    MAP_JSON,
    MAP_HTML,
    MAP_SVG
};

/* What check mends. */
enum repair_wish {
    REPAIR_NOTHING,
    REPAIR_LEAKS,
    REPAIR_ALL
};

#define MAX_OPERANDS 3

/* The texts of all -o flags, in order. */
#define MAX_OPTION_TEXTS 8
struct option_texts {
    const char *texts[MAX_OPTION_TEXTS];
    size_t nb;
};

/* The texts of all -c flags of io, in order. */
#define MAX_COMMAND_LINES 1024
struct command_lines {
    const char *lines[MAX_COMMAND_LINES];
    size_t nb;
};

/* Everything that any verb can be told; a verb reads what its flags fill. */
struct arguments {
    struct image_options image[2];
    bool json;
    bool quiet;
    bool progress;
    bool strict;
    bool list;
    bool backing_chain;
    bool skip_create;
    bool compress;
    bool drop;
    const char *base, *base_format;
    uint64_t nb_threads;
    enum map_output map_output;
    const char *snapshot_param;
    enum repair_wish repair;
    const char *snapshot_create, *snapshot_apply, *snapshot_delete;
    const char *output_format;
    const char *size_text;
    const char *backing_file, *backing_format; /* for the header */
    bool shrink;                               /* of resize */
    enum preallocation preallocation;
    bool read_only, image_opts, ignore_discard; /* of io */
    struct command_lines commands;
    bool unsafe; /* do not look at the backing file */
    struct option_texts options;
    uint64_t start;
    uint64_t max_length;
    uint64_t sparse_size;
    const char *operands[MAX_OPERANDS];
};

enum flag_kind {
    FLAG_HELP,
    FLAG_IGNORED,       /* accepted because qemu-img has it; it changes nothing here */
    FLAG_SET,           /* bool */
    FLAG_TEXT,          /* const char * */
    FLAG_SIZE,          /* uint64_t */
    FLAG_FORMAT,        /* enum q2_image_format: qcow2, raw */
    FLAG_RAW,           /* bool: the one value "raw" */
    FLAG_OUTPUT,        /* bool json: human, json */
    FLAG_MAP_OUTPUT,    /* enum map_output: human, json, html, svg */
    FLAG_OPTIONS,       /* struct option_texts: one more */
    FLAG_COMMAND,       /* struct command_lines: one more */
    FLAG_REPAIR,        /* enum repair_wish: leaks, all */
    FLAG_DISCARD,       /* bool ignored: unmap, on, ignore, off */
    FLAG_PREALLOCATION, /* enum preallocation: off, metadata, falloc, full */
    FLAG_NAMES,         /* enum q2_name_policy: below, none, any */
};

struct flag {
    int letter;        /* 0: none */
    const char *name;  /* without "--"; NULL: none */
    const char *value; /* how help calls the value; NULL: takes none */
    const char *text;
    enum flag_kind kind;
    size_t field; /* offsetof(struct arguments, ...) */
};

#define FIELD(name) offsetof(struct arguments, name)

/* Rows that several verbs share. */
#define FLAG_ROW_HELP                                                                              \
    {                                                                                              \
        'h', "help", NULL, "show this help", FLAG_HELP, 0                                          \
    }
#define FLAG_ROW_FORMAT                                                                            \
    {                                                                                              \
        'f', "format", "FMT", "format of the image: qcow2 (default) or raw", FLAG_FORMAT,          \
            FIELD(image[0].format)                                                                 \
    }
#define FLAGS_WRITING FLAG_ROW_HELP, FLAG_ROW_FORMAT
#define FLAGS_COMMON                                                                               \
    FLAGS_WRITING,                                                                                 \
    {                                                                                              \
        'U', "force-share", NULL, "accepted; images are always opened shared", FLAG_IGNORED, 0     \
    }
#define FLAG_ROW_OUTPUT                                                                            \
    {                                                                                              \
        0, "output", "human|json", "how to print the result", FLAG_OUTPUT, FIELD(json)             \
    }
#define FLAG_ROW_QUIET                                                                             \
    {                                                                                              \
        'q', "quiet", NULL, "print errors only", FLAG_SET, FIELD(quiet)                            \
    }
#define FLAG_ROW_PROGRESS                                                                          \
    {                                                                                              \
        'p', "progress", NULL, "show progress (on a terminal long work shows it by itself)",       \
            FLAG_SET, FIELD(progress)                                                              \
    }
#define FLAG_ROW_CACHE(letter)                                                                     \
    {                                                                                              \
        letter, NULL, "CACHE", "accepted; the page cache is always used", FLAG_IGNORED, 0          \
    }
#define FLAGS_FILES                                                                                \
    {0,         "data-file",                                                                       \
     "PATH",    "the external data file, instead of the name in the image",                        \
     FLAG_TEXT, FIELD(image[0].data_file)},                                                        \
        {0,         "backing-file",                                                                \
         "PATH",    "the backing file, instead of the name in the image",                          \
         FLAG_TEXT, FIELD(image[0].backing_file)},                                                 \
        {0,        "backing-format",                                                               \
         "raw",    "take a backing file whose format the image does not name for raw",             \
         FLAG_RAW, FIELD(image[0].backing_raw)},                                                   \
        {0,         "passphrase-file",                                                             \
         "PATH",    "the file whose bytes are the passphrase, instead of asking for it",           \
         FLAG_TEXT, FIELD(image[0].passphrase_file)},                                              \
    {                                                                                              \
        0, "names", "below|none|any",                                                              \
            "which file names out of images may be opened: those in the image's folder or below "  \
            "(default), none, any",                                                                \
            FLAG_NAMES, FIELD(image[0].names)                                                      \
    }
#define FLAG_ROW_SNAPSHOT                                                                          \
    {                                                                                              \
        0, "snapshot", "ID_OR_NAME", "the internal snapshot instead of the active state",          \
            FLAG_TEXT, FIELD(image[0].snapshot)                                                    \
    }

/* One verb: a row of main.c's table. */
struct verb {
    const char *name;
    const char *operands; /* as help shows them */
    const char *summary;
    const struct flag *flags;
    size_t nb_flags;
    int nb_operands;
    int nb_optional;      /* how many of them, the last ones, may be left away: NULL then */
    bool last_is_operand; /* whatever it begins with */
    int usage_status;     /* exit status of a wrong command line */
    int (*run)(const struct arguments *arguments);
};

enum parse_result {
    PARSE_OK,
    PARSE_HELP,  /* --help was given */
    PARSE_ERROR, /* said on stderr */
};

/* Parse argv[1..] of a verb; argv[0] is the verb's name. */
enum parse_result arguments_parse(const struct verb *verb, int argc, char **argv,
                                  struct arguments *ret_arguments);

/* Parse an operand that is a size; false, and said on stderr, if it is none. */
bool arguments_size(const char *operand, uint64_t *ret_size);

/* The format that -O names, raw for NULL; false, and said on stderr, if it is none of ours. */
bool arguments_format(const char *name, enum q2_image_format *ret_format);

/* Print a verb's usage and flags to stdout. */
void arguments_help(const struct verb *verb);

#endif
