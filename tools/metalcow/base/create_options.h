/* Creation options, as `-o NAME=VALUE,NAME=VALUE` names them in qemu-img.
 *
 * For verbs that make images, or that say how large one would be.
 */
#ifndef METALCOW_CREATE_OPTIONS_H
#define METALCOW_CREATE_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "cache.h"
#include "q2_create.h"

struct passphrase;

/* Every option that is known; names in create_options.c. */
enum create_option {
    CREATE_BACKING_FILE,
    CREATE_BACKING_FMT,
    CREATE_CLUSTER_SIZE,
    CREATE_COMPAT,
    CREATE_COMPRESSION_TYPE,
    CREATE_DATA_FILE,
    CREATE_DATA_FILE_RAW,
    CREATE_ENCRYPT_CIPHER_ALG,
    CREATE_ENCRYPT_CIPHER_MODE,
    CREATE_ENCRYPT_FORMAT,
    CREATE_ENCRYPT_HASH_ALG,
    CREATE_ENCRYPT_ITER_TIME,
    CREATE_ENCRYPT_IVGEN_ALG,
    CREATE_ENCRYPT_IVGEN_HASH_ALG,
    CREATE_ENCRYPT_KEY_SECRET,
    CREATE_ENCRYPT_KEYSLOT,
    CREATE_ENCRYPT_NEW_SECRET,
    CREATE_ENCRYPT_OLD_SECRET,
    CREATE_ENCRYPT_STATE,
    CREATE_EXTENDED_L2,
    CREATE_LAZY_REFCOUNTS,
    CREATE_PREALLOCATION,
    CREATE_REFCOUNT_BITS,
    CREATE_SIZE,
    NB_CREATE_OPTIONS,
};

enum preallocation {
    PREALLOCATION_OFF,
    PREALLOCATION_METADATA,
    PREALLOCATION_FALLOC,
    PREALLOCATION_FULL,
};

/* What amend does to the keys of an encrypted image. */
enum key_state {
    KEY_INACTIVE,
    KEY_ACTIVE,
};
struct key_options {
    enum key_state state;
    const char *new_secret, *old_secret; /* ids */
    uint32_t keyslot;
    uint32_t iter_time; /* ms */
};

/* How the image that is made is encrypted; zero: as QEMU, if it is encrypted at all. */
enum encrypt_cipher {
    ENCRYPT_AES_256,
    ENCRYPT_AES_128,
};
enum encrypt_mode {
    ENCRYPT_XTS,
    ENCRYPT_CBC,
};
enum encrypt_ivgen {
    ENCRYPT_PLAIN64,
    ENCRYPT_ESSIV,
};
enum encrypt_hash {
    ENCRYPT_SHA256,
    ENCRYPT_SHA1,
    ENCRYPT_SHA512,
};
struct encrypt_options {
    uint32_t format; /* one of them only: luks */
    enum encrypt_cipher cipher;
    enum encrypt_mode mode;
    enum encrypt_ivgen ivgen;
    enum encrypt_hash ivgen_hash, hash;
    const char *secret; /* id */
};

/* The options of one image; zero before the first call. Values that were not given are those of
 * struct q2_create_options: zero, for the default. */
struct create_options {
    struct q2_create_options image;
    enum preallocation preallocation;
    bool amends; /* set before the first call: options that change keys are known, and options that
                    say how a new image is encrypted are not */
    struct key_options keys;
    struct encrypt_options encrypt;
    bool hold; /* make_image(): what is made does not open before its first bytes are released */
    enum file_cache cache;               /* make_image(): of the files that are made */
    const struct passphrase *opens_with; /* what image.encryption was made with; NULL: nothing */
    size_t opens_with_length;            /* bytes */
    bool given[NB_CREATE_OPTIONS];
    const char *values[NB_CREATE_OPTIONS]; /* as they were given; NULL: not */
    size_t nb_text;                        /* of text[], in use */
    char text[4096];                       /* strings that image points to */
};

/* Add the options of one -o; a later value wins. A comma in a value is written as two.
 *
 * format  Q2_FORMAT_RAW knows size and preallocation only
 * false   unknown option, or a value that is none (said on stderr)
 *
 * The struct must not be moved afterwards: image points into it.
 */
bool create_options_add(struct create_options *options, enum q2_image_format format,
                        const char *text);

/* Give one option a value, over the one it may have; false, and said on stderr, if it is none.
 * value must outlive options. */
bool create_options_set(struct create_options *options, enum create_option option,
                        const char *value);

/* Print the options in the form and order of qemu-img's "Formatting" line, the size included. */
void create_options_print(const struct create_options *options, enum q2_image_format format,
                          const char *path);

/* Print what -o help lists: of a new image, and of amend. */
void create_options_help(enum q2_image_format format);
void create_options_help_amend(void);

/* Does amend change what the option says? */
bool create_options_is_amendable(enum create_option option);

/* The values that stand for the defaults. */
uint64_t create_options_cluster_size(const struct create_options *options);
uint32_t create_options_refcount_bits(const struct create_options *options);

/* Whether the options fit together, with some of the checks of q2_create(); said on stderr if not.
 * For programs that make no image. */
bool create_options_check(const struct create_options *options);

#endif
