/* Composing a LUKS1 header.
 *
 * May call luks_material.h, luks_key.h and core/luks/header.h. Invariant: what is composed passes
 * q2_luks_header_check().
 */
#include "luks_header.h"

#include "wipe.h"

/* A UUID as text: 16 bytes as digits, with a dash before these ones, and a NUL.  (RFC 4122) */
#define UUID_SIZE 37u

uint32_t q2_luks_material_room(uint32_t key_length)
{
    return (key_length * Q2_LUKS_MAX_STRIPES + Q2_LUKS_MATERIAL_ALIGN - 1) /
           Q2_LUKS_MATERIAL_ALIGN * Q2_LUKS_MATERIAL_ALIGN;
}

uint32_t q2_luks_header_length(uint32_t key_length)
{
    return Q2_LUKS_MATERIAL_OFFSET + Q2_LUKS_NB_SLOTS * q2_luks_material_room(key_length);
}

/* Everything but the digest. */
static void fill(const struct q2_luks_new_header *new_header, struct q2_luks_header *ret_header)
{
    struct q2_luks_header *header = ret_header;
    uint32_t room = q2_luks_material_room(new_header->key_length);

    *header = (struct q2_luks_header){
        .has_magic = true,
        .version = 1,
        .names_end = true,
        .mode = new_header->mode,
        .hash = new_header->hash,
        .payload_offset = q2_luks_header_length(new_header->key_length),
        .key_length = new_header->key_length,
        .digest_iterations = new_header->digest_iterations,
    };
    __builtin_memcpy(header->digest_salt, new_header->digest_salt, sizeof(header->digest_salt));
    for (uint32_t i = 0; i < Q2_LUKS_NB_SLOTS; i++) {
        header->slots[i].state = Q2_LUKS_SLOT_INACTIVE;
        header->slots[i].key_material_offset = Q2_LUKS_MATERIAL_OFFSET + (uint64_t)i * room;
        header->slots[i].stripes = Q2_LUKS_MAX_STRIPES;
    }
    header->slots[0].state = Q2_LUKS_SLOT_ACTIVE;
    header->slots[0].iterations = new_header->slot.iterations;
    __builtin_memcpy(header->slots[0].salt, new_header->slot.salt, sizeof(header->slots[0].salt));
}

/* A UUID of version 4, which is random but for the version and the variant.  (RFC 4122, 4.4) */
static void write_uuid(const uint8_t random[16], char text[UUID_SIZE])
{
    static const char digits[] = "0123456789abcdef";
    size_t at = 0;

    for (size_t i = 0; i < 16; i++) {
        uint32_t byte = random[i];

        if (i == 6)
            byte = 0x40 | (byte & 0x0f);
        if (i == 8)
            byte = 0x80 | (byte & 0x3f);
        if (i == 4 || i == 6 || i == 8 || i == 10)
            text[at++] = '-';
        text[at++] = digits[byte >> 4];
        text[at++] = digits[byte & 15];
    }
    text[at] = '\0';
}

enum q2_status q2_luks_header_can_compose(const struct q2_luks_new_header *new_header,
                                          const char **ret_what)
{
    struct q2_luks_header header;

    fill(new_header, &header);
    return q2_luks_header_check(&header, header.payload_offset, ret_what);
}

void q2_luks_header_compose(const struct q2_luks_new_header *new_header, struct q2_luks_work *work,
                            uint8_t *bytes)
{
    uint8_t *material = bytes + Q2_LUKS_MATERIAL_OFFSET;
    struct q2_luks_header header;
    char uuid[UUID_SIZE];
    size_t length, end;

    fill(new_header, &header);
    length = (size_t)q2_luks_slot_length(&header, &header.slots[0]);
    end = Q2_LUKS_MATERIAL_OFFSET + length;
    q2_pbkdf2(header.hash, new_header->key, header.key_length, header.digest_salt,
              sizeof(header.digest_salt), header.digest_iterations, header.digest,
              sizeof(header.digest));
    q2_luks_material_make(work, &header, Q2_LUKS_MAX_STRIPES, new_header->key, &new_header->slot,
                          material);
    __builtin_memset(bytes, 0, Q2_LUKS_MATERIAL_OFFSET);
    __builtin_memset(bytes + end, 0, (size_t)header.payload_offset - end);
    write_uuid(new_header->uuid, uuid);
    q2_luks_header_encode(&header, uuid, (struct q2_luks_header_disk *)bytes);
    q2_wipe(work, sizeof(*work));
}
