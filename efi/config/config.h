/* The configuration: text files in the style of the Boot Loader Specification.
 *
 *     \metalcow\metalcow.conf     default, timeout, editor               mc_settings_parse()
 *     \metalcow\entries\ID.conf   one disk each: title, image, ...       mc_entry_parse()
 *
 * Pure functions on bytes: no firmware type, no allocation, no recursion, no state, so the same
 * source runs on the host under the tests and the fuzzer. May call core/spec/ and core/base/. mc_
 * is the prefix of the programs' own names (q2_ is the engine's).
 *
 * A file is UTF-8 text, with or without byte order mark, lines ending in LF or CRLF. A line is
 * empty, a comment (its first character is '#'), or a key, blanks, and a value that goes on to the
 * end of the line; blanks (space, tab) around both are dropped. The keys of an entry are the rows
 * of mc_spec_keys (core/spec/disk_spec.h).
 *
 * A line that is wrong is left out, and becomes a problem with its number and its key. The other
 * lines count. The image of an entry with a problem is never written to: mode rw becomes ro.
 *
 * A path is on the volume of the configuration (boot: on the published disk), is absolute with or
 * without a separator in front, and has '/' or '\' between its components. It comes out as
 * the engine wants it: "/img/debian.qcow2". A size is a number of bytes, or one with K, M or G.
 */
#ifndef METALCOW_EFI_CONFIG_H
#define METALCOW_EFI_CONFIG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/spec/disk_spec.h"

/* A configuration file is a page of text; more than this is not one. */
#define MC_MAX_CONFIG_SIZE (64u * 1024)

/* Bytes of a key that are kept for a message: more than any known key has. */
#define MC_MAX_KEY_LENGTH 31u

/* Bytes of a value that are kept for a message; three dots follow if it is longer. */
#define MC_MAX_VALUE_SHOWN 40u

#define MC_MAX_TIMEOUT_SECONDS 3600u

/* Problems that are kept of one file; the rest is counted. */
#define MC_MAX_PROBLEMS 16u

/* All paths and texts of one entry: six files of the longest path, and all texts. */
#define MC_ENTRY_TEXT_SIZE (16u * 1024)

enum mc_config_status {
    MC_CONFIG_OK = 0,
    MC_CONFIG_TOO_LARGE,     /* the file is longer than MC_MAX_CONFIG_SIZE: all of it is left out */
    MC_CONFIG_BAD_ENCODING,  /* not UTF-8: the line, or the whole file if it is UTF-16 */
    MC_CONFIG_BAD_CHARACTER, /* a NUL byte or another control character */
    MC_CONFIG_NO_VALUE,      /* a known key without a value */
    MC_CONFIG_DUPLICATE,     /* a known key for the second time; the first line counts */
    MC_CONFIG_BAD_VALUE,     /* a value that the key does not take */
    MC_CONFIG_UNKNOWN,       /* no such key */
    MC_CONFIG_NO_IMAGE,      /* the entry has no image */
    MC_CONFIG_NOT_WRITTEN,   /* mode rw became ro, because of the problems before */
    MC_CONFIG_NB_STATUS
};

/* One thing that is wrong. */
struct mc_problem {
    enum mc_config_status status;
    uint32_t line;       /* 1 is the first; 0: the file as a whole */
    const char *text;    /* what is wrong, static, to be read on after the key; never NULL */
    const char *nearest; /* UNKNOWN: the key that was meant, perhaps; NULL: none is near */
    char key[MC_MAX_KEY_LENGTH + 1];    /* printable ASCII; "" if the line has none */
    char value[MC_MAX_VALUE_SHOWN + 4]; /* BAD_VALUE: UTF-8, as far as it is shown; else "" */
};

struct mc_problems {
    uint32_t nb; /* may be more than the list has */
    struct mc_problem list[MC_MAX_PROBLEMS];
};

/* One entry. Some 17 KiB: not for the stack. Does not move: spec points into text. */
struct mc_entry {
    struct mc_disk_spec spec;        /* title, snapshot, ...: NULL when absent */
    char id[MC_MAX_TEXT_LENGTH + 1]; /* set by mc_entry_set_id() */
    uint32_t nb_problems;            /* lines that were left out; then mode rw must not be used */
    struct mc_problem problem;       /* the first of them */
    char text[MC_ENTRY_TEXT_SIZE];
};

/* When the menu is shown. */
enum mc_menu_when {
    MC_MENU_HIDDEN,  /* start the default at once; a held key shows the menu. The default */
    MC_MENU_TIMEOUT, /* show the menu for timeout_seconds, then start the default */
    MC_MENU_FORCE,   /* show the menu until somebody chooses */
};

#define MC_SETTINGS_FILE "/metalcow/metalcow.conf"

/* The setting `default` that stands for the entry that was chosen last. */
#define MC_DEFAULT_SAVED "@saved"

struct mc_settings {
    char default_entry[MC_MAX_TEXT_LENGTH + 1]; /* for mc_entry_matches(), or MC_DEFAULT_SAVED; "":
                                                   the first entry */
    enum mc_menu_when menu;
    uint32_t timeout_seconds;  /* MC_MENU_TIMEOUT: 1..MC_MAX_TIMEOUT_SECONDS; else 0 */
    uint32_t no_editor;        /* 1: entries are started as they are, nothing can be changed */
    uint32_t nb_problems;      /* lines that were left out */
    struct mc_problem problem; /* the first of them */
};

/* Parse an entry file.
 *
 * text, length  the file's bytes, untrusted; need not end in a NUL or a line feed
 * ret_entry     written always; its id is "". Without an image it must not be used
 * ret_problems  what is wrong, in the order of lines
 *
 * returns       true: the entry has an image and can be used
 */
bool mc_entry_parse(const char *text, size_t length, struct mc_entry *ret_entry,
                    struct mc_problems *ret_problems);

/* Parse metalcow.conf; arguments as mc_entry_parse(). An empty file gives the defaults, which are
 * also what holds when there is no file, and for lines that are wrong. */
void mc_settings_parse(const char *text, size_t length, struct mc_settings *ret_settings,
                       struct mc_problems *ret_problems);

/* Name an entry after its file.
 *
 * file_name  UTF-8 without folder; ".conf" in any case is taken off
 * returns    false, with nothing changed: it is not "X.conf" with 1 to MC_MAX_TEXT_LENGTH bytes of
 *            X, and so no entry file
 */
bool mc_entry_set_id(struct mc_entry *entry, const char *file_name);

/* What a menu shows: the title, or the id of an entry without one. */
const char *mc_entry_title(const struct mc_entry *entry);

/* Whether a pattern (mc_glob_match()) selects the entry: it fits the id, or the id and ".conf". */
bool mc_entry_matches(const struct mc_entry *entry, const char *pattern);

/* Order of entries in the menu.  (Boot Loader Specification: "Sorting")
 *
 * Entries with a sort-key come first: by sort-key, machine-id, both ascending, version descending.
 * What is then still equal, and entries without sort-key: by id as a version, descending. Boot
 * counting ("+3-1" in the file name) is not supported and counts as part of the id.
 *
 * returns  < 0: a comes before b; > 0: after; 0: no difference
 */
int mc_entry_compare(const struct mc_entry *a, const struct mc_entry *b);

/* Compare version strings.  (UAPI Version Format Specification)
 * returns  < 0: a is older than b; > 0: newer; 0: no difference */
int mc_version_compare(const char *a, const char *b);

/* Whether a shell pattern fits a whole name: '*' any characters, '?' one, "[a-z]" one of a set,
 * "[!a-z]" one outside it; a '[' without ']' stands for itself. ASCII letters are compared without
 * case, as file names on FAT are. Both are NUL-terminated UTF-8; work is bounded by the product of
 * their lengths. */
bool mc_glob_match(const char *pattern, const char *name);

/* Write a problem as one line without a line feed and full stop, such as
 *
 *     /metalcow/entries/debian.conf, line 3: Titel is no key; did you mean title?
 *
 * file    how to name the file; copied as it is
 * buffer  size bytes, size >= 1; always NUL-terminated, cut when too small
 * returns the length of the whole line, without the NUL, as if the buffer were large enough
 */
size_t mc_problem_format(const struct mc_problem *problem, const char *file, char *buffer,
                         size_t size);

#endif
