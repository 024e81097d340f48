/* The unlocker: makes the cipher of an encrypted image from a passphrase.
 *
 * May call core/luks/header.h, luks_key.h, aes.h and the image's source. Invariant: outside a call,
 * the only secrets in its memory are the keys of ciphers that are in use: expanded, and raw as well
 * if keep_keys or remembers says so.
 */
#include "unlocker.h"

#include <string.h>

#include "wipe.h"

/* Legacy encryption cuts or pads every passphrase to one AES-128 key. */
#define LEGACY_KEY_LENGTH 16u

/* Wipe what our callees and BearSSL may leave below our frame: PBKDF2 on SHA-512 goes 2.4 KiB deep.
 * It is wiped in three steps, because no frame may reach 1 KiB. Each step calls the next one before
 * its own wipe, because the compiler could let a call at the end reuse the frame. */
#define STACK_STEP 896u

static __attribute__((noinline)) void burn_third_step(void)
{
    uint8_t leftovers[STACK_STEP];

    q2_wipe(leftovers, sizeof(leftovers));
}

static __attribute__((noinline)) void burn_second_step(void)
{
    uint8_t leftovers[STACK_STEP];

    burn_third_step();
    q2_wipe(leftovers, sizeof(leftovers));
}

static __attribute__((noinline)) void burn_stack(void)
{
    uint8_t leftovers[STACK_STEP];

    burn_second_step();
    q2_wipe(leftovers, sizeof(leftovers));
}

static struct q2_cipher_aes *find_room(struct q2_unlocker_passphrase *unlocker)
{
    for (size_t i = 0; i < Q2_MAX_LAYERS; i++)
        if (unlocker->ciphers[i].cipher.ops == NULL && unlocker->kept[i].length == 0)
            return &unlocker->ciphers[i];
    return NULL;
}

/* The cipher of an image that was unlocked before and has been locked since; NULL: it was not. */
static struct q2_cipher_aes *unlock_again(struct q2_unlocker_passphrase *unlocker,
                                          const struct q2_source *image, uint32_t crypt_method)
{
    for (size_t i = 0; i < Q2_MAX_LAYERS && unlocker->remembers; i++) {
        struct q2_kept_key *kept = &unlocker->kept[i];
        struct q2_cipher_aes *aes = &unlocker->ciphers[i];

        if (kept->length == 0 || aes->cipher.ops != NULL || kept->crypt_method != crypt_method ||
            !q2_same_identity(kept->identity, image->identity))
            continue;
        kept->image = image;
        (void)q2_cipher_aes_init(aes, kept->mode, kept->bytes, kept->length);
        burn_stack();
        return aes;
    }
    return NULL;
}

/* Have a passphrase for the next try, or say that there is none. */
static bool next_passphrase(struct q2_unlocker_passphrase *unlocker, const char *path,
                            uint32_t nb_failed, uint32_t *nb_asked)
{
    if (nb_failed == 0 && unlocker->passphrase != NULL)
        return true;
    if (unlocker->ask == NULL || *nb_asked == Q2_MAX_PASSPHRASES_ASKED)
        return false;
    ++*nb_asked;
    return unlocker->ask(unlocker, path, nb_failed) && unlocker->passphrase != NULL;
}

static enum q2_status read_header(struct q2_unlocker_passphrase *unlocker, struct q2_source *image,
                                  uint64_t offset, uint64_t length)
{
    struct q2_luks_header_disk disk;
    enum q2_status status;

    if (length < sizeof(disk)) {
        unlocker->unlocker.what = "the room for the LUKS header is too small";
        return Q2_ERR_BAD_HEADER;
    }
    status = image->ops->read_at(image, offset, &disk, sizeof(disk));
    if (status != Q2_OK)
        return status;
    q2_luks_header_decode(&disk, &unlocker->header);
    return q2_luks_header_check(&unlocker->header, length, &unlocker->unlocker.what);
}

static void tell(struct q2_unlocker_passphrase *unlocker, const char *path, bool begins)
{
    if (unlocker->trying != NULL)
        unlocker->trying(unlocker, path, begins);
}

/* Find the slot that the passphrase opens; the master key goes to unlocker->key. */
static enum q2_status try_slots(struct q2_unlocker_passphrase *unlocker, struct q2_source *image,
                                uint64_t header_offset)
{
    const struct q2_luks_header *header = &unlocker->header;

    for (size_t i = 0; i < Q2_LUKS_NB_SLOTS; i++) {
        const struct q2_luks_slot *slot = &header->slots[i];
        enum q2_status status;

        if (slot->state != Q2_LUKS_SLOT_ACTIVE)
            continue;
        status =
            q2_luks_slot_open(&unlocker->work, image, header_offset, header, slot,
                              unlocker->passphrase, unlocker->passphrase_length, unlocker->key);
        if (status != Q2_ERR_ENCRYPTED)
            return status;
    }
    return Q2_ERR_ENCRYPTED;
}

static enum q2_status unlock_luks(struct q2_unlocker_passphrase *unlocker, struct q2_source *image,
                                  uint64_t header_offset, uint64_t header_length,
                                  struct q2_cipher_aes *aes)
{
    enum q2_status status = read_header(unlocker, image, header_offset, header_length);
    uint32_t nb_failed = 0, nb_asked = 0;

    if (status != Q2_OK)
        return status;
    while (next_passphrase(unlocker, image->path, nb_failed, &nb_asked)) {
        tell(unlocker, image->path, true);
        status = try_slots(unlocker, image, header_offset);
        tell(unlocker, image->path, false);
        if (status == Q2_OK)
            (void)q2_cipher_aes_init(aes, unlocker->header.mode, unlocker->key,
                                     unlocker->header.key_length);
        if (status != Q2_ERR_ENCRYPTED)
            return status;
        nb_failed++;
    }
    unlocker->unlocker.what =
        nb_failed == 0 ? "no passphrase was given" : "the passphrase fits no key slot";
    return Q2_ERR_ENCRYPTED;
}

/* (qcow2: crypt_method 1) Nothing in the image tells whether the passphrase is right. */
static enum q2_status unlock_legacy(struct q2_unlocker_passphrase *unlocker,
                                    struct q2_source *image, struct q2_cipher_aes *aes)
{
    uint32_t nb_asked = 0;
    size_t length;

    if (!next_passphrase(unlocker, image->path, 0, &nb_asked)) {
        unlocker->unlocker.what = "no passphrase was given";
        return Q2_ERR_ENCRYPTED;
    }
    length = unlocker->passphrase_length;
    if (length > LEGACY_KEY_LENGTH)
        length = LEGACY_KEY_LENGTH;
    memset(unlocker->key, 0, LEGACY_KEY_LENGTH);
    memcpy(unlocker->key, unlocker->passphrase, length);
    (void)q2_cipher_aes_init(aes, Q2_AES_CBC_PLAIN64, unlocker->key, LEGACY_KEY_LENGTH);
    return Q2_OK;
}

/* Keep the raw key of an image. Comes before unlocker->key and the header are wiped. */
static void keep_key(struct q2_unlocker_passphrase *unlocker, const struct q2_source *image,
                     uint32_t crypt_method, const struct q2_cipher_aes *aes)
{
    struct q2_kept_key *kept = &unlocker->kept[aes - unlocker->ciphers];

    kept->image = image;
    memcpy(kept->identity, image->identity, sizeof(kept->identity));
    kept->crypt_method = crypt_method;
    kept->mode = crypt_method == Q2_CRYPT_LUKS ? unlocker->header.mode : Q2_AES_CBC_PLAIN64;
    kept->length = crypt_method == Q2_CRYPT_LUKS ? unlocker->header.key_length : LEGACY_KEY_LENGTH;
    memcpy(kept->bytes, unlocker->key, kept->length);
}

static enum q2_status passphrase_unlock(struct q2_unlocker *base, struct q2_source *image,
                                        uint32_t crypt_method, uint64_t header_offset,
                                        uint64_t header_length, struct q2_cipher **ret_cipher)
{
    struct q2_unlocker_passphrase *unlocker = (struct q2_unlocker_passphrase *)base;
    struct q2_cipher_aes *aes = unlock_again(unlocker, image, crypt_method);
    enum q2_status status;

    base->what = NULL;
    if (aes != NULL) {
        *ret_cipher = &aes->cipher;
        return Q2_OK;
    }
    aes = find_room(unlocker);
    if (aes == NULL) {
        base->what = "too many encrypted images";
        return Q2_ERR_LIMIT;
    }
    if (unlocker->choose != NULL && !unlocker->choose(unlocker, image->path)) {
        base->what = "no passphrase was given";
        return Q2_ERR_ENCRYPTED;
    }
    if (crypt_method == Q2_CRYPT_AES)
        status = unlock_legacy(unlocker, image, aes);
    else if (crypt_method == Q2_CRYPT_LUKS)
        status = unlock_luks(unlocker, image, header_offset, header_length, aes);
    else
        status = Q2_ERR_UNSUPPORTED;
    if (status == Q2_OK && (unlocker->keep_keys || unlocker->remembers))
        keep_key(unlocker, image, crypt_method, aes);
    q2_wipe(&unlocker->header, sizeof(unlocker->header));
    q2_wipe(&unlocker->work, sizeof(unlocker->work));
    q2_wipe(unlocker->key, sizeof(unlocker->key));
    burn_stack();
    if (status == Q2_OK)
        *ret_cipher = &aes->cipher;
    return status;
}

static void passphrase_lock(struct q2_unlocker *base, struct q2_cipher *cipher)
{
    struct q2_unlocker_passphrase *unlocker = (struct q2_unlocker_passphrase *)base;
    struct q2_cipher_aes *aes = (struct q2_cipher_aes *)cipher;

    if (!unlocker->remembers)
        q2_wipe(&unlocker->kept[aes - unlocker->ciphers], sizeof(unlocker->kept[0]));
    q2_cipher_aes_wipe(aes);
}

static const struct q2_unlocker_ops passphrase_ops = {
    .unlock = passphrase_unlock,
    .lock = passphrase_lock,
};

struct q2_unlocker *q2_unlocker_passphrase_init(struct q2_unlocker_passphrase *memory)
{
    memset(memory, 0, sizeof(*memory));
    memory->unlocker.ops = &passphrase_ops;
    return &memory->unlocker;
}

void q2_unlocker_passphrase_forget(struct q2_unlocker_passphrase *unlocker)
{
    unlocker->remembers = false;
    for (size_t i = 0; i < Q2_MAX_LAYERS; i++) {
        if (!unlocker->keep_keys || unlocker->ciphers[i].cipher.ops == NULL)
            q2_wipe(&unlocker->kept[i], sizeof(unlocker->kept[i]));
    }
}
