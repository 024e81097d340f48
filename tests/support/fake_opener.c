/* An opener over a table of names. */
#include "fake_opener.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The first one of this path that is not open, else the last one. */
static struct fake_file *find(struct fake_opener *fake, const char *path)
{
    struct fake_file *found = NULL;

    for (uint32_t i = 0; i < fake->nb_files; i++) {
        if (strcmp(fake->files[i].path, path) != 0)
            continue;
        found = &fake->files[i];
        if (found->nb_open == 0)
            break;
    }
    return found;
}

static enum q2_status fake_open(struct q2_opener *opener, const char *path, bool writable,
                                struct q2_source **ret_source)
{
    struct fake_opener *fake = (struct fake_opener *)opener;
    struct fake_file *file;

    fake->nb_calls++;
    fake->last_writable = writable;
    (void)snprintf(fake->last_path, sizeof(fake->last_path), "%s", path);
    file = find(fake, path);
    if (!file)
        return Q2_ERR_NOT_FOUND;
    if (!file->fake)
        return file->status;
    file->nb_open++;
    fake->nb_open++;
    fake->nb_opened++;
    *ret_source = &file->fake->source;
    return Q2_OK;
}

static void fake_close(struct q2_opener *opener, struct q2_source *source)
{
    struct fake_opener *fake = (struct fake_opener *)opener;

    for (uint32_t i = 0; i < fake->nb_files; i++) {
        struct fake_file *file = &fake->files[i];
        if (!file->fake || &file->fake->source != source || file->nb_open == 0)
            continue;
        file->nb_open--;
        fake->nb_open--;
        fake->last_closed = file->path;
        return;
    }
    printf("# closed a source that is not open: %s\n", source->path);
    abort();
}

static const struct q2_opener_ops fake_ops = {.open = fake_open, .close = fake_close};

void fake_opener_init(struct fake_opener *fake)
{
    *fake = (struct fake_opener){.opener = {.ops = &fake_ops}};
}

static struct fake_file *next_file(struct fake_opener *fake)
{
    if (fake->nb_files == FAKE_OPENER_FILES) {
        printf("# the fake opener is full\n");
        abort();
    }
    return &fake->files[fake->nb_files++];
}

void fake_opener_add(struct fake_opener *fake, const char *path, struct fake_source *source)
{
    *next_file(fake) = (struct fake_file){.path = path, .fake = source};
}

void fake_opener_fail(struct fake_opener *fake, const char *path, enum q2_status status)
{
    *next_file(fake) = (struct fake_file){.path = path, .status = status};
}
