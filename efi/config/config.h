/* The configuration: text files in the style of the Boot Loader Specification.
 *
 *     \metalcow\metalcow.conf     default, timeout                       mc_settings_parse()
 *     \metalcow\entries\ID.conf   one disk each: title, image, ...       mc_entry_parse()
 *
 * Called by efi/, which reads the files; implemented by efi/config/config.c and
 * efi/config/config_order.c. Pure functions on bytes: no firmware type, no allocation, no
 * recursion, no state, so the same source runs on the host under the tests and the fuzzer. mc_ is
 * the prefix of the firmware programs' own names (q2_ is the engine's).
 *
 * A file is UTF-8 text, with or without byte order mark, lines ending in LF or CRLF. A line is
 * empty, a comment (its first character is '#'), or a key, blanks, and a value that goes on to the
 * end of the line; blanks (space, tab) around both are dropped. A key that is not known is counted
 * and otherwise ignored, as the specification says; everything else that is wrong is an error, so
 * that a typing mistake never boots something that was not meant.
 *
 * Keys of an entry:
 *
 *     title            what a menu shows; absent: the entry's id
 *     image            the qcow2 image, required                                          path
 *     data-file        its external data file; absent: the name in the image              path
 *     backing-file     its backing file; absent: the name in the image                    path
 *     backing-format   raw: a backing file whose format the image does not say is raw
 *     snapshot         id or name of an internal snapshot; absent: the active state
 *     names            below | none | any     names inside images that may be opened
 *     mode             ro | rw | overlay      where writes go: nowhere, the image, memory
 *     overlay-size     memory for mode overlay; absent: MC_DEFAULT_OVERLAY_SIZE            size
 *     room             mode rw: bytes that the image's file is made longer ahead of writes;
 *                      absent: MC_DEFAULT_ROOM; 0: it never grows                          size
 *     attach           yes | no               whether the driver attaches it by itself
 *     boot             the loader on the disk's ESP; absent: MC_DEFAULT_BOOT_PATH          path
 *     handoff          nbd | ramdisk | none   how the operating system gets the disk
 *     passphrase-file  first line is the passphrase of an encrypted image                 path
 *     key-file         the whole file is the key                                          path
 *     sort-key, machine-id, version           order in the menu, see mc_entry_compare()
 *
 * A path lies on the volume of the configuration (boot: on the published disk), is absolute with or
 * without a separator in front, and has '/' or '\' between its components. It comes out as
 * the engine wants it: "/img/debian.qcow2". A size is a number of bytes, or one with K, M or G.
 */
#ifndef METALCOW_EFI_CONFIG_H
#define METALCOW_EFI_CONFIG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "q2_disk.h"
#include "q2_limits.h"

/* A configuration file is a page of text; more than this is not one. */
#define MC_MAX_CONFIG_SIZE (64u * 1024)

/* Bytes of a value that is no path: a file name's length, and more than a menu line shows. */
#define MC_MAX_TEXT_LENGTH 255u

/* Bytes of a key that are kept for a message; the longest known key has 15. */
#define MC_MAX_KEY_LENGTH 31u

#define MC_MAX_TIMEOUT_SECONDS 3600u

/* Memory for what is written in mode overlay: a boot writes some MiB; any firmware has this much to
 * spare. */
#define MC_DEFAULT_OVERLAY_SIZE (64ull << 20)

/* How much longer an image's file is made at once: FAT is not safe against power cuts while it
 * grows a file, so that is done rarely and in large steps (HAZARDS.md, U13). */
#define MC_DEFAULT_ROOM (64ull << 20)

/* Where a removable disk's loader lies on x86-64.  (UEFI: "Removable Media Boot Behavior") */
#define MC_DEFAULT_BOOT_PATH "/EFI/BOOT/BOOTX64.EFI"

enum mc_config_status {
    MC_CONFIG_OK = 0,
    MC_CONFIG_TOO_LARGE,     /* the file is longer than MC_MAX_CONFIG_SIZE */
    MC_CONFIG_BAD_ENCODING,  /* not UTF-8 */
    MC_CONFIG_BAD_CHARACTER, /* a NUL byte or another control character */
    MC_CONFIG_NO_VALUE,      /* a known key without a value */
    MC_CONFIG_DUPLICATE,     /* a known key for the second time */
    MC_CONFIG_TOO_LONG,      /* a value over its limit */
    MC_CONFIG_BAD_PATH,      /* a path that no file can have, or that has ".." or a device */
    MC_CONFIG_BAD_VALUE,     /* none of the words that the key allows, or no number in its range */
    MC_CONFIG_NO_IMAGE,      /* the entry has no image */
    MC_CONFIG_NB_STATUS
};

/* Why a file was refused: its first line that is wrong. */
struct mc_config_error {
    enum mc_config_status status;
    uint32_t line;    /* 1 is the first; 0: the file as a whole */
    const char *text; /* what is wrong, static, to be read on behind the key; never NULL */
    char key[MC_MAX_KEY_LENGTH + 1]; /* printable ASCII; "" if the line has none that is known */
};

/* Keys that nobody knows, for a line of warning; the key is printable ASCII, cut when longer. */
struct mc_unknown_keys {
    uint32_t nb;
    uint32_t line; /* of the first one */
    char key[MC_MAX_KEY_LENGTH + 1];
};

enum mc_mode {
    MC_MODE_READ_ONLY, /* the default */
    MC_MODE_READ_WRITE,
    MC_MODE_OVERLAY,
};

enum mc_handoff {
    MC_HANDOFF_UNSET, /* not said: whoever hands over decides */
    MC_HANDOFF_NBD,
    MC_HANDOFF_RAMDISK,
    MC_HANDOFF_NONE,
};

/* One entry. Some 14 KiB: not for the stack. Strings are NUL-terminated UTF-8, "" when absent. */
struct mc_entry {
    char id[MC_MAX_TEXT_LENGTH + 1]; /* set by mc_entry_set_id() */
    char title[MC_MAX_TEXT_LENGTH + 1];
    char snapshot[MC_MAX_TEXT_LENGTH + 1];
    char sort_key[MC_MAX_TEXT_LENGTH + 1];
    char machine_id[MC_MAX_TEXT_LENGTH + 1];
    char version[MC_MAX_TEXT_LENGTH + 1];
    char image[Q2_MAX_PATH_LENGTH + 1]; /* paths begin with '/' and have '/' inside */
    char data_file[Q2_MAX_PATH_LENGTH + 1];
    char backing_file[Q2_MAX_PATH_LENGTH + 1];
    char boot[Q2_MAX_PATH_LENGTH + 1]; /* never "" */
    char passphrase_file[Q2_MAX_PATH_LENGTH + 1];
    char key_file[Q2_MAX_PATH_LENGTH + 1];
    enum q2_name_policy names;
    enum mc_mode mode;
    uint64_t overlay_size; /* bytes */
    uint64_t room;         /* bytes */
    enum mc_handoff handoff;
    bool backing_raw;
    bool attach;
    struct mc_unknown_keys unknown;
};

enum mc_menu {
    MC_MENU_HIDDEN,  /* start the default at once; a held key shows the menu. The default */
    MC_MENU_TIMEOUT, /* show the menu for timeout_seconds, then start the default */
    MC_MENU_FORCE,   /* show the menu until somebody chooses */
};

struct mc_settings {
    char default_entry[MC_MAX_TEXT_LENGTH + 1]; /* for mc_entry_matches(); "": the first entry */
    enum mc_menu menu;
    uint32_t timeout_seconds; /* MC_MENU_TIMEOUT: 1..MC_MAX_TIMEOUT_SECONDS; else 0 */
    struct mc_unknown_keys unknown;
};

/* Parse an entry file.
 *
 * text, length  the file's bytes, untrusted; need not end in a NUL or a line feed
 * ret_entry     written on MC_CONFIG_OK only; its id is "" then
 * ret_error     written on every other status, which it repeats
 */
enum mc_config_status mc_entry_parse(const char *text, size_t length, struct mc_entry *ret_entry,
                                     struct mc_config_error *ret_error);

/* Parse metalcow.conf; arguments as mc_entry_parse(). An empty file gives the defaults, which are
 * also what holds when there is no file. */
enum mc_config_status mc_settings_parse(const char *text, size_t length,
                                        struct mc_settings *ret_settings,
                                        struct mc_config_error *ret_error);

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

/* Write an error as one line without a line feed and full stop, such as
 *
 *     /metalcow/entries/debian.conf, line 3: names is none of below, none, any
 *
 * file    how to name the file; copied as it is
 * buffer  size bytes, size >= 1; always NUL-terminated, cut when too small
 * returns the length of the whole line, without the NUL, as if the buffer were large enough
 */
size_t mc_config_error_format(const struct mc_config_error *error, const char *file, char *buffer,
                              size_t size);

#endif
