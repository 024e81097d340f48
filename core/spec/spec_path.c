/* Paths of a disk's specification: what is wrong with one, and its one form.
 *
 * May call core/base/utf8.h. Invariant: nothing is read past the length that the caller gave.
 */
#include "spec_path.h"

#include "core/base/utf8.h"
#include "disk_spec.h"

struct slice {
    const char *start;
    size_t length;
};

static bool is_separator(char c)
{
    return c == '/' || c == '\\';
}

static bool is_dots(struct slice s, size_t nb)
{
    for (size_t i = 0; i < s.length; i++) {
        if (s.start[i] != '.')
            return false;
    }
    return s.length == nb;
}

/* Take the next component off a path, past separators and "." components; its length is 0 at the
 * end. */
static struct slice take(struct slice *path)
{
    struct slice component;

    do {
        while (path->length > 0 && is_separator(path->start[0])) {
            path->start++;
            path->length--;
        }
        component = (struct slice){path->start, 0};
        while (component.length < path->length && !is_separator(component.start[component.length]))
            component.length++;
        path->start += component.length;
        path->length -= component.length;
    } while (is_dots(component, 1));
    return component;
}

/* What no file name on FAT or in the UEFI file protocol can have; NULL: nothing.
 * (UEFI: "EFI_FILE_PROTOCOL.Open()"; file names are UCS-2 there) */
static const char *component_refusal(struct slice component)
{
    uint32_t c = 0, nb_units = 0;

    if (is_dots(component, 2))
        return "has \"..\"; paths begin at the top of the volume";
    while (component.length > 0) {
        size_t n = q2_utf8_decode(component.start, component.length, &c);
        if (n == 0)
            return "is not UTF-8";
        if (c == ':')
            return "names a device; paths are on the configuration's own volume";
        if (c == '"' || c == '*' || c == '<' || c == '>' || c == '?' || c == '|' || c == '\t')
            return "has a character that no file name can have";
        if (c >= 0xfffe)
            return "has a character that file names cannot have in firmware";
        if (++nb_units > Q2_MAX_COMPONENT_LENGTH)
            return "has a file name over 255 characters";
        component.start += n;
        component.length -= n;
    }
    return NULL;
}

const char *mc_path_refusal(const char *path, size_t length)
{
    struct slice rest = {path, length}, component;
    const char *refusal = NULL;

    if (length == 0 || is_separator(path[length - 1]))
        return "names a folder, not a file";
    /* The separator that mc_path_form() may put in front counts. */
    if (length > Q2_MAX_PATH_LENGTH - 1)
        return "is longer than 2046 bytes";
    component = take(&rest);
    if (component.length == 0)
        return "names a folder, not a file";
    for (; component.length > 0 && !refusal; component = take(&rest))
        refusal = component_refusal(component);
    return refusal;
}
_Static_assert(Q2_MAX_PATH_LENGTH - 1 == 2046 && Q2_MAX_COMPONENT_LENGTH == 255, "texts above");

size_t mc_path_form(const char *path, size_t length, char *to, size_t size)
{
    struct slice rest = {path, length}, component;
    size_t n = 0;

    for (component = take(&rest); component.length > 0; component = take(&rest)) {
        if (component.length + 2 > size - n)
            return 0;
        to[n++] = '/';
        for (size_t i = 0; i < component.length; i++)
            to[n++] = component.start[i];
    }
    if (n >= size)
        return 0;
    to[n++] = '\0';
    return n;
}
