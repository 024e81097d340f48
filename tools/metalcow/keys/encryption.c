/* The encryption of an image that is made.
 *
 * May call drivers/crypto, fresh.c, secrets.c and output.c. Invariant: the passphrase and the
 * image's key are in struct encryption only, which is wiped before it is freed; the key is gone
 * when encryption_begin() returns.
 */
#include "encryption.h"

#include <stdio.h>
#include <stdlib.h>

#include "drivers/crypto/luks_header.h"
#include "drivers/crypto/wipe.h"
#include "fresh.h"
#include "tools/metalcow/base/secrets.h"
#include "tools/metalcow/base/output.h"

/* As QEMU: an 8th of a slot's time, for the digest that tells whether a key is right. */
#define DIGEST_SHARE 8u

struct encryption {
    struct secrets secrets;
    struct passphrase passphrase;
    struct q2_luks_new_header new_header;
    struct q2_luks_work work;
    uint8_t header[Q2_LUKS_MAX_HEADER_LENGTH];
};

/* --- options --------------------------------------------------------------------------------- */

static bool any_given(const struct create_options *options)
{
    static const enum create_option own[] = {
        CREATE_ENCRYPT_CIPHER_ALG, CREATE_ENCRYPT_CIPHER_MODE,    CREATE_ENCRYPT_FORMAT,
        CREATE_ENCRYPT_HASH_ALG,   CREATE_ENCRYPT_ITER_TIME,      CREATE_ENCRYPT_IVGEN_ALG,
        CREATE_ENCRYPT_KEY_SECRET, CREATE_ENCRYPT_IVGEN_HASH_ALG,
    };

    for (size_t i = 0; i < sizeof(own) / sizeof(own[0]); i++) {
        if (options->given[own[i]])
            return true;
    }
    return false;
}

bool encryption_check(const struct create_options *options, const struct arguments *arguments)
{
    const struct encrypt_options *encrypt = &options->encrypt;
    const bool *given = options->given;

    if (!any_given(options))
        return !arguments_spare_objects(arguments) ||
               complain("--object is for encrypt.key-secret; give -o encrypt.format=luks,"
                        "encrypt.key-secret=ID, or leave it out");
    if (!given[CREATE_ENCRYPT_FORMAT])
        return complain("options of encryption need encrypt.format=luks");
    if (!given[CREATE_ENCRYPT_KEY_SECRET])
        return complain("encrypt.format=luks needs encrypt.key-secret=ID, the passphrase");
    if (encrypt->mode == ENCRYPT_XTS && encrypt->ivgen == ENCRYPT_ESSIV)
        return complain(
            "encrypt.ivgen-alg=essiv needs encrypt.cipher-mode=cbc; xts goes with plain64");
    if (given[CREATE_ENCRYPT_IVGEN_HASH_ALG] && encrypt->ivgen != ENCRYPT_ESSIV)
        return complain("encrypt.ivgen-hash-alg is for encrypt.ivgen-alg=essiv; leave it out");
    if (options->preallocation != PREALLOCATION_OFF)
        return complain("an encrypted image cannot be preallocated; leave out preallocation, or "
                        "encrypt.format");
    if (options->image.raw_external_data)
        return complain("a raw external data file cannot be encrypted; leave out data_file_raw, or "
                        "encrypt.format");
    return true;
}

static enum q2_aes_mode mode_of(const struct encrypt_options *encrypt)
{
    if (encrypt->mode == ENCRYPT_XTS)
        return Q2_AES_XTS_PLAIN64;
    return encrypt->ivgen == ENCRYPT_ESSIV ? Q2_AES_CBC_ESSIV_SHA256 : Q2_AES_CBC_PLAIN64;
}

static enum q2_luks_hash hash_of(const struct encrypt_options *encrypt)
{
    static const enum q2_luks_hash hashes[] = {
        [ENCRYPT_SHA256] = Q2_LUKS_SHA256,
        [ENCRYPT_SHA1] = Q2_LUKS_SHA1,
        [ENCRYPT_SHA512] = Q2_LUKS_SHA512,
    };

    return hashes[encrypt->hash];
}

/* Bytes of the image's key: XTS takes two keys of the cipher. */
static uint32_t key_length_of(const struct encrypt_options *encrypt)
{
    uint32_t length = encrypt->cipher == ENCRYPT_AES_256 ? 32 : 16;

    return encrypt->mode == ENCRYPT_XTS ? 2 * length : length;
}

uint32_t encryption_length(const struct create_options *options)
{
    return options->given[CREATE_ENCRYPT_FORMAT]
               ? q2_luks_header_length(key_length_of(&options->encrypt))
               : 0;
}

/* --- the header ------------------------------------------------------------------------------ */

static bool load(struct encryption *e, const struct create_options *options,
                 const struct option_texts *objects)
{
    struct q2_luks_new_key *slot = &e->new_header.slot;

    slot->passphrase = e->passphrase.bytes;
    return secrets_parse(objects, &e->secrets) &&
           secrets_load(&e->secrets, "encrypt.key-secret", options->encrypt.secret, &e->passphrase,
                        &slot->length);
}

static bool choose_iterations(struct q2_luks_new_header *new_header,
                              const struct create_options *options)
{
    uint32_t ms =
        options->given[CREATE_ENCRYPT_ITER_TIME] ? options->keys.iter_time : FRESH_ITER_TIME;
    const char *what;

    new_header->slot.iterations = fresh_iterations(new_header->hash, new_header->key_length, ms);
    new_header->digest_iterations =
        fresh_iterations(new_header->hash, Q2_LUKS_DIGEST_LENGTH, ms / DIGEST_SHARE);
    if (q2_luks_header_can_compose(new_header, &what) == Q2_OK)
        return true;
    fprintf(stderr, "metalcow: %s; give a smaller encrypt.iter-time\n", what);
    return false;
}

static bool compose(struct encryption *e, const struct create_options *options)
{
    struct q2_luks_new_header *new_header = &e->new_header;

    new_header->mode = mode_of(&options->encrypt);
    new_header->hash = hash_of(&options->encrypt);
    new_header->key_length = key_length_of(&options->encrypt);
    if (!choose_iterations(new_header, options) ||
        !fresh_random(new_header->key, sizeof(new_header->key)) ||
        !fresh_random(new_header->digest_salt, sizeof(new_header->digest_salt)) ||
        !fresh_random(new_header->uuid, sizeof(new_header->uuid)) ||
        !fresh_random(new_header->slot.salt, sizeof(new_header->slot.salt)) ||
        !fresh_random(e->header + Q2_LUKS_MATERIAL_OFFSET,
                      q2_luks_material_room(new_header->key_length)))
        return false;
    q2_luks_header_compose(new_header, &e->work, e->header);
    q2_wipe(new_header->key, sizeof(new_header->key));
    return true;
}

static struct encryption *new_encryption(void)
{
    struct encryption *e = calloc(1, sizeof(*e));

    if (!e)
        (void)complain("out of memory");
    return e;
}

bool encryption_has_secret(const struct create_options *options, const struct option_texts *objects)
{
    struct encryption *e;
    bool done;

    if (!options->given[CREATE_ENCRYPT_FORMAT])
        return true;
    e = new_encryption();
    done = e && load(e, options, objects);
    encryption_end(e);
    return done;
}

bool encryption_begin(struct create_options *options, const struct option_texts *objects,
                      struct encryption **ret_encryption)
{
    struct encryption *e;

    *ret_encryption = NULL;
    if (!options->given[CREATE_ENCRYPT_FORMAT])
        return true;
    e = new_encryption();
    if (!e || !load(e, options, objects) || !compose(e, options)) {
        encryption_end(e);
        return false;
    }
    options->image.encryption = e->header;
    options->image.encryption_length = encryption_length(options);
    options->opens_with = &e->passphrase;
    options->opens_with_length = e->new_header.slot.length;
    *ret_encryption = e;
    return true;
}

void encryption_end(struct encryption *encryption)
{
    if (!encryption)
        return;
    q2_wipe(encryption, sizeof(*encryption));
    free(encryption);
}
