/* Passphrases of an encrypted image.
 *
 * May call drivers/crypto, fresh.c, secrets.c, passphrase.c and output.c. Invariant: the image's
 * key and every passphrase are in struct keyslots only, which is wiped before it is freed.
 */
#include "keyslots.h"

#include <stdlib.h>

#include "drivers/crypto/luks_slots.h"
#include "drivers/crypto/wipe.h"
#include "fresh.h"
#include "tools/metalcow/base/secrets.h"
#include "tools/metalcow/base/output.h"

struct keyslots {
    const char *path;
    const struct key_options *options;
    bool force;
    struct q2_unlocker_passphrase unlocker;
    struct secrets secrets;
    struct passphrase image, other; /* the image's, and the new or the old one */
    size_t other_length;
    struct q2_luks_new_key new_key;
    uint32_t set; /* bit n: slot n is changed */
    struct q2_luks_slots slots;
};

static bool fail(const struct keyslots *k, enum q2_status status, const char *what)
{
    return complain_of(k->path, status, what);
}

/* --- options --------------------------------------------------------------------------------- */

bool keyslots_given(const struct create_options *options)
{
    for (unsigned i = CREATE_ENCRYPT_ITER_TIME; i <= CREATE_ENCRYPT_STATE; i++) {
        if (options->given[i])
            return true;
    }
    return false;
}

bool keyslots_check(const struct create_options *options)
{
    const bool *given = options->given;
    bool active = options->keys.state == KEY_ACTIVE;

    if (!given[CREATE_ENCRYPT_STATE])
        return complain("changing a key needs encrypt.state=active or encrypt.state=inactive");
    if (given[CREATE_ENCRYPT_KEYSLOT] && options->keys.keyslot >= Q2_LUKS_NB_SLOTS)
        return complain("encrypt.keyslot must be 0 to 7");
    if (active && !given[CREATE_ENCRYPT_NEW_SECRET])
        return complain("encrypt.state=active needs encrypt.new-secret=ID, the passphrase to add");
    if (active && given[CREATE_ENCRYPT_OLD_SECRET])
        return complain("encrypt.old-secret is for encrypt.state=inactive; leave it out");
    if (!active && given[CREATE_ENCRYPT_NEW_SECRET])
        return complain("encrypt.new-secret is for encrypt.state=active; leave it out");
    if (!active && given[CREATE_ENCRYPT_ITER_TIME])
        return complain("encrypt.iter-time is for encrypt.state=active; leave it out");
    if (!active && !given[CREATE_ENCRYPT_KEYSLOT] && !given[CREATE_ENCRYPT_OLD_SECRET])
        return complain(
            "encrypt.state=inactive needs encrypt.keyslot=NUMBER or encrypt.old-secret=ID");
    return true;
}

/* --- which slots ----------------------------------------------------------------------------- */

static bool choose_new(struct keyslots *k, bool slot_given)
{
    uint32_t active = q2_luks_slots_active(&k->slots), slot = k->options->keyslot;

    if (!slot_given) {
        for (slot = 0; slot < Q2_LUKS_NB_SLOTS && (active >> slot & 1); slot++)
            ;
        if (slot == Q2_LUKS_NB_SLOTS)
            return fail(k, Q2_ERR_ARGUMENT, "all key slots are in use; erase one first");
    }
    if ((active >> slot & 1) && !k->force)
        return fail(k, Q2_ERR_ARGUMENT,
                    "the key slot is in use; erase it first, or replace its key with --force");
    k->set = 1u << slot;
    return true;
}

static bool choose_old(struct keyslots *k, bool slot_given)
{
    uint32_t active = q2_luks_slots_active(&k->slots), slot = 1u << k->options->keyslot;
    uint32_t found = active;
    enum q2_status status = Q2_OK;

    if (slot_given && !(active & slot))
        return fail(k, Q2_ERR_ARGUMENT, "the key slot is inactive already");
    if (k->options->old_secret)
        status = q2_luks_slots_find(&k->slots, k->other.bytes, k->other_length, &found);
    if (status != Q2_OK)
        return fail(k, status, NULL);
    k->set = slot_given ? found & slot : found;
    if (k->set == 0)
        return fail(k, Q2_ERR_ENCRYPTED,
                    slot_given ? "encrypt.old-secret does not open this key slot"
                               : "encrypt.old-secret opens no key slot");
    if (k->set == active && !k->force)
        return fail(k, Q2_ERR_ARGUMENT,
                    "no key would be left, and no data could be read any more; add --force if the "
                    "data is not needed");
    return true;
}

/* --- the new key ----------------------------------------------------------------------------- */

static bool prepare_new(struct keyslots *k, bool time_given)
{
    uint32_t slot = (uint32_t)__builtin_ctz(k->set);
    enum q2_status status;

    k->new_key.passphrase = k->other.bytes;
    k->new_key.length = k->other_length;
    k->new_key.iterations = fresh_iterations(k->slots.header.hash, k->slots.header.key_length,
                                             time_given ? k->options->iter_time : FRESH_ITER_TIME);
    status = q2_luks_slot_can_set(&k->slots, slot, k->new_key.iterations);
    if (status != Q2_OK)
        return fail(k, status, k->slots.what);
    return fresh_random(k->new_key.salt, sizeof(k->new_key.salt)) &&
           fresh_random(k->slots.material, sizeof(k->slots.material));
}

/* --- the image ------------------------------------------------------------------------------- */

/* Get the image's key, as opening it does, and read its header. */
static bool unlock(struct keyslots *k, struct image *image, const struct image_options *how)
{
    struct q2_unlocker *unlocker = q2_unlocker_passphrase_init(&k->unlocker);
    struct q2_source *source = &image->file.source;
    struct q2_layer_info info;
    struct q2_cipher *cipher;
    enum q2_status status;

    q2_disk_layer_info(image->disk, 0, &info);
    if (!info.header || info.header->crypt_method != Q2_CRYPT_LUKS)
        return fail(k, Q2_ERR_UNSUPPORTED,
                    "the image is not encrypted with LUKS, so it has no keys");
    if (info.encryption_offset > source->size ||
        info.encryption_length > source->size - info.encryption_offset)
        return fail(k, Q2_ERR_TRUNCATED, "the LUKS header ends past the file");
    if (!secrets_provide(&k->image, how, &k->unlocker))
        return false;
    k->unlocker.keep_keys = true;
    status = unlocker->ops->unlock(unlocker, source, Q2_CRYPT_LUKS, info.encryption_offset,
                                   info.encryption_length, &cipher);
    passphrase_wipe(&k->image, &k->unlocker);
    if (status != Q2_OK)
        return fail(k, status, unlocker->what);
    status = q2_luks_slots_open(&k->slots, source, info.encryption_offset, info.encryption_length,
                                k->unlocker.kept[0].bytes, k->unlocker.kept[0].length);
    return status == Q2_OK || fail(k, status, k->slots.what);
}

static bool prepare(struct keyslots *k, struct image *image, const struct arguments *arguments,
                    const bool *given)
{
    bool active = k->options->state == KEY_ACTIVE, slot_given = given[CREATE_ENCRYPT_KEYSLOT];
    const char *option = active ? "encrypt.new-secret" : "encrypt.old-secret";
    const char *id = active ? k->options->new_secret : k->options->old_secret;

    if (!secrets_parse(&arguments->objects, &k->secrets) ||
        (id && !secrets_load(&k->secrets, option, id, &k->other, &k->other_length)) ||
        !unlock(k, image, &arguments->image[0]))
        return false;
    if (!active)
        return choose_old(k, slot_given);
    return choose_new(k, slot_given) && prepare_new(k, given[CREATE_ENCRYPT_ITER_TIME]);
}

struct keyslots *keyslots_prepare(struct image *image, const struct arguments *arguments,
                                  const struct create_options *options)
{
    struct keyslots *k = calloc(1, sizeof(*k));

    if (!k) {
        (void)complain("no memory");
        return NULL;
    }
    k->path = image->path;
    k->options = &options->keys;
    k->force = arguments->force;
    if (prepare(k, image, arguments, options->given))
        return k;
    keyslots_free(k);
    return NULL;
}

bool keyslots_apply(struct keyslots *k)
{
    enum q2_status status = Q2_OK;

    for (uint32_t i = 0; i < Q2_LUKS_NB_SLOTS && status == Q2_OK; i++) {
        if (!(k->set >> i & 1))
            continue;
        status = k->options->state == KEY_ACTIVE ? q2_luks_slot_set(&k->slots, i, &k->new_key)
                                                 : q2_luks_slot_erase(&k->slots, i);
    }
    return status == Q2_OK || fail(k, status, k->slots.what);
}

void keyslots_free(struct keyslots *k)
{
    if (!k)
        return;
    q2_wipe(k, sizeof(*k));
    free(k);
}
