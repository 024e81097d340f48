/* Key material of a LUKS1 key slot.
 *
 * May call luks_key.h and aes.h. Invariant: the master key is split in the caller's memory only.
 */
#include "luks_material.h"

/* Split a key into random bytes.  (LUKS1 specification, "AFsplit") The last stripe is what the
 * others need to give the key, and merging them with a last stripe of zeros tells it. */
static void split(struct q2_luks_merge *merge, const struct q2_luks_header *header,
                  uint32_t stripes, const uint8_t *key, uint8_t *material)
{
    uint32_t key_length = header->key_length;
    size_t last = (size_t)key_length * (stripes - 1);

    __builtin_memset(material + last, 0, key_length);
    q2_luks_merge_init(merge, header->hash, key_length, stripes);
    q2_luks_merge_add(merge, material, last + key_length);
    for (uint32_t i = 0; i < key_length; i++)
        material[last + i] = (uint8_t)(merge->key[i] ^ key[i]);
}

void q2_luks_material_make(struct q2_luks_work *work, const struct q2_luks_header *header,
                           uint32_t stripes, const uint8_t *key,
                           const struct q2_luks_new_key *new_key, uint8_t *material)
{
    struct q2_cipher *cipher = &work->slot_cipher.cipher;

    split(&work->merge, header, stripes, key, material);
    q2_pbkdf2(header->hash, new_key->passphrase, new_key->length, new_key->salt,
              sizeof(new_key->salt), new_key->iterations, work->slot_key, header->key_length);
    (void)q2_cipher_aes_init(&work->slot_cipher, header->mode, work->slot_key, header->key_length);
    cipher->ops->encrypt(cipher, 0, material, (size_t)header->key_length * stripes);
}
