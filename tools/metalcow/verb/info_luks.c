/* Reads and prints the LUKS header for `info`. May call core/luks/header.c.
 * (LUKS1 On-Disk Format Specification 1.2.3, "PHDR")
 *
 * Invariant: every text ends inside its array, whatever the image holds.
 */
#include "info_luks.h"

#include <inttypes.h>
#include <string.h>

#include "tools/metalcow/base/output.h"

/* Copy at most from_size bytes up to a NUL or the character stop. Returns what follows the stop;
 * "" if there is none. */
static const char *take(char *to, const char *from, size_t from_size, char stop)
{
    size_t n = 0;

    while (n < from_size && from[n] != '\0' && from[n] != stop)
        n++;
    memcpy(to, from, n);
    to[n] = '\0';
    return n < from_size && from[n] == stop && stop != '\0' ? from + n + 1 : "";
}

/* Divide names such as "xts-plain64" and "cbc-essiv:sha256". The size of an XTS cipher is half of
 * the key, because XTS takes two keys. */
static void read_names(const struct q2_luks_header_disk *disk, struct info_luks *luks)
{
    char mode[Q2_LUKS_NAME_LENGTH + 1], cipher[Q2_LUKS_NAME_LENGTH + 1];
    const char *rest;
    uint32_t bits = luks->header.key_length * 8;

    take(mode, disk->cipher_mode, sizeof(disk->cipher_mode), '\0');
    rest = take(luks->mode, mode, strlen(mode), '-');
    rest = take(luks->ivgen, rest, strlen(rest), ':');
    take(luks->ivgen_hash, rest, strlen(rest), '\0');
    take(luks->hash, disk->hash_spec, sizeof(disk->hash_spec), '\0');
    take(luks->uuid, disk->uuid, sizeof(disk->uuid), '\0');
    take(cipher, disk->cipher_name, sizeof(disk->cipher_name), '\0');
    if (strcmp(luks->mode, "xts") == 0)
        bits /= 2;
    (void)snprintf(luks->cipher, sizeof(luks->cipher), "%s-%" PRIu32, cipher, bits);
}

bool info_luks_read(const struct q2_layer_info *layer, struct info_luks *ret_luks)
{
    struct q2_source *source = (struct q2_source *)layer->source;
    struct q2_luks_header_disk disk;
    uint64_t offset = layer->encryption_offset;

    if (offset == 0 || offset > source->size || source->size - offset < sizeof(disk) ||
        source->ops->read_at(source, offset, &disk, sizeof(disk)) != Q2_OK)
        return false;
    q2_luks_header_decode(&disk, &ret_luks->header);
    if (!ret_luks->header.has_magic)
        return false;
    read_names(&disk, ret_luks);
    return true;
}

void info_luks_json(struct json *json, const struct info_luks *luks)
{
    json_text(json, "ivgen-alg", luks->ivgen);
    json_text(json, "hash-alg", luks->hash);
    json_text(json, "cipher-alg", luks->cipher);
    json_text(json, "uuid", luks->uuid);
    if (luks->ivgen_hash[0] != '\0')
        json_text(json, "ivgen-hash-alg", luks->ivgen_hash);
    json_text(json, "cipher-mode", luks->mode);
    json_list(json, "slots");
    for (unsigned i = 0; i < Q2_LUKS_NB_SLOTS; i++) {
        const struct q2_luks_slot *slot = &luks->header.slots[i];
        bool active = slot->state == Q2_LUKS_SLOT_ACTIVE;

        json_object(json, NULL);
        json_bool(json, "active", active);
        if (active)
            json_number(json, "iters", slot->iterations);
        json_number(json, "key-offset", slot->key_material_offset);
        if (active)
            json_number(json, "stripes", slot->stripes);
        json_end(json);
    }
    json_end(json);
    json_number(json, "payload-offset", luks->header.payload_offset);
    json_number(json, "master-key-iters", luks->header.digest_iterations);
}

static void line(const char *name, const char *text)
{
    printf("        %s: ", name);
    print_escaped(stdout, text);
    putchar('\n');
}

void info_luks_human(const struct info_luks *luks)
{
    line("ivgen alg", luks->ivgen);
    line("hash alg", luks->hash);
    line("cipher alg", luks->cipher);
    line("uuid", luks->uuid);
    if (luks->ivgen_hash[0] != '\0')
        line("ivgen hash alg", luks->ivgen_hash);
    line("format", "luks");
    line("cipher mode", luks->mode);
    puts("        slots:");
    for (unsigned i = 0; i < Q2_LUKS_NB_SLOTS; i++) {
        const struct q2_luks_slot *slot = &luks->header.slots[i];
        bool active = slot->state == Q2_LUKS_SLOT_ACTIVE;

        printf("            [%u]:\n                active: %s\n", i, active ? "true" : "false");
        if (active)
            printf("                iters: %" PRIu32 "\n", slot->iterations);
        printf("                key offset: %" PRIu64 "\n", slot->key_material_offset);
        if (active)
            printf("                stripes: %" PRIu32 "\n", slot->stripes);
    }
    printf("        payload offset: %" PRIu64 "\n        master key iters: %" PRIu32 "\n",
           luks->header.payload_offset, luks->header.digest_iterations);
}
