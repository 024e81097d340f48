/* The unlocker: gets the cipher of an encrypted image with a passphrase.
 *
 * Implements q2_unlocker of include/q2_cipher.h. A program that opens disks makes it:
 *
 *     struct q2_unlocker_passphrase *memory = ...;          about 70 KiB, all the memory there is
 *     options.unlocker = q2_unlocker_passphrase_init(memory);
 *     memory->passphrase = key_file_bytes;                  known before, or NULL
 *     memory->passphrase_length = key_file_length;
 *     memory->ask = prompt_on_console;                      or NULL: no prompt
 *     status = q2_disk_open(...);
 *     wipe key_file_bytes and whatever prompt_on_console() has stored; set passphrase to NULL
 *
 * The passphrase is needed inside q2_disk_open() only; memory must live until q2_disk_close(),
 * which wipes every key in it. One unlocker may serve several disks.
 *
 * A caller that hands disks over to another program sets keep_keys before q2_disk_open(). It finds
 * the raw keys in kept[] afterwards, and wipes them there when it has taken them.
 *
 * A caller that opens a disk a second time with the same unlocker sets remembers before the first
 * time. It needs no passphrase for images that were unlocked then, until it calls
 * q2_unlocker_passphrase_forget().
 */
#ifndef METALCOW_DRIVERS_UNLOCKER_H
#define METALCOW_DRIVERS_UNLOCKER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "aes.h"
#include "luks_key.h"
#include "q2_cipher.h"
#include "q2_limits.h"

/* Longer than a person types and than the key files that programs make. */
#define Q2_MAX_PASSPHRASE_LENGTH 4096u

/* Times that ask() is called for one image: as cryptsetup, three tries. */
#define Q2_MAX_PASSPHRASES_ASKED 3u

/* The raw key of an image that was unlocked; length 0: none. */
struct q2_kept_key {
    const struct q2_source *image;
    uint64_t identity[2]; /* the image's; a source of the same file may be another one later */
    uint32_t crypt_method;
    enum q2_aes_mode mode;
    uint32_t length; /* bytes */
    uint8_t bytes[Q2_AES_MAX_KEY_LENGTH];
};

struct q2_unlocker_passphrase {
    struct q2_unlocker unlocker; /* first: the unlocker's address is this struct's */

    /* The user's; set after init(), changed at will between calls and inside ask(). */

    /* Exactly these bytes are the passphrase: no NUL, no line feed at the end unless it belongs to
     * it. NULL: none is known (a length of 0 is the empty passphrase). */
    const uint8_t *passphrase;
    size_t passphrase_length;

    /* Called before the first try of an image that is not unlocked yet, for callers that have a
     * passphrase for each image; NULL: there is none.
     *
     * true   passphrase and its length are those to try first
     * false  there is no passphrase for it
     */
    bool (*choose)(struct q2_unlocker_passphrase *unlocker, const char *path);

    /* Ask a person; NULL: nobody can be asked. Called when there is no passphrase, and when the
     * passphrase opens no key slot.
     *
     * path       of the image, for the prompt; untrusted bytes if an image named it
     * nb_failed  passphrases that did not fit this image, 0 before the first
     *
     * true   unlocker->passphrase and its length are set; the next image is tried with it first
     * false  the person gave up
     */
    bool (*ask)(struct q2_unlocker_passphrase *unlocker, const char *path, uint32_t nb_failed);

    /* Called before and after a passphrase is tried, which takes seconds; may be NULL. */
    void (*trying)(struct q2_unlocker_passphrase *unlocker, const char *path, bool begins);

    void *ask_context; /* used by choose(), ask() and trying() only */

    bool keep_keys; /* keep raw keys in kept[]; false after init() */
    bool remembers; /* keep raw keys, and unlock an image again with them; false after init() */

    /* The unlocker's own. */
    struct q2_luks_header header;
    struct q2_luks_work work;
    uint8_t key[Q2_AES_MAX_KEY_LENGTH];
    struct q2_cipher_aes ciphers[Q2_MAX_LAYERS]; /* free: without ops */
    struct q2_kept_key kept[Q2_MAX_LAYERS];      /* of the cipher with the same number */
};

/* Make an unlocker in memory: without a passphrase, without ask(), no cipher given out. Never
 * fails. */
struct q2_unlocker *q2_unlocker_passphrase_init(struct q2_unlocker_passphrase *memory);

/* The caller opens no disk again. Sets remembers to false, and wipes the raw keys unless keep_keys
 * is true. */
void q2_unlocker_passphrase_forget(struct q2_unlocker_passphrase *unlocker);

#endif
