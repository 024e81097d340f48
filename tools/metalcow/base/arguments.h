/* The command line: what the tables of verbs and options parse it into. Strings point into argv.
 */
#ifndef METALCOW_ARGUMENTS_H
#define METALCOW_ARGUMENTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "q2_disk.h"

#include "cache.h"
#include "core/spec/disk_spec.h"
#include "create_options.h"
#include "tools/metalcow/verbs.h"

/* The format of the file that a person names. */
enum format_choice {
    FORMAT_PROBED, /* by its first bytes */
    FORMAT_QCOW2,
    FORMAT_RAW,
};

/* Files that a person gives instead of the names in images. */
struct given_files {
    const char *paths[Q2_MAX_LAYERS - 1];             /* NULL: the name in the image */
    enum q2_unsaid_format formats[Q2_MAX_LAYERS - 1]; /* that --image-opts states */
    const char *key_secrets[Q2_MAX_LAYERS - 1];       /* ids of secrets; NULL: none */
    uint32_t nb;
};

/* The texts of all -o flags, or of all --object flags, in order. */
#define MAX_OPTION_TEXTS 8
struct option_texts {
    const char *texts[MAX_OPTION_TEXTS];
    size_t nb;
};

/* How one image is to be opened. */
struct image_options {
    enum format_choice format;
    const char *data_file;
    struct given_files backing_files; /* of FILE, of the layer below it, and so on */
    const char *snapshot;
    const char *passphrase_file;    /* NULL: ask on the terminal if the image is encrypted */
    const char *key_file;           /* the same, every byte of it */
    const struct passphrase *known; /* the passphrase itself, instead of a file; NULL: not known */
    size_t known_length;            /* bytes */
    const char *key_secret;         /* the id of the secret that it is; NULL: none */
    const struct option_texts *objects; /* the secrets */
    enum q2_name_policy names;
    enum q2_unsaid_format backing_format; /* of a backing file whose format nobody states */
    enum file_cache cache;                /* of its files */
    enum file_cache backing_cache;        /* of its backing files; UNSAID: the same */
    bool read_only;                       /* --image-opts says that it must not be written */
    bool share;                           /* others may write the files meanwhile */
    bool share_backing;                   /* with writable: the backing files */
    bool writable;                        /* what was written is durable after image_flush() */
    bool repair;                          /* with writable: for q2_disk_repair() alone */
    const uint8_t *held; /* with writable: the first bytes, which the file has not got yet; NULL:
                            it has */
    struct q2_source *overlay; /* with writable: takes what is written; the file is only read */
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

/* The texts of all -c flags of io, in order. */
#define MAX_COMMAND_LINES 1024
struct command_lines {
    const char *lines[MAX_COMMAND_LINES];
    size_t nb;
};

/* What bitmap or snapshot does, in order. */
#define MAX_ACTIONS 64
struct verb_action {
    const char *name;  /* of the option */
    const char *value; /* NULL: the option takes none */
};
struct verb_actions {
    struct verb_action actions[MAX_ACTIONS];
    size_t nb;
};

#define SPARSE_UNSAID  UINT64_MAX
#define THREADS_UNSAID UINT64_MAX
#define MODE_UNSAID    ((enum mc_mode)UINT32_MAX)

/* What bench does; BENCH_UNSAID where nothing is said. */
#define BENCH_UNSAID UINT64_MAX
struct bench_options {
    bool writes;
    uint64_t count, depth, flush_interval; /* requests */
    uint64_t size, step;                   /* bytes */
    uint64_t offset;                       /* bytes of the disk; 0 where nothing is said */
    uint64_t pattern;
};

/* Everything that any verb can be told; a verb reads what its flags fill. */
struct arguments {
    struct image_options image[2];
    bool json;
    bool quiet;
    bool progress;
    bool strict;
    bool backing_chain;
    bool skip_create;
    bool compress;
    bool offload;
    bool salvage, target_is_zero; /* of convert */
    bool drop;
    const char *base, *base_format;
    uint64_t nb_threads;
    uint64_t rate; /* bytes of a second; 0: as fast as it goes */
    enum map_output map_output;
    const char *snapshot_param;
    enum repair_wish repair;
    const char *output_format;
    enum file_cache output_cache;
    const char *size_text;
    const char *backing_file, *backing_format; /* for the header */
    struct verb_actions actions;               /* of bitmap and snapshot */
    uint64_t granularity;                      /* bytes; 0: not given */
    bool bitmaps, skip_broken_bitmaps;         /* of convert */
    bool shrink;                               /* of resize */
    enum preallocation preallocation;
    bool image_opts, target_image_opts;            /* operands are KEY=VALUE,... */
    bool read_only, ignore_discard;                /* of io */
    bool no_cache;                                 /* of io: as cache none */
    bool snapshot_mode;                            /* of io: write to a temporary file */
    const char *socket_path, *port, *bind_address; /* of serve */
    enum mc_mode mode;                             /* MODE_UNSAID */
    uint64_t overlay_size;                         /* bytes; 0: not given */
    struct command_lines commands;
    struct bench_options bench;
    bool unsafe; /* do not look at the backing file */
    struct option_texts options;
    struct option_texts objects; /* secrets */
    bool force;                  /* of amend */
    uint64_t start;
    uint64_t max_length;
    uint64_t sparse_size;               /* bytes; SPARSE_UNSAID */
    const char *operands[MAX_OPERANDS]; /* the first ones; NULL: there is none */
    char *const *all_operands;          /* nb_operands of them, in argv */
    int nb_operands;
};

enum parse_result {
    PARSE_OK,
    PARSE_HELP,         /* --help was given */
    PARSE_OPTIONS_HELP, /* -o help was given; operands were not looked at */
    PARSE_ERROR,        /* said on stderr */
};

/* Parse argv[1..] of a verb; argv[0] is the verb's name. */
enum parse_result arguments_parse(const struct verb *verb, int argc, char **argv,
                                  struct arguments *ret_arguments);

/* Whether there are secrets that --image-opts does not name: somebody else must want them. */
bool arguments_spare_objects(const struct arguments *arguments);

/* Parse an operand that is a size; false, and said on stderr, if it is none. */
bool arguments_size(const char *operand, uint64_t *ret_size);

/* Whether a word of -d, which says what discard does, is ignore; false: it is no such word. */
bool arguments_discard(const char *word, bool *ret_ignore);

/* What a word of -t or -T says; false: it is none. */
bool arguments_cache(const char *word, enum file_cache *ret_cache);

/* Whether a word of -i, which says how requests reach the kernel, is one that is supported. */
bool arguments_aio(const char *word);

/* The format that a word names; false, and nothing is said, if it is none of ours. */
bool arguments_find_format(const char *word, enum q2_image_format *ret_format);

/* The format that -O names, raw for NULL; false, and said on stderr, if it is none of ours. */
bool arguments_format(const char *name, enum q2_image_format *ret_format);

#endif
