/* Changing the key slots of a LUKS1 header.
 *
 * May call the image's source, luks_material.h, luks_key.h and core/luks/header.h. Invariant: the
 * state of a slot is one write inside one sector; a slot becomes active only after all else of it
 * is durable, and nothing else of it is written before it is durably inactive.
 */
#include "luks_slots.h"

#include "wipe.h"

static uint64_t slot_at(const struct q2_luks_slots *slots, uint32_t index)
{
    return slots->offset + offsetof(struct q2_luks_header_disk, slots) +
           index * sizeof(struct q2_luks_slot_disk);
}

_Static_assert(offsetof(struct q2_luks_slot_disk, active) == 0 &&
                   offsetof(struct q2_luks_header_disk, slots) % 16 == 0 &&
                   sizeof(struct q2_luks_slot_disk) % 16 == 0,
               "a slot's state does not cross a sector's border");

static enum q2_status write_at(struct q2_luks_slots *slots, uint64_t offset, const void *bytes,
                               size_t length)
{
    return slots->image->ops->write_at(slots->image, offset, bytes, length);
}

static enum q2_status flush(struct q2_luks_slots *slots)
{
    return slots->image->ops->flush(slots->image);
}

enum q2_status q2_luks_slots_open(struct q2_luks_slots *slots, struct q2_source *image,
                                  uint64_t offset, uint64_t length, const uint8_t *key,
                                  size_t key_length)
{
    struct q2_luks_header_disk disk;
    enum q2_status status;

    slots->image = image;
    slots->offset = offset;
    slots->length = length;
    slots->what = NULL;
    status = image->ops->read_at(image, offset, &disk, sizeof(disk));
    if (status != Q2_OK)
        return status;
    q2_luks_header_decode(&disk, &slots->header);
    status = q2_luks_header_check(&slots->header, length, &slots->what);
    if (status != Q2_OK)
        return status;
    if (key_length != slots->header.key_length || !q2_luks_key_is_right(&slots->header, key))
        return Q2_ERR_ENCRYPTED;
    __builtin_memcpy(slots->key, key, key_length);
    return Q2_OK;
}

void q2_luks_slots_wipe(struct q2_luks_slots *slots)
{
    q2_wipe(slots, sizeof(*slots));
}

static bool is_active(const struct q2_luks_slots *slots, uint32_t index)
{
    return slots->header.slots[index].state == Q2_LUKS_SLOT_ACTIVE;
}

uint32_t q2_luks_slots_active(const struct q2_luks_slots *slots)
{
    uint32_t set = 0;

    for (uint32_t i = 0; i < Q2_LUKS_NB_SLOTS; i++)
        set |= (uint32_t)is_active(slots, i) << i;
    return set;
}

enum q2_status q2_luks_slots_find(struct q2_luks_slots *slots, const uint8_t *passphrase,
                                  size_t length, uint32_t *ret_set)
{
    uint8_t key[Q2_AES_MAX_KEY_LENGTH];
    uint32_t set = 0;

    for (uint32_t i = 0; i < Q2_LUKS_NB_SLOTS; i++) {
        enum q2_status status;

        if (!is_active(slots, i))
            continue;
        status = q2_luks_slot_open(&slots->work, slots->image, slots->offset, &slots->header,
                                   &slots->header.slots[i], passphrase, length, key);
        q2_wipe(key, sizeof(key));
        if (status == Q2_OK)
            set |= 1u << i;
        else if (status != Q2_ERR_ENCRYPTED)
            return status;
    }
    *ret_set = set;
    return Q2_OK;
}

/* --- what a change would lead to ------------------------------------------------------------- */

/* A slot that has the new key while the active slot `index` is written; Q2_LUKS_NB_SLOTS: none. The
 * key material is the same in both, so they have equally many stripes. */
static uint32_t find_spare(struct q2_luks_slots *slots, uint32_t index, uint32_t iterations)
{
    for (uint32_t i = 0; i < Q2_LUKS_NB_SLOTS; i++) {
        struct q2_luks_header next = slots->header;
        const char *what;

        next.slots[i].state = Q2_LUKS_SLOT_ACTIVE;
        next.slots[i].iterations = iterations;
        if (next.slots[index].iterations < iterations)
            next.slots[index].iterations = iterations;
        if (!is_active(slots, i) && next.slots[i].stripes == next.slots[index].stripes &&
            q2_luks_header_check(&next, slots->length, &what) == Q2_OK)
            return i;
    }
    return Q2_LUKS_NB_SLOTS;
}

enum q2_status q2_luks_slot_can_set(struct q2_luks_slots *slots, uint32_t index,
                                    uint32_t iterations)
{
    struct q2_luks_header next = slots->header;
    enum q2_status status;

    next.slots[index].state = Q2_LUKS_SLOT_ACTIVE;
    next.slots[index].iterations = iterations;
    slots->what = NULL;
    status = q2_luks_header_check(&next, slots->length, &slots->what);
    if (status != Q2_OK || q2_luks_slots_active(slots) != 1u << index ||
        find_spare(slots, index, iterations) < Q2_LUKS_NB_SLOTS)
        return status;
    slots->what = "the only key can be replaced only if another slot has room for it meanwhile";
    return Q2_ERR_LIMIT;
}

/* --- writing a slot -------------------------------------------------------------------------- */

static enum q2_status put_state(struct q2_luks_slots *slots, uint32_t index, uint32_t state)
{
    struct q2_luks_slot *slot = &slots->header.slots[index];
    struct q2_luks_slot_disk disk;
    enum q2_status status;

    slot->state = state;
    q2_luks_slot_encode(slot, &disk);
    status = write_at(slots, slot_at(slots, index), disk.active, sizeof(disk.active));
    return status == Q2_OK ? flush(slots) : status;
}

/* Write all of an inactive slot: its numbers, and slots->material. */
static enum q2_status put_inactive(struct q2_luks_slots *slots, uint32_t index)
{
    const struct q2_luks_slot *slot = &slots->header.slots[index];
    struct q2_luks_slot_disk disk;
    enum q2_status status;

    q2_luks_slot_encode(slot, &disk);
    status = write_at(slots, slots->offset + slot->key_material_offset, slots->material,
                      (size_t)q2_luks_slot_length(&slots->header, slot));
    if (status == Q2_OK)
        status = write_at(slots, slot_at(slots, index), &disk, sizeof(disk));
    return status == Q2_OK ? flush(slots) : status;
}

/* Write slots->material into a slot and make it active. */
static enum q2_status store(struct q2_luks_slots *slots, uint32_t index,
                            const struct q2_luks_new_key *key)
{
    struct q2_luks_slot *slot = &slots->header.slots[index];
    enum q2_status status = Q2_OK;

    if (is_active(slots, index))
        status = put_state(slots, index, Q2_LUKS_SLOT_INACTIVE);
    slot->iterations = key->iterations;
    __builtin_memcpy(slot->salt, key->salt, sizeof(slot->salt));
    if (status == Q2_OK)
        status = put_inactive(slots, index);
    return status == Q2_OK ? put_state(slots, index, Q2_LUKS_SLOT_ACTIVE) : status;
}

enum q2_status q2_luks_slot_set(struct q2_luks_slots *slots, uint32_t index,
                                const struct q2_luks_new_key *key)
{
    enum q2_status status = q2_luks_slot_can_set(slots, index, key->iterations);
    uint32_t spare = Q2_LUKS_NB_SLOTS;

    if (status != Q2_OK)
        return status;
    q2_luks_material_make(&slots->work, &slots->header, slots->header.slots[index].stripes,
                          slots->key, key, slots->material);
    if (is_active(slots, index))
        spare = find_spare(slots, index, key->iterations);
    if (spare < Q2_LUKS_NB_SLOTS)
        status = store(slots, spare, key);
    if (status == Q2_OK)
        status = store(slots, index, key);
    if (status == Q2_OK && spare < Q2_LUKS_NB_SLOTS)
        status = q2_luks_slot_erase(slots, spare);
    q2_wipe(&slots->work, sizeof(slots->work));
    q2_wipe(slots->material, sizeof(slots->material));
    return status;
}

enum q2_status q2_luks_slot_erase(struct q2_luks_slots *slots, uint32_t index)
{
    struct q2_luks_slot *slot = &slots->header.slots[index];
    enum q2_status status = put_state(slots, index, Q2_LUKS_SLOT_INACTIVE);

    if (status != Q2_OK)
        return status;
    slot->iterations = 0;
    __builtin_memset(slot->salt, 0, sizeof(slot->salt));
    __builtin_memset(slots->material, 0, sizeof(slots->material));
    return put_inactive(slots, index);
}
