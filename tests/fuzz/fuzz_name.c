/* Any bytes as a name in an image, under each policy: what is let through is what was promised.
 *
 * The input is a byte of policy and size (bits 0, 1: policy; 2: a small buffer), the referrer's
 * path, a NUL, and the name.
 */
#include "fuzz_disk.h"

#include "core/read/name_gate.h"

static bool has_component(const char *path, const char *component)
{
    size_t length = strlen(component);

    for (const char *at = path;; at = strchr(at, '/') + 1) {
        if (strncmp(at, component, length) == 0 && (at[length] == '/' || at[length] == '\0'))
            return true;
        if (!strchr(at, '/'))
            return false;
    }
}

/* The name's part of a path that was let through. */
static void judge_name(const char *name)
{
    size_t component = 0;

    require(name[0] != '\0');
    for (const uint8_t *s = (const uint8_t *)name; *s; s++) {
        require(*s >= 0x20 && *s != 0x7f && *s != '\\');
        require(*s < 0xf0);                  /* beyond the basic plane */
        require(*s != 0xed || s[1] < 0xa0);  /* surrogates */
        require(*s != 0xc2 || s[1] >= 0xa0); /* C1 controls */
        component = *s == '/' ? 0 : component + ((*s & 0xc0) != 0x80);
        require(component <= Q2_MAX_COMPONENT_LENGTH);
    }
    /* No protocol and no drive: no colon before the first separator. */
    require(!strchr(name, ':') || (strchr(name, '/') && strchr(name, '/') < strchr(name, ':')));
}

static void judge(const char *path, enum q2_name_policy policy, const char *referrer,
                  const char *name)
{
    const char *slash = strrchr(referrer, '/');
    size_t folder = slash ? (size_t)(slash - referrer) + 1 : 0;
    bool absolute = name[strncmp(name, "file:", 5) == 0 ? 5 : 0] == '/';

    require(policy != Q2_NAMES_NONE);
    if (absolute)
        folder = 0;
    require(strncmp(path, referrer, folder) == 0);
    judge_name(path + folder);
    if (policy == Q2_NAMES_BELOW)
        require(!absolute && !has_component(path + folder, ".."));
}

/* The rules of POSIX let any byte through; the folder is the limit all the same. */
static void try_posix(const char *name, enum q2_name_policy policy, const char *referrer,
                      size_t room)
{
    char path[Q2_MAX_PATH_LENGTH + 1];
    const char *slash = strrchr(referrer, '/');
    size_t folder = slash ? (size_t)(slash - referrer) + 1 : 0;
    enum q2_unsaid_format format;

    if (room == 0 || q2_name_resolve_posix(name, policy, referrer, path, room, &format) != Q2_OK)
        return;
    require(memchr(path, 0, room) != NULL && policy != Q2_NAMES_NONE);
    if (policy == Q2_NAMES_BELOW) {
        require(strncmp(path, referrer, folder) == 0);
        require(path[folder] != '/' && !has_component(path + folder, ".."));
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const enum q2_name_policy policies[] = {Q2_NAMES_BELOW, Q2_NAMES_NONE, Q2_NAMES_ANY,
                                                   Q2_NAMES_BELOW};
    char input[2 * Q2_MAX_PATH_LENGTH + 2], path[Q2_MAX_PATH_LENGTH + 1];
    enum q2_name_policy policy;
    enum q2_status status;
    size_t room;
    const char *referrer = input, *name;

    if (size < 2 || size > 2 * Q2_MAX_PATH_LENGTH)
        return 0;
    policy = policies[data[0] & 3];
    room = data[0] & 4 ? data[0] >> 3 : sizeof(path);
    memcpy(input, data + 1, size - 1);
    input[size - 1] = input[size] = '\0';
    name = input + strlen(input) + 1;
    try_posix(name, policy, referrer, room);
    memset(path, 0x5a, sizeof(path));
    status = q2_name_resolve(name, policy, referrer, path, room);
    if (status == Q2_OK) {
        require(memchr(path, 0, room) != NULL);
        judge(path, policy, referrer, name);
    } else {
        require(status == Q2_ERR_BAD_NAME || status == Q2_ERR_NAME_DENIED);
        require((uint8_t)path[0] == 0x5a);
    }
    return 0;
}
