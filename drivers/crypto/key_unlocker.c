/* An unlocker that has the keys already.
 *
 * May call aes.h, luks_key.h and the image's source. Invariant: outside a call, the only secrets in
 * its memory are the expanded keys of ciphers that are in use.
 */
#include "key_unlocker.h"

#include <string.h>

#include "luks_key.h"
#include "wipe.h"

static const struct q2_image_key *find_key(const struct q2_unlocker_key *unlocker,
                                           const struct q2_source *image, uint32_t crypt_method)
{
    for (size_t i = 0; i < unlocker->nb_keys; i++) {
        const struct q2_image_key *key = &unlocker->keys[i];

        if (key->crypt_method == crypt_method && strcmp(key->path, image->path) == 0)
            return key;
    }
    return NULL;
}

static struct q2_cipher_aes *find_room(struct q2_unlocker_key *unlocker)
{
    for (size_t i = 0; i < Q2_MAX_LAYERS; i++) {
        if (unlocker->ciphers[i].cipher.ops == NULL)
            return &unlocker->ciphers[i];
    }
    return NULL;
}

static enum q2_status unlock_luks(struct q2_unlocker_key *unlocker, struct q2_source *image,
                                  uint64_t offset, uint64_t length, const struct q2_image_key *key,
                                  struct q2_cipher_aes *aes)
{
    struct q2_luks_header_disk disk;
    enum q2_status status;

    unlocker->unlocker.what = "the room for the LUKS header is too small";
    if (length < sizeof(disk))
        return Q2_ERR_BAD_HEADER;
    unlocker->unlocker.what = NULL;
    status = image->ops->read_at(image, offset, &disk, sizeof(disk));
    if (status != Q2_OK)
        return status;
    q2_luks_header_decode(&disk, &unlocker->header);
    status = q2_luks_header_check(&unlocker->header, length, &unlocker->unlocker.what);
    if (status != Q2_OK)
        return status;
    if (key->length != unlocker->header.key_length ||
        !q2_luks_key_is_right(&unlocker->header, key->bytes)) {
        unlocker->unlocker.what = "the key that was handed over is not this image's";
        return Q2_ERR_ENCRYPTED;
    }
    (void)q2_cipher_aes_init(aes, unlocker->header.mode, key->bytes, key->length);
    return Q2_OK;
}

static enum q2_status key_unlock(struct q2_unlocker *base, struct q2_source *image,
                                 uint32_t crypt_method, uint64_t header_offset,
                                 uint64_t header_length, struct q2_cipher **ret_cipher)
{
    struct q2_unlocker_key *unlocker = (struct q2_unlocker_key *)base;
    const struct q2_image_key *key = find_key(unlocker, image, crypt_method);
    struct q2_cipher_aes *aes = find_room(unlocker);
    enum q2_status status = Q2_OK;

    base->what = key == NULL ? "no key of this image was handed over" : "too many encrypted images";
    if (key == NULL || aes == NULL)
        return key == NULL ? Q2_ERR_ENCRYPTED : Q2_ERR_LIMIT;
    base->what = NULL;
    if (crypt_method == Q2_CRYPT_LUKS)
        status = unlock_luks(unlocker, image, header_offset, header_length, key, aes);
    else
        (void)q2_cipher_aes_init(aes, Q2_AES_CBC_PLAIN64, key->bytes, key->length);
    q2_wipe(&unlocker->header, sizeof(unlocker->header));
    if (status == Q2_OK)
        *ret_cipher = &aes->cipher;
    return status;
}

static void key_lock(struct q2_unlocker *base, struct q2_cipher *cipher)
{
    (void)base;
    q2_cipher_aes_wipe((struct q2_cipher_aes *)cipher);
}

static const struct q2_unlocker_ops key_ops = {
    .unlock = key_unlock,
    .lock = key_lock,
};

struct q2_unlocker *q2_unlocker_key_init(struct q2_unlocker_key *memory,
                                         const struct q2_image_key *keys, size_t nb_keys)
{
    memset(memory, 0, sizeof(*memory));
    memory->unlocker.ops = &key_ops;
    memory->keys = keys;
    memory->nb_keys = nb_keys;
    return &memory->unlocker;
}
