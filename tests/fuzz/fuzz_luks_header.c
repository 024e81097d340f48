/* Any bytes as the LUKS header of an image: what the check passes must be safe to use.
 *
 * The input is two bytes for the room that the qcow2 header grants, in sectors, and then the
 * header; a short one goes on with zeros.
 */
#include <stdlib.h>
#include <string.h>

#include "core/luks/header.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool ok)
{
    if (!ok)
        abort();
}

static void judge(const struct q2_luks_header *header, uint64_t room)
{
    uint64_t iterations = header->digest_iterations;

    require(header->mode < Q2_NB_AES_MODES && header->hash < Q2_NB_LUKS_HASHES);
    require(header->key_length <= Q2_AES_MAX_KEY_LENGTH && header->digest_iterations > 0);
    for (size_t i = 0; i < Q2_LUKS_NB_SLOTS; i++) {
        const struct q2_luks_slot *slot = &header->slots[i];
        uint64_t length = q2_luks_slot_length(header, slot);

        if (slot->state != Q2_LUKS_SLOT_ACTIVE)
            continue;
        iterations += slot->iterations;
        require(slot->iterations > 0 && length > 0);
        require(length <= Q2_LUKS_MAX_STRIPES * Q2_AES_MAX_KEY_LENGTH);
        require(slot->key_material_offset >= sizeof(struct q2_luks_header_disk));
        require(slot->key_material_offset <= room && length <= room - slot->key_material_offset);
        require(length <= header->payload_offset - slot->key_material_offset);
    }
    require(iterations <= Q2_LUKS_MAX_ITERATIONS);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct q2_luks_header_disk disk = {0};
    struct q2_luks_header header;
    const char *what = NULL;
    enum q2_status status;
    uint64_t room;

    if (size < 2)
        return 0;
    room = ((uint64_t)data[0] << 8 | data[1]) * Q2_LUKS_SECTOR_SIZE;
    size -= 2;
    if (size > sizeof(disk))
        size = sizeof(disk);
    memcpy(&disk, data + 2, size);
    q2_luks_header_decode(&disk, &header);
    status = q2_luks_header_check(&header, room, &what);
    require((status == Q2_OK) == (what == NULL));
    if (status == Q2_OK)
        judge(&header, room);
    else
        require(status == Q2_ERR_BAD_HEADER || status == Q2_ERR_UNSUPPORTED ||
                status == Q2_ERR_LIMIT);
    return 0;
}
