/* The specification of a disk: which image, which files beside it, how it is published.
 *
 * One constant table, mc_spec_keys, has a row for each thing that can be said of a disk: its key in
 * an entry file, its option on a command line, the member of struct mc_disk_spec that it sets, what
 * values it takes, its default and a line of help. The parser of entry files, the command lines and
 * the control protocol share it, so a new key is a member and a row.
 *
 * Pure functions on memory: no allocation, no state. Text comes from files and command lines and is
 * untrusted; what is written to a struct mc_disk_spec has passed the check that its row names.
 */
#ifndef METALCOW_CORE_DISK_SPEC_H
#define METALCOW_CORE_DISK_SPEC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "q2_disk.h"
#include "q2_limits.h"

/* Bytes of a value that is no path: a file name's length, and more than a menu line shows. */
#define MC_MAX_TEXT_LENGTH 255u

/* Backing files that an entry can name in place of those that the images name. Deeper chains are
 * seldom, and each pointer is in every specification; the host command has a list of its own. */
#define MC_MAX_BACKING_FILES 15u

/* Sums that can be pinned: of the image, its data file, and the files below. Deeper chains are
 * seldom, and each pointer is in every specification. */
#define MC_MAX_SUMS 16u

/* Bytes of a sum, a SHA-256. */
#define MC_SUM_LENGTH 32u

/* Sizes: more than any machine has memory, or any FAT file bytes. */
#define MC_MAX_SIZE (1ull << 40)

enum mc_mode {
    MC_MODE_READ_ONLY, /* the default */
    MC_MODE_READ_WRITE,
    MC_MODE_OVERLAY,
};

/* How the running system gets the disk after boot services have ended. */
enum mc_handoff_way {
    MC_HANDOFF_AUTO,   /* by a program in its initrd, the fastest way that is right for the image */
    MC_HANDOFF_SERVER, /* the same, always by its server */
    MC_HANDOFF_RAMDISK, /* not from its files: all its bytes are in memory before it starts */
    MC_HANDOFF_NONE,    /* not at all: for systems that have their root somewhere else */
};

/* What is said of one disk. Strings are NUL-terminated UTF-8 and belong to whoever filled the
 * struct in; NULL: not said. Paths begin with '/' and have '/' between components. */
struct mc_disk_spec {
    const char *image;
    const char *data_file;
    const char *backing_files[MC_MAX_BACKING_FILES]; /* of layer 0, 1, ...; NULL after the last */
    const char *passphrase_file;                     /* its first line is the passphrase */
    const char *key_file;                            /* all of it is the passphrase */
    const char *snapshot;                            /* id or name */
    const char *title;                               /* what people call the disk */
    const char *boot;                                /* the loader, a path on the disk itself */
    const char *sort_key, *machine_id, *version;     /* the order of entries */
    const char *sums[MC_MAX_SUMS]; /* of the disk's files, in their order, for mc_sum_parse(); "":
                                      a line that is none, and so fits no file */
    enum q2_name_policy names;
    enum q2_image_format format;          /* of the image */
    enum q2_unsaid_format backing_format; /* of backing files whose format no image says */
    enum mc_mode mode;
    uint64_t overlay_size; /* MC_MODE_OVERLAY: bytes of memory for what is written */
    uint64_t room; /* MC_MODE_READ_WRITE: bytes that the file is made longer ahead of writes, at
                      most; 0: it never grows */
    enum mc_handoff_way handoff;
    uint32_t handoff_secure_boot; /* 1: under Secure Boot too */
    uint32_t sector_size;         /* 512 or 4096; 0: what the disk's partition table shows */
    bool no_attach;               /* the driver does not attach it by itself */
    bool may_ask; /* for a passphrase: a person has asked for the disk. No key sets this */
};

enum mc_spec_kind {
    MC_SPEC_TEXT,  /* const char *: at most MC_MAX_TEXT_LENGTH bytes */
    MC_SPEC_PATH,  /* const char *: a file */
    MC_SPEC_PATHS, /* const char *[MC_MAX_BACKING_FILES]: a file; may be said several times */
    MC_SPEC_WORD,  /* uint32_t, or an enum of its size: one of the row's words */
    MC_SPEC_SUMS,  /* const char *[MC_MAX_SUMS]: a SHA-256; may be said several times */
    MC_SPEC_NO,    /* bool: "no" sets it, "yes" clears it */
    MC_SPEC_SIZE,  /* uint64_t: bytes, or a number with K, M or G */
};

struct mc_spec_word {
    const char *word;
    uint32_t value;
};

struct mc_spec_key {
    const char *key;    /* in an entry file */
    const char *option; /* on a command line, with "--"; NULL: it has none */
    size_t offset;      /* into struct mc_disk_spec */
    enum mc_spec_kind kind;
    const struct mc_spec_word *words; /* WORD; ends with a NULL */
    const char *refusal;              /* WORD: what is wrong with another word, after the key */
    const char *value;                /* the value, as help shows it: "FILE", "ro|rw|overlay" */
    const char *fallback;             /* the default, as text; NULL: the zero of its kind */
    const char *help;
};

extern const struct mc_spec_key mc_spec_keys[];
extern const size_t mc_spec_nb_keys;

/* The row of a key or option, of length bytes; NULL: there is none. */
const struct mc_spec_key *mc_spec_find_key(const char *text, size_t length);
const struct mc_spec_key *mc_spec_find_option(const char *text);

/* The key whose spelling is nearest to text, for "did you mean"; NULL: none is near. Case does not
 * count. */
const char *mc_spec_nearest_key(const char *text, size_t length);

/* The same among other names; names ends with a NULL. */
const char *mc_spec_nearest(const char *const *names, const char *text, size_t length);

/* Memory that values are copied into. */
struct mc_spec_pool {
    char *bytes;
    size_t size, used;
};

/* Set everything to its default. */
void mc_spec_init(struct mc_disk_spec *spec);

/* Set one member from text.
 *
 * text, length  the value, UTF-8 without control characters, >= 1 byte
 * pool          paths and texts are copied into it, paths in the form that struct mc_disk_spec
 *               asks for. NULL: text is NUL-terminated and kept as it is; paths are not judged then
 *               (a command line's path is relative to a folder that only the shell knows)
 * returns       NULL; or what is wrong, static, to be read on after the key: "is no size up to
 *               1024G, such as 64M". Then nothing has changed, except that a sum which is none
 *               counts as one that no file has: a mistake must not turn the check off
 */
const char *mc_spec_set(struct mc_disk_spec *spec, const struct mc_spec_key *key, const char *text,
                        size_t length, struct mc_spec_pool *pool);

/* The strings that a row has set, in order; index 0 unless the kind is PATHS. NULL: no such one. */
const char **mc_spec_string(struct mc_disk_spec *spec, const struct mc_spec_key *key, size_t index);

/* What is wrong with one backing file more than there can be. */
#define MC_SPEC_TOO_OFTEN "is said more often than images can have layers"

/* Read a decimal number of bytes, or of KiB, MiB or GiB with a letter K, M or G after it.
 *
 * returns  false: it is none, or over MC_MAX_SIZE */
bool mc_size_parse(const char *text, size_t length, uint64_t *ret_size);

/* Read a SHA-256 of 64 hexadecimal digits, of either case. false: it is none. */
bool mc_sum_parse(const char *text, uint8_t ret_sum[MC_SUM_LENGTH]);

/* What is wrong with a path as a path on a volume, to be read on after the key; NULL: nothing. */
const char *mc_path_refusal(const char *path, size_t length);

#endif
