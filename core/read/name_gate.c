/* File names found inside images.
 *
 * Runs at open only. May call name_json.c. Invariant: a path that leaves here under Q2_NAMES_BELOW
 * begins with the referrer's folder and has no ".." component.
 */
#include "name_gate.h"

#include <stdbool.h>
#include <stdint.h>

#include "core/base/text.h"
#include "core/base/utf8.h"
#include "name_json.h"

/* Length of the UTF-8 sequence at the start of a text if it is a printable character of the basic
 * plane, else 0. UCS-2, which file systems under UEFI store, has no room for more; the C1 controls
 * are refused with the rest. */
static size_t character_length(const char *text)
{
    uint32_t c = 0;
    size_t length = q2_utf8_decode_text(text, &c);

    return c >= 0x20 && (c < 0x7f || c >= 0xa0) && c < 0xfffe ? length : 0;
}

static bool is_separator(char c)
{
    return c == '/';
}

/* Every character printable, no backslash (a separator to some file systems and not to others),
 * every component short enough: each character of the basic plane is one unit of UTF-16. */
static bool is_clean(const char *name)
{
    size_t component = 0;

    for (const char *s = name; *s != '\0';) {
        size_t n = character_length(s);
        if (n == 0 || *s == '\\')
            return false;
        component = is_separator(*s) ? 0 : component + 1;
        if (component > Q2_MAX_COMPONENT_LENGTH)
            return false;
        s += n;
    }
    return name[0] != '\0';
}

/* "nbd:", "json:", "C:": a colon before the first separator. */
static bool has_prefix(const char *name)
{
    for (; *name != '\0' && !is_separator(*name); name++) {
        if (*name == ':')
            return true;
    }
    return false;
}

static const char *strip_prefix(const char *name, const char *prefix)
{
    size_t i = 0;

    for (; prefix[i] != '\0'; i++) {
        if (name[i] != prefix[i])
            return name;
    }
    return name + i;
}

/* Is any component ".."? Even one that does not leave the folder by its letters may do so through
 * a symbolic link. */
static bool has_parent(const char *name)
{
    while (*name != '\0') {
        size_t n = 0;
        while (name[n] != '\0' && !is_separator(name[n]))
            n++;
        if (n == 2 && name[0] == '.' && name[1] == '.')
            return true;
        name += n + (name[n] != '\0');
    }
    return false;
}

static bool leaves_folder(const char *name)
{
    return is_separator(name[0]) || has_parent(name);
}

static size_t folder_length(const char *path)
{
    size_t length = 0;

    for (size_t i = 0; path[i] != '\0'; i++) {
        if (is_separator(path[i]))
            length = i + 1;
    }
    return length;
}

static void copy(char *to, const char *from, size_t length)
{
    for (size_t i = 0; i < length; i++)
        to[i] = from[i];
}

enum q2_status q2_name_resolve(const char *name, enum q2_name_policy policy, const char *referrer,
                               char *ret_path, size_t size)
{
    size_t folder, length;

    name = strip_prefix(name, "file:");
    if (!is_clean(name))
        return Q2_ERR_BAD_NAME;
    if (policy == Q2_NAMES_NONE || has_prefix(name))
        return Q2_ERR_NAME_DENIED;
    if (policy == Q2_NAMES_BELOW && leaves_folder(name))
        return Q2_ERR_NAME_DENIED;

    folder = is_separator(name[0]) ? 0 : folder_length(referrer);
    length = q2_text_length(name);
    if (folder >= size || length >= size - folder)
        return Q2_ERR_BAD_NAME;
    copy(ret_path, referrer, folder);
    copy(ret_path + folder, name, length + 1);
    return Q2_OK;
}

enum q2_status q2_name_plain(const char *name, char *ret_path, size_t size,
                             enum q2_unsaid_format *ret_format)
{
    const char *json = strip_prefix(name, "json:");
    size_t length;

    *ret_format = Q2_UNSAID_REFUSED;
    if (json != name)
        return q2_name_json(json, ret_path, size, ret_format);
    name = strip_prefix(name, "file:");
    length = q2_text_length(name);
    if (length == 0 || length >= size)
        return Q2_ERR_BAD_NAME;
    copy(ret_path, name, length + 1);
    return Q2_OK;
}

enum q2_status q2_name_resolve_posix(const char *name, enum q2_name_policy policy,
                                     const char *referrer, char *ret_path, size_t size,
                                     enum q2_unsaid_format *ret_format)
{
    bool is_json = strip_prefix(name, "json:") != name;
    enum q2_status status;
    size_t folder, length;

    *ret_format = Q2_UNSAID_REFUSED;
    if (policy == Q2_NAMES_NONE)
        return Q2_ERR_NAME_DENIED;
    if (!is_json && has_prefix(strip_prefix(name, "file:")))
        return Q2_ERR_UNSUPPORTED;
    status = q2_name_plain(name, ret_path, size, ret_format);
    if (status != Q2_OK)
        return status;
    if (policy == Q2_NAMES_BELOW && leaves_folder(ret_path))
        return Q2_ERR_NAME_DENIED;
    folder = is_separator(ret_path[0]) ? 0 : folder_length(referrer);
    length = q2_text_length(ret_path);
    if (folder >= size || length >= size - folder)
        return Q2_ERR_BAD_NAME;
    for (size_t i = length + 1; folder > 0 && i-- > 0;)
        ret_path[folder + i] = ret_path[i];
    copy(ret_path, referrer, folder);
    return Q2_OK;
}
