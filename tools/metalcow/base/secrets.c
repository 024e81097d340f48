/* Secrets that options name.
 *
 * May call words.c, passphrase.c and output.c. Invariant: bytes of a secret are in the caller's
 * struct passphrase only, or in argv.
 */
#include "secrets.h"

#include <stdio.h>
#include <string.h>

#include "drivers/crypto/wipe.h"

#include "output.h"
#include "words.h"

/* "metalcow: WHAT 'TEXT'REST" */
static bool refuse(const char *what, const char *text, const char *rest)
{
    fprintf(stderr, "metalcow: %s '", what);
    print_escaped(stderr, text);
    fprintf(stderr, "'%s\n", rest);
    return false;
}

static bool store(struct secret *secret, const char *key, const char *value)
{
    if (strcmp(key, "id") == 0)
        secret->id = value;
    else if (strcmp(key, "file") == 0)
        secret->file = value;
    else if (strcmp(key, "data") == 0)
        secret->data = value;
    else if (strcmp(key, "format") != 0)
        return refuse("a secret has no", key, "; give id, and file or data");
    else if (strcmp(value, "raw") != 0)
        return refuse("a secret's format cannot be", value, "; give raw");
    return true;
}

/* Of a text its first word at most is printed: the rest may have the secret itself. */
static bool parse(const char *text, struct secret *secret)
{
    size_t length = strlen(text);
    char *rest = secret->text;
    const char *type;

    if (length >= sizeof(secret->text))
        return refuse("--object is too long for a", "secret", "");
    memcpy(secret->text, text, length + 1);
    type = *rest != '\0' ? words_cut(&rest) : rest;
    if (strcmp(type, "secret") != 0)
        return refuse("--object", type[strcspn(type, "={")] == '\0' ? type : "...",
                      " is no secret; give secret,id=ID,file=FILE");
    while (*rest != '\0') {
        char *key = words_cut(&rest), *equal = strchr(key, '=');

        if (equal)
            *equal = '\0';
        if (!store(secret, key, equal ? equal + 1 : ""))
            return false;
    }
    if (!secret->id || !secret->file == !secret->data)
        return refuse("--object", secret->id ? secret->id : "secret",
                      " needs id=ID and one of file=FILE and data=TEXT");
    return true;
}

static const struct secret *find(const struct secrets *secrets, const char *id)
{
    for (size_t i = 0; i < secrets->nb; i++) {
        if (strcmp(secrets->all[i].id, id) == 0)
            return &secrets->all[i];
    }
    return NULL;
}

bool secrets_parse(const struct option_texts *texts, struct secrets *ret_secrets)
{
    memset(ret_secrets, 0, sizeof(*ret_secrets));
    for (; ret_secrets->nb < texts->nb; ret_secrets->nb++) {
        struct secret *secret = &ret_secrets->all[ret_secrets->nb];

        if (!parse(texts->texts[ret_secrets->nb], secret))
            return false;
        if (find(ret_secrets, secret->id))
            return refuse("two secrets have the id", secret->id, "; give each its own");
    }
    return true;
}

static bool take_data(const char *data, struct passphrase *passphrase, size_t *ret_length)
{
    size_t length = strlen(data);

    if (length > Q2_MAX_PASSPHRASE_LENGTH)
        return refuse("a secret's", "data", " is too long for a passphrase");
    memcpy(passphrase->bytes, data, length);
    *ret_length = length;
    return true;
}

static bool refuse_unknown(const char *option, const char *id)
{
    fprintf(stderr, "metalcow: %s: ", option);
    print_escaped(stderr, id);
    fputs(" is the id of no secret; add --object secret,id=ID,file=FILE\n", stderr);
    return false;
}

bool secrets_load(const struct secrets *secrets, const char *option, const char *id,
                  struct passphrase *passphrase, size_t *ret_length)
{
    const struct secret *secret = find(secrets, id);

    if (secret && secret->data)
        return take_data(secret->data, passphrase, ret_length);
    if (secret)
        return passphrase_load(passphrase, secret->file, false, ret_length);
    return refuse_unknown(option, id);
}

static bool load(const struct image_options *options, const char *id, struct passphrase *passphrase,
                 struct q2_unlocker_passphrase *unlocker)
{
    struct secrets secrets;
    bool loaded =
        secrets_parse(options->objects, &secrets) &&
        secrets_load(&secrets, "encrypt.key-secret", id, passphrase, &unlocker->passphrase_length);

    q2_wipe(&secrets, sizeof(secrets));
    if (loaded)
        unlocker->passphrase = passphrase->bytes;
    return loaded;
}

/* The id of the secret of the encrypted layer of a number; NULL: none is given. */
static const char *find_id(const struct image_options *options, uint32_t number)
{
    const struct given_files *files = &options->backing_files;

    if (options->key_secret && number-- == 0)
        return options->key_secret;
    for (uint32_t i = 0; i < files->nb; i++) {
        if (files->key_secrets[i] && number-- == 0)
            return files->key_secrets[i];
    }
    return NULL;
}

/* q2_unlocker_passphrase.choose */
static bool choose(struct q2_unlocker_passphrase *unlocker, const char *path)
{
    struct passphrase *passphrase = unlocker->ask_context;
    const char *id = find_id(passphrase->options, passphrase->nb_chosen++);

    (void)path;
    return id && load(passphrase->options, id, passphrase, unlocker);
}

/* Is each id that of a secret? No file is read here, because it may be a pipe. */
static bool check_ids(const struct image_options *options)
{
    struct secrets secrets;
    bool known = secrets_parse(options->objects, &secrets);
    const char *id;

    for (uint32_t i = 0; known && (id = find_id(options, i)) != NULL; i++)
        known = find(&secrets, id) || refuse_unknown("encrypt.key-secret", id);
    q2_wipe(&secrets, sizeof(secrets));
    return known;
}

bool secrets_provide(struct passphrase *passphrase, const struct image_options *options,
                     struct q2_unlocker_passphrase *unlocker)
{
    if (!find_id(options, 0))
        return passphrase_provide(passphrase, options, unlocker);
    if (options->passphrase_file || options->key_file) {
        fputs("metalcow: encrypt.key-secret is the passphrase; leave out --passphrase-file and "
              "--key-file\n",
              stderr);
        return false;
    }
    if (!find_id(options, 1) && options->key_secret)
        return load(options, options->key_secret, passphrase, unlocker);
    passphrase->options = options;
    passphrase->nb_chosen = 0;
    unlocker->ask_context = passphrase;
    unlocker->choose = choose;
    return check_ids(options);
}
