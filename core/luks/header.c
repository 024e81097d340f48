/* The LUKS1 header.  (LUKS1 On-Disk Format Specification 1.2.3)
 *
 * May call mem*. Invariant: what q2_luks_header_check() has passed can be added and multiplied
 * without wrapping, and bounds the work of unlocking.
 */
#include "header.h"

#include "core/base/memory.h"

static const uint8_t magic[6] = {'L', 'U', 'K', 'S', 0xba, 0xbe};

/* The ciphers that are built in; the name is always "aes". */
static const char *const mode_names[] = {
    [Q2_AES_XTS_PLAIN64] = "xts-plain64",
    [Q2_AES_CBC_PLAIN64] = "cbc-plain64",
    [Q2_AES_CBC_ESSIV_SHA256] = "cbc-essiv:sha256",
};
_Static_assert(sizeof(mode_names) / sizeof(mode_names[0]) == Q2_NB_AES_MODES, "one row per mode");

static const char *const hash_names[] = {
    [Q2_LUKS_SHA1] = "sha1",
    [Q2_LUKS_SHA256] = "sha256",
    [Q2_LUKS_SHA512] = "sha512",
};
_Static_assert(sizeof(hash_names) / sizeof(hash_names[0]) == Q2_NB_LUKS_HASHES, "one row per hash");

static uint32_t get_be32(const uint8_t b[4])
{
    return (uint32_t)b[0] << 24 | (uint32_t)b[1] << 16 | (uint32_t)b[2] << 8 | b[3];
}

static void put_be32(uint8_t b[4], uint32_t value)
{
    for (size_t i = 0; i < 4; i++)
        b[i] = (uint8_t)(value >> (24 - 8 * i));
}

/* A field is NUL-terminated text; what is stored after the NUL does not matter. */
static bool field_ends(const char field[Q2_LUKS_NAME_LENGTH])
{
    for (size_t i = 0; i < Q2_LUKS_NAME_LENGTH; i++)
        if (field[i] == '\0')
            return true;
    return false;
}

/* The row of names that a field holds; nb_names if none. */
static uint32_t find_name(const char field[Q2_LUKS_NAME_LENGTH], const char *const *names,
                          uint32_t nb_names)
{
    for (uint32_t row = 0; row < nb_names; row++) {
        size_t i = 0;

        while (i < Q2_LUKS_NAME_LENGTH && field[i] == names[row][i] && field[i] != '\0')
            i++;
        if (i < Q2_LUKS_NAME_LENGTH && field[i] == names[row][i])
            return row;
    }
    return nb_names;
}

static void decode_slot(const struct q2_luks_slot_disk *disk, struct q2_luks_slot *ret_slot)
{
    ret_slot->state = get_be32(disk->active);
    ret_slot->iterations = get_be32(disk->iterations);
    memcpy(ret_slot->salt, disk->salt, sizeof(ret_slot->salt));
    ret_slot->key_material_offset =
        (uint64_t)get_be32(disk->key_material_offset) * Q2_LUKS_SECTOR_SIZE;
    ret_slot->stripes = get_be32(disk->stripes);
}

void q2_luks_slot_encode(const struct q2_luks_slot *slot, struct q2_luks_slot_disk *ret_disk)
{
    put_be32(ret_disk->active, slot->state);
    put_be32(ret_disk->iterations, slot->iterations);
    memcpy(ret_disk->salt, slot->salt, sizeof(ret_disk->salt));
    put_be32(ret_disk->key_material_offset,
             (uint32_t)(slot->key_material_offset / Q2_LUKS_SECTOR_SIZE));
    put_be32(ret_disk->stripes, slot->stripes);
}

/* Store text in a field, which is zeros. */
static void put_text(char *field, size_t size, const char *text)
{
    for (size_t i = 0; i + 1 < size && text[i] != '\0'; i++)
        field[i] = text[i];
}

void q2_luks_header_encode(const struct q2_luks_header *header, const char *uuid,
                           struct q2_luks_header_disk *ret_disk)
{
    struct q2_luks_header_disk *disk = ret_disk;

    memset(disk, 0, sizeof(*disk));
    memcpy(disk->magic, magic, sizeof(magic));
    disk->version[1] = 1;
    put_text(disk->cipher_name, sizeof(disk->cipher_name), "aes");
    put_text(disk->cipher_mode, sizeof(disk->cipher_mode), mode_names[header->mode]);
    put_text(disk->hash_spec, sizeof(disk->hash_spec), hash_names[header->hash]);
    put_be32(disk->payload_offset, (uint32_t)(header->payload_offset / Q2_LUKS_SECTOR_SIZE));
    put_be32(disk->key_bytes, header->key_length);
    memcpy(disk->mk_digest, header->digest, sizeof(disk->mk_digest));
    memcpy(disk->mk_digest_salt, header->digest_salt, sizeof(disk->mk_digest_salt));
    put_be32(disk->mk_digest_iterations, header->digest_iterations);
    put_text(disk->uuid, sizeof(disk->uuid), uuid);
    for (size_t i = 0; i < Q2_LUKS_NB_SLOTS; i++)
        q2_luks_slot_encode(&header->slots[i], &disk->slots[i]);
}

void q2_luks_header_decode(const struct q2_luks_header_disk *disk,
                           struct q2_luks_header *ret_header)
{
    static const char *const cipher_names[] = {"aes"};
    struct q2_luks_header *header = ret_header;

    header->has_magic = memcmp(disk->magic, magic, sizeof(magic)) == 0;
    header->version = (uint16_t)((uint32_t)disk->version[0] << 8 | disk->version[1]);
    header->names_end = field_ends(disk->cipher_name) && field_ends(disk->cipher_mode) &&
                        field_ends(disk->hash_spec);
    header->mode = find_name(disk->cipher_name, cipher_names, 1) == 0
                       ? find_name(disk->cipher_mode, mode_names, Q2_NB_AES_MODES)
                       : Q2_NB_AES_MODES;
    header->hash = find_name(disk->hash_spec, hash_names, Q2_NB_LUKS_HASHES);
    header->payload_offset = (uint64_t)get_be32(disk->payload_offset) * Q2_LUKS_SECTOR_SIZE;
    header->key_length = get_be32(disk->key_bytes);
    memcpy(header->digest, disk->mk_digest, sizeof(header->digest));
    memcpy(header->digest_salt, disk->mk_digest_salt, sizeof(header->digest_salt));
    header->digest_iterations = get_be32(disk->mk_digest_iterations);
    for (size_t i = 0; i < Q2_LUKS_NB_SLOTS; i++)
        decode_slot(&disk->slots[i], &header->slots[i]);
}

/* The rules of the header. Each may rely on the ones above it. */

static bool broken_magic(const struct q2_luks_header *header)
{
    return !header->has_magic;
}

static bool broken_version(const struct q2_luks_header *header)
{
    return header->version != 1;
}

static bool broken_names(const struct q2_luks_header *header)
{
    return !header->names_end;
}

static bool unknown_cipher(const struct q2_luks_header *header)
{
    return header->mode >= Q2_NB_AES_MODES;
}

static bool unknown_hash(const struct q2_luks_header *header)
{
    return header->hash >= Q2_NB_LUKS_HASHES;
}

static bool unknown_key_length(const struct q2_luks_header *header)
{
    return !q2_aes_key_length_fits(header->mode, header->key_length);
}

static bool no_digest_iterations(const struct q2_luks_header *header)
{
    return header->digest_iterations == 0;
}

uint64_t q2_luks_iterations(const struct q2_luks_header *header)
{
    static const uint32_t hash_length[Q2_NB_LUKS_HASHES] = {
        [Q2_LUKS_SHA1] = 20, [Q2_LUKS_SHA256] = 32, [Q2_LUKS_SHA512] = 64};
    uint64_t nb_pieces =
        (header->key_length + hash_length[header->hash] - 1ull) / hash_length[header->hash];
    uint64_t all = 0;

    for (size_t i = 0; i < Q2_LUKS_NB_SLOTS; i++)
        if (header->slots[i].state == Q2_LUKS_SLOT_ACTIVE)
            all += header->slots[i].iterations * nb_pieces + header->digest_iterations;
    return all;
}

/* The rules before this one have checked hash and key length. */
static bool too_many_iterations(const struct q2_luks_header *header)
{
    return q2_luks_iterations(header) > Q2_LUKS_MAX_ITERATIONS;
}

static const struct header_rule {
    enum q2_status status;
    const char *what;
    bool (*broken)(const struct q2_luks_header *header);
} header_rules[] = {
    {Q2_ERR_BAD_HEADER, "the LUKS header has no magic", broken_magic},
    {Q2_ERR_UNSUPPORTED, "the LUKS version is not 1", broken_version},
    {Q2_ERR_BAD_HEADER, "a name in the LUKS header has no end", broken_names},
    {Q2_ERR_UNSUPPORTED, "the LUKS cipher is not built in", unknown_cipher},
    {Q2_ERR_UNSUPPORTED, "the LUKS hash is not built in", unknown_hash},
    {Q2_ERR_UNSUPPORTED, "the LUKS cipher has no keys of this length", unknown_key_length},
    {Q2_ERR_BAD_HEADER, "the LUKS key digest has no iterations", no_digest_iterations},
    {Q2_ERR_LIMIT, "too many LUKS iterations", too_many_iterations},
};

/* The rules of a key slot. All but the first are for active slots. */

struct slot_place {
    const struct q2_luks_header *header;
    const struct q2_luks_slot *slot;
    uint64_t length; /* of the key material, bytes */
    uint64_t end;    /* of the room for key material, bytes from the header's start */
};

static bool no_iterations(const struct slot_place *place)
{
    return place->slot->iterations == 0;
}

static bool no_stripes(const struct slot_place *place)
{
    return place->slot->stripes == 0;
}

static bool too_many_stripes(const struct slot_place *place)
{
    return place->slot->stripes > Q2_LUKS_MAX_STRIPES;
}

static bool material_on_header(const struct slot_place *place)
{
    return place->slot->key_material_offset < sizeof(struct q2_luks_header_disk);
}

static bool material_past_end(const struct slot_place *place)
{
    uint64_t offset = place->slot->key_material_offset;

    return offset > place->end || place->length > place->end - offset;
}

/* Offsets are below 2^41 and lengths below 2^18 here, so the sums cannot wrap. */
static bool material_on_other_slot(const struct slot_place *place)
{
    const struct q2_luks_slot *slot = place->slot;

    for (const struct q2_luks_slot *other = place->header->slots; other < slot; other++)
        if (other->state == Q2_LUKS_SLOT_ACTIVE &&
            slot->key_material_offset <
                other->key_material_offset + q2_luks_slot_length(place->header, other) &&
            other->key_material_offset < slot->key_material_offset + place->length)
            return true;
    return false;
}

static const struct slot_rule {
    enum q2_status status;
    const char *what;
    bool (*broken)(const struct slot_place *place);
} slot_rules[] = {
    {Q2_ERR_BAD_HEADER, "a LUKS key slot has no iterations", no_iterations},
    {Q2_ERR_BAD_HEADER, "a LUKS key slot has no stripes", no_stripes},
    {Q2_ERR_LIMIT, "a LUKS key slot has too many stripes", too_many_stripes},
    {Q2_ERR_BAD_HEADER, "LUKS key material overlaps the LUKS header", material_on_header},
    {Q2_ERR_BAD_HEADER, "LUKS key material ends past the room for it", material_past_end},
    {Q2_ERR_BAD_HEADER, "LUKS key material of two slots overlaps", material_on_other_slot},
};

static enum q2_status check_slot(const struct q2_luks_header *header,
                                 const struct q2_luks_slot *slot, uint64_t end,
                                 const char **ret_what)
{
    struct slot_place place = {header, slot, q2_luks_slot_length(header, slot), end};

    if (slot->state == Q2_LUKS_SLOT_INACTIVE)
        return Q2_OK;
    if (slot->state != Q2_LUKS_SLOT_ACTIVE) {
        *ret_what = "a LUKS key slot is neither active nor inactive";
        return Q2_ERR_BAD_HEADER;
    }
    for (size_t i = 0; i < sizeof(slot_rules) / sizeof(slot_rules[0]); i++)
        if (slot_rules[i].broken(&place)) {
            *ret_what = slot_rules[i].what;
            return slot_rules[i].status;
        }
    return Q2_OK;
}

enum q2_status q2_luks_header_check(const struct q2_luks_header *header, uint64_t header_length,
                                    const char **ret_what)
{
    /* Key material ends where the payload begins, and inside what qcow2 says. */
    uint64_t end = header->payload_offset < header_length ? header->payload_offset : header_length;
    enum q2_status status;

    for (size_t i = 0; i < sizeof(header_rules) / sizeof(header_rules[0]); i++)
        if (header_rules[i].broken(header)) {
            *ret_what = header_rules[i].what;
            return header_rules[i].status;
        }
    for (size_t i = 0; i < Q2_LUKS_NB_SLOTS; i++) {
        status = check_slot(header, &header->slots[i], end, ret_what);
        if (status != Q2_OK)
            return status;
    }
    return Q2_OK;
}
