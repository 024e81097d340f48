/* Names on FAT volumes.
 *
 * Calls nothing. Invariant: nothing is written past the size that the caller gave.
 */
#include "fat_name.h"

struct component {
    const char *start;
    size_t length;
};

static bool is_separator(char c)
{
    return c == '/' || c == '\\';
}

/* Take the next component off the path; its length is 0 at the end. */
static struct component take(const char **path)
{
    struct component component;

    while (is_separator(**path))
        ++*path;
    component = (struct component){.start = *path};
    while (**path != '\0' && !is_separator(**path)) {
        ++*path;
        component.length++;
    }
    return component;
}

static void trim(struct component *component)
{
    while (component->length > 0 && component->start[0] == ' ') {
        component->start++;
        component->length--;
    }
    while (component->length > 0 && component->start[component->length - 1] == ' ')
        component->length--;
}

/* How many dots a component is made of; 0: it has something else too, or is empty. */
static size_t only_dots(const struct component *component)
{
    for (size_t i = 0; i < component->length; i++) {
        if (component->start[i] != '.')
            return 0;
    }
    return component->length;
}

static void trim_dots(struct component *component)
{
    while (component->length > 0 && (component->start[component->length - 1] == '.' ||
                                     component->start[component->length - 1] == ' '))
        component->length--;
}

/* Take the last component off what was written; false if there is none. */
static bool drop_component(const char *path, size_t *length)
{
    if (*length == 0)
        return false;
    while (path[*length - 1] != '/')
        --*length;
    --*length;
    return true;
}

static bool append(const struct component *component, char *path, size_t size, size_t *length)
{
    if (component->length + 1 >= size - *length)
        return false;
    path[(*length)++] = '/';
    for (size_t i = 0; i < component->length; i++)
        path[(*length)++] = component->start[i];
    return true;
}

bool mc_fat_path_clean(const char *path, char *ret_path, size_t size)
{
    size_t n = 0;

    while (*path != '\0') {
        struct component component = take(&path);
        size_t dots;
        trim(&component);
        dots = only_dots(&component);
        if (dots > 2 || (dots == 2 && !drop_component(ret_path, &n)))
            return false;
        trim_dots(&component);
        if (component.length > 0 && !append(&component, ret_path, size, &n))
            return false;
    }
    if (n == 0)
        ret_path[n++] = '/';
    ret_path[n] = '\0';
    return true;
}
