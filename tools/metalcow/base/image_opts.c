/* The keys of --image-opts. May call words.c, arguments.c and output.c.
 *
 * Only what has an effect here is a key: whoever states more is told so.
 */
#include "image_opts.h"

#include <stdio.h>
#include <string.h>

#include "output.h"
#include "words.h"

struct opening {
    const char **path;
    struct image_options *how;
    uint32_t depth; /* of the layer that the key is about; 0: the image itself */
};

static bool parse_file_driver(const char *value, struct opening *opening)
{
    (void)opening;
    return strcmp(value, "file") == 0 || strcmp(value, "host_device") == 0;
}

static bool parse_driver(const char *value, struct opening *opening)
{
    enum q2_image_format format = Q2_FORMAT_RAW;
    bool known = parse_file_driver(value, opening) || arguments_find_format(value, &format);

    if (known && opening->depth == 0)
        opening->how->format = format == Q2_FORMAT_RAW ? FORMAT_RAW : FORMAT_QCOW2;
    else if (known)
        opening->how->backing_format = format == Q2_FORMAT_RAW ? Q2_UNSAID_RAW : Q2_UNSAID_QCOW2;
    return known;
}

static bool parse_path(const char *value, struct opening *opening)
{
    struct given_files *files = &opening->how->backing_files;

    if (opening->depth == 0) {
        *opening->path = value;
        return true;
    }
    if (opening->depth > sizeof(files->paths) / sizeof(files->paths[0]))
        return false;
    files->paths[opening->depth - 1] = value;
    files->nb = files->nb > opening->depth ? files->nb : opening->depth;
    return true;
}

static bool parse_data_file(const char *value, struct opening *opening)
{
    opening->how->data_file = value;
    return opening->depth == 0;
}

static bool is_switch(const char *value)
{
    return strcmp(value, "on") == 0 || strcmp(value, "off") == 0;
}

static bool parse_read_only(const char *value, struct opening *opening)
{
    opening->how->read_only = strcmp(value, "on") == 0;
    return opening->depth == 0 && is_switch(value);
}

static bool parse_force_share(const char *value, struct opening *opening)
{
    opening->how->share = strcmp(value, "on") == 0;
    return opening->depth == 0 && is_switch(value);
}

static bool parse_direct(const char *value, struct opening *opening)
{
    opening->how->cache = strcmp(value, "on") == 0 ? CACHE_NONE : CACHE_WRITEBACK;
    return opening->depth == 0 && is_switch(value);
}

static bool parse_key_secret(const char *value, struct opening *opening)
{
    opening->how->key_secret = value;
    return opening->depth == 0;
}

/* QEMU's names of what can be said here. */
static const struct {
    const char *key;
    bool (*parse)(const char *value, struct opening *opening);
} keys[] = {
    {"driver", parse_driver},
    {"file.driver", parse_file_driver},
    {"file.filename", parse_path},
    {"filename", parse_path},
    {"data-file.driver", parse_file_driver},
    {"data-file.filename", parse_data_file},
    {"read-only", parse_read_only},
    {"force-share", parse_force_share},
    {"cache.direct", parse_direct},
    {"encrypt.key-secret", parse_key_secret},
};

/* "backing." in front of a key: it is about the file below. */
static const char *skip_backing(const char *key, uint32_t *ret_depth)
{
    static const char prefix[] = "backing.";

    for (*ret_depth = 0; strncmp(key, prefix, sizeof(prefix) - 1) == 0; ++*ret_depth)
        key += sizeof(prefix) - 1;
    return key;
}

static bool set(const char *key, const char *value, struct opening *opening)
{
    key = skip_backing(key, &opening->depth);
    for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++) {
        if (strcmp(keys[i].key, key) == 0)
            return keys[i].parse(value, opening);
    }
    return false;
}

static bool parse_one(char *text, struct opening *opening)
{
    char *value = strchr(text, '=');

    if (value)
        *value++ = '\0';
    if (value && set(text, value, opening))
        return true;
    fflush(stdout);
    fputs("metalcow: option '", stderr);
    print_escaped(stderr, text);
    fputs(value ? "' is not known, or does not take '" : "' has no value", stderr);
    if (value) {
        print_escaped(stderr, value);
        fputc('\'', stderr);
    }
    fputc('\n', stderr);
    return false;
}

bool image_opts_parse(char *text, const char **ret_path, struct image_options *how)
{
    struct opening opening = {.path = ret_path, .how = how};

    while (*text != '\0') {
        if (!parse_one(words_cut(&text), &opening))
            return false;
    }
    return true;
}

bool image_opts_operand(char *operand, const char **ret_path, struct image_options *how)
{
    *ret_path = NULL;
    if (!image_opts_parse(operand, ret_path, how))
        return false;
    if (!*ret_path)
        fputs("metalcow: --image-opts: no file is named; add file.filename=NAME\n", stderr);
    return *ret_path != NULL;
}
