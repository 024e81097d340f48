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

static bool parse_file_driver(char *value, struct opening *opening)
{
    (void)opening;
    return strcmp(value, "file") == 0 || strcmp(value, "host_device") == 0;
}

/* The place of what is said about a file below; false if the chain cannot be that long. */
static bool reach(struct opening *opening, uint32_t *ret_index)
{
    struct given_files *files = &opening->how->backing_files;

    if (opening->depth > sizeof(files->paths) / sizeof(files->paths[0]))
        return false;
    files->nb = files->nb > opening->depth ? files->nb : opening->depth;
    *ret_index = opening->depth - 1;
    return true;
}

static bool parse_driver(char *value, struct opening *opening)
{
    enum q2_image_format format = Q2_FORMAT_RAW;
    uint32_t index;

    if (!parse_file_driver(value, opening) && !arguments_find_format(value, &format))
        return false;
    if (opening->depth == 0) {
        opening->how->format = format == Q2_FORMAT_RAW ? FORMAT_RAW : FORMAT_QCOW2;
        return true;
    }
    if (!reach(opening, &index))
        return false;
    opening->how->backing_files.formats[index] =
        format == Q2_FORMAT_RAW ? Q2_UNSAID_RAW : Q2_UNSAID_QCOW2;
    return true;
}

/* A name as it is: "file:x" is a file of that name here, so it becomes "./file:x". The key in front
 * of the value has the room, and nobody reads it any more. */
static const char *literal(char *value)
{
    if (value[strcspn(value, ":/")] != ':')
        return value;
    value -= 2;
    value[0] = '.';
    value[1] = '/';
    return value;
}

static bool parse_path(char *value, struct opening *opening)
{
    uint32_t index;

    if (opening->depth == 0) {
        *opening->path = literal(value);
        return true;
    }
    if (!reach(opening, &index))
        return false;
    opening->how->backing_files.paths[index] = literal(value);
    return true;
}

static bool parse_data_file(char *value, struct opening *opening)
{
    opening->how->data_file = literal(value);
    return true;
}

static bool parse_switch(const char *value, bool *ret_on)
{
    static const char *const words[] = {"off", "on", "no", "yes", "false", "true", "n", "y"};

    for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
        if (strcmp(words[i], value) == 0) {
            *ret_on = i % 2 == 1;
            return true;
        }
    }
    return false;
}

static bool parse_read_only(char *value, struct opening *opening)
{
    return parse_switch(value, &opening->how->read_only);
}

static bool parse_force_share(char *value, struct opening *opening)
{
    return parse_switch(value, &opening->how->share);
}

/* Whether the page cache is passed by; -t says what else the cache does. */
static bool parse_direct(char *value, struct opening *opening)
{
    enum file_cache *cache = &opening->how->cache;
    bool direct, through = *cache == CACHE_WRITETHROUGH || *cache == CACHE_DIRECTSYNC;

    if (!parse_switch(value, &direct))
        return false;
    if (through)
        *cache = direct ? CACHE_DIRECTSYNC : CACHE_WRITETHROUGH;
    else if (*cache != CACHE_UNSAFE)
        *cache = direct ? CACHE_NONE : CACHE_WRITEBACK;
    return true;
}

static bool parse_key_secret(char *value, struct opening *opening)
{
    uint32_t index;

    if (opening->depth == 0) {
        opening->how->key_secret = value;
        return true;
    }
    if (!reach(opening, &index))
        return false;
    opening->how->backing_files.key_secrets[index] = value;
    return true;
}

/* QEMU's names of what can be said here. */
static const struct {
    const char *key;
    bool (*parse)(char *value, struct opening *opening);
    bool below; /* also of a file below, with "backing." in front */
} keys[] = {
    {"driver", parse_driver, true},
    {"file.driver", parse_file_driver, true},
    {"file.filename", parse_path, true},
    {"filename", parse_path, true},
    {"data-file.driver", parse_file_driver, false},
    {"data-file.filename", parse_data_file, false},
    {"read-only", parse_read_only, false},
    {"force-share", parse_force_share, false},
    {"cache.direct", parse_direct, false},
    {"encrypt.key-secret", parse_key_secret, true},
};

/* "backing." in front of a key: it is about the file below. */
static const char *skip_backing(const char *key, uint32_t *ret_depth)
{
    static const char prefix[] = "backing.";

    for (*ret_depth = 0; strncmp(key, prefix, sizeof(prefix) - 1) == 0; ++*ret_depth)
        key += sizeof(prefix) - 1;
    return key;
}

static bool set(const char *key, char *value, struct opening *opening)
{
    key = skip_backing(key, &opening->depth);
    for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++) {
        if (strcmp(keys[i].key, key) == 0)
            return (opening->depth == 0 || keys[i].below) && keys[i].parse(value, opening);
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
