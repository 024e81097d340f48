/* What the LUKS1 header of an encrypted image says, which can be read without a key. */
#ifndef METALCOW_INFO_LUKS_H
#define METALCOW_INFO_LUKS_H

#include <stdbool.h>

#include "core/luks/header.h"

#include "tools/metalcow/base/json.h"
#include "q2_disk.h"

/* A header as it is shown. Texts come out of the image: untrusted. */
struct info_luks {
    struct q2_luks_header header;
    char cipher[Q2_LUKS_NAME_LENGTH + 12];    /* "aes-256" */
    char mode[Q2_LUKS_NAME_LENGTH + 1];       /* "xts" */
    char ivgen[Q2_LUKS_NAME_LENGTH + 1];      /* "plain64" */
    char ivgen_hash[Q2_LUKS_NAME_LENGTH + 1]; /* "" if there is none */
    char hash[Q2_LUKS_NAME_LENGTH + 1];
    char uuid[41];
};

/* Read the header of a layer's image; false: it has none that can be read. */
bool info_luks_read(const struct q2_layer_info *layer, struct info_luks *ret_luks);

/* Print the header as qemu-img does. The JSON form prints members of the object that is open. */
void info_luks_json(struct json *json, const struct info_luks *luks);
void info_luks_human(const struct info_luks *luks);

#endif
