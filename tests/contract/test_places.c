/* The place contract against a place that is made in memory here, which shows that a new kind of
 * place needs no change outside its own files. */
#include "drivers/memory/source.h"
#include "place_suite.h"

#define NB_FILES   3u
#define FREE_SPACE (2u << 20)

struct memory_file {
    const char *path;
    uint8_t *bytes;
    uint64_t size;
    unsigned int generation; /* counts how often the file was replaced */
};

struct memory_place {
    struct q2_place place; /* first */
    struct memory_file files[NB_FILES];
    uint64_t space; /* bytes that files can still grow by */
    unsigned int nb_open;
};

struct open_file {
    struct q2_place_file file; /* first */
    struct q2_source source;
    struct memory_file *stored;
    unsigned int generation;
};

static struct memory_place memory;

static struct open_file *open_of(struct q2_source *source)
{
    return (struct open_file *)(void *)((char *)source - offsetof(struct open_file, source));
}

static bool inside(const struct q2_source *source, uint64_t offset, size_t length)
{
    return offset <= source->size && length <= source->size - offset;
}

static enum q2_status read_at(struct q2_source *source, uint64_t offset, void *buffer,
                              size_t length)
{
    if (!inside(source, offset, length))
        return Q2_ERR_IO;
    memcpy(buffer, open_of(source)->stored->bytes + offset, length);
    return Q2_OK;
}

static bool is_replaced(const struct open_file *file)
{
    return file->generation != file->stored->generation;
}

static enum q2_status write_at(struct q2_source *source, uint64_t offset, const void *buffer,
                               size_t length)
{
    if (!source->writable)
        return Q2_ERR_READ_ONLY;
    if (is_replaced(open_of(source)))
        return Q2_ERR_MEDIA_CHANGED;
    if (!inside(source, offset, length))
        return Q2_ERR_IO;
    memcpy(open_of(source)->stored->bytes + offset, buffer, length);
    return Q2_OK;
}

static enum q2_status flush(struct q2_source *source)
{
    (void)source;
    return Q2_OK;
}

static enum q2_status grow(struct q2_source *source, uint64_t new_size)
{
    if (new_size > open_of(source)->file.mapped_size)
        return Q2_ERR_NO_SPACE;
    source->size = new_size;
    return Q2_OK;
}

static const struct q2_source_ops source_ops = {
    .read_at = read_at, .write_at = write_at, .flush = flush, .grow = grow};

static enum q2_status fail(struct q2_fault *fault, enum q2_status status, const char *path)
{
    *fault = (struct q2_fault){.status = status};
    snprintf(fault->file, sizeof(fault->file), "%s", path);
    return status;
}

/* Names are taken without "." components, and ".." is not known. */
static enum q2_status find(const char *path, struct q2_fault *fault, struct memory_file **ret_file)
{
    char clean[256] = "";
    size_t n = 0;

    if (strstr(path, ".."))
        return fail(fault, Q2_ERR_BAD_NAME, path);
    while (*path != '\0' && n + 1 < sizeof(clean)) {
        if (strncmp(path, "/./", 3) == 0)
            path += 2;
        clean[n++] = *path++;
    }
    for (size_t i = 0; i < NB_FILES; i++) {
        struct memory_file *file = &memory.files[i];
        if (strcmp(file->path, clean) == 0) {
            *ret_file = file;
            return Q2_OK;
        }
        if (strncmp(file->path, clean, n) == 0 && file->path[n] == '/')
            return fail(fault, Q2_ERR_NOT_A_FILE, clean);
    }
    return fail(fault, Q2_ERR_NOT_FOUND, clean);
}

static enum q2_status open_file(struct q2_place *q2_place, const char *path, bool writable,
                                struct q2_fault *fault, struct q2_place_file **ret_file)
{
    struct memory_file *stored;
    struct open_file *file;
    enum q2_status status = find(path, fault, &stored);

    if (status != Q2_OK)
        return status;
    file = calloc(1, sizeof(*file));
    *file = (struct open_file){
        .file = {.place = q2_place, .source = &file->source, .mapped_size = stored->size},
        .source = {.ops = &source_ops,
                   .path = stored->path,
                   .size = stored->size,
                   .identity = {1, (uintptr_t)stored},
                   .io_align = 1,
                   .writable = writable},
        .stored = stored,
        .generation = stored->generation,
    };
    memory.nb_open++;
    *ret_file = &file->file;
    return Q2_OK;
}

static void close_file(struct q2_place_file *file)
{
    memory.nb_open--;
    free(file);
}

static enum q2_status load(struct q2_place *q2_place, const char *path, void *buffer,
                           size_t *length, struct q2_fault *fault)
{
    struct memory_file *file;
    enum q2_status status = find(path, fault, &file);

    (void)q2_place;
    if (status != Q2_OK)
        return status;
    *length = *length < file->size ? *length : (size_t)file->size;
    memcpy(buffer, file->bytes, *length);
    return Q2_OK;
}

static enum q2_status list(struct q2_place *q2_place, const char *folder,
                           struct q2_place_visitor *visitor, struct q2_fault *fault)
{
    size_t length = strlen(folder);
    enum q2_status status = fail(fault, Q2_ERR_NOT_FOUND, folder);

    (void)q2_place;
    for (size_t i = 0; i < NB_FILES; i++) {
        const char *path = memory.files[i].path;
        if (strncmp(path, folder, length) != 0 || path[length] != '/')
            continue;
        status = visitor->visit(visitor, path + length + 1, fault);
        if (status != Q2_OK)
            return status;
    }
    return status;
}

static void explain(const struct q2_place_file *file, struct q2_line *text)
{
    (void)file;
    q2_line_put(text, "memory");
}

static enum q2_status check(struct q2_place_file *file, struct q2_fault *fault)
{
    return is_replaced((struct open_file *)file) ? fail(fault, Q2_ERR_BUSY, file->source->path)
                                                 : Q2_OK;
}

static void settle(struct q2_place *q2_place)
{
    (void)q2_place; /* every write is checked */
}

/* Give a file another length; new bytes are zero. */
static void set_size(struct memory_file *file, uint64_t size)
{
    file->bytes = realloc(file->bytes, size);
    if (size > file->size)
        memset(file->bytes + file->size, 0, size - file->size);
    memory.space -= size - file->size;
    file->size = size;
}

static enum q2_status make_room(struct q2_place_file *file, uint64_t size, struct q2_fault *fault)
{
    struct memory_file *stored = ((struct open_file *)file)->stored;
    bool fits = size - stored->size <= memory.space;

    set_size(stored, fits ? size : stored->size + memory.space);
    file->mapped_size = stored->size;
    return fits ? Q2_OK : fail(fault, Q2_ERR_NO_SPACE, stored->path);
}

static enum q2_status give_back(struct q2_place_file *file, uint64_t size, struct q2_fault *fault)
{
    (void)fault;
    set_size(((struct open_file *)file)->stored, size);
    file->mapped_size = size;
    if (file->source->size > size)
        file->source->size = size;
    return Q2_OK;
}

static void close_place(struct q2_place *q2_place)
{
    (void)q2_place;
    T_CHECK_U64(memory.nb_open, 0);
}

static uint64_t free_space(struct q2_place_file *file)
{
    (void)file;
    return memory.space;
}

static const struct q2_place_ops memory_ops = {
    .close = close_place,
    .open_file = open_file,
    .close_file = close_file,
    .load = load,
    .list = list,
    .explain = explain,
    .check = check,
    .settle = settle,
    .make_room = make_room,
    .give_back = give_back,
    .free_space = free_space,
};

static void put_file(size_t index, const char *path, uint64_t size)
{
    memory.files[index] = (struct memory_file){.path = path, .bytes = malloc(size), .size = size};
    for (uint64_t i = 0; i < size; i++)
        memory.files[index].bytes[i] =
            size == PLACE_IMAGE_SIZE ? place_pattern(i) : (uint8_t)PLACE_TEXT_BYTES[i];
}

static struct q2_place *memory_open(void)
{
    memory = (struct memory_place){
        .place = {.ops = &memory_ops,
                  .name = "memory",
                  .abilities = Q2_PLACE_WRITES | Q2_PLACE_GROWS,
                  .io_align = 1},
        .space = FREE_SPACE,
    };
    put_file(0, PLACE_IMAGE, PLACE_IMAGE_SIZE);
    put_file(1, PLACE_TEXT, sizeof(PLACE_TEXT_BYTES) - 1);
    put_file(2, PLACE_TEXT_2, sizeof(PLACE_TEXT_BYTES) - 1);
    return &memory.place;
}

static void memory_close(void)
{
    for (size_t i = 0; i < NB_FILES; i++)
        free(memory.files[i].bytes);
}

static void memory_replace_image(void)
{
    memory.files[0].generation++;
}

int main(void)
{
    static const struct place_fixture fixture = {.name = "memory",
                                                 .open = memory_open,
                                                 .close = memory_close,
                                                 .replace_image = memory_replace_image,
                                                 .free_space = FREE_SPACE};

    place_suite(&fixture);
    return t_done();
}
