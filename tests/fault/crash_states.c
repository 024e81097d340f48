/* Every content that files may have after a power cut.
 *
 * Two contents of each file are kept: `durable`, as of its last flush, and `found`, the state at
 * hand, which is made from durable by applying events and made equal to it again after the visit.
 */
#include "crash_states.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SECTOR        512u
#define MAX_IN_FLIGHT 4096u

struct file {
    uint8_t *durable;
    uint64_t durable_size;
    uint64_t *hashes;  /* of the sectors of durable; a sector of zeros has 0 */
    uint32_t *visited; /* sectors that the state at hand has changed: its number */
};

struct walk {
    const struct crash_log *log;
    const struct crash_bounds *bounds;
    struct crash_visitor *visitor;
    uint32_t nb_files;
    struct file files[CRASH_MAX_FILES];
    struct crash_file found[CRASH_MAX_FILES];
    uint64_t durable_hash;
    uint32_t state_number;
    size_t in_flight[MAX_IN_FLIGHT]; /* events, oldest first */
    uint32_t nb_in_flight;
    bool chosen[MAX_IN_FLIGHT];
    size_t torn_length; /* of the last one chosen; 0: whole */
    uint64_t seed;
    bool stopped;
};

uint64_t crash_random(uint64_t *seed)
{
    uint64_t z = *seed += 0x9e3779b97f4a7c15ull;

    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ull;
    z = (z ^ z >> 27) * 0x94d049bb133111ebull;
    return z ^ z >> 31;
}

static uint64_t hash_sector(uint32_t file, uint64_t index, const uint8_t *bytes)
{
    uint64_t seed = index * 2 + file + 1, hash = 0, any = 0;

    for (size_t i = 0; i < SECTOR; i += 8) {
        uint64_t word;
        memcpy(&word, bytes + i, 8);
        any |= word;
        hash = (hash ^ word) * 0xd6e8feb86659fd93ull;
        hash ^= hash >> 32;
    }
    if (any == 0)
        return 0;
    hash ^= crash_random(&seed);
    return crash_random(&hash);
}

/* --- one state ------------------------------------------------------------------------------- */

/* The bytes of a write that reach a file of this size. */
static size_t inside(const struct crash_event *event, size_t length, uint64_t size)
{
    if (event->offset >= size)
        return 0;
    return length < size - event->offset ? length : (size_t)(size - event->offset);
}

static size_t length_of(const struct walk *w, uint32_t i, uint32_t last)
{
    const struct crash_event *event = &w->log->events[w->in_flight[i]];

    return i == last && w->torn_length > 0 ? w->torn_length : event->length;
}

static void apply(const struct walk *w, struct crash_file *file, const struct crash_event *event,
                  size_t length)
{
    if (event->call == CRASH_GROW || event->call == CRASH_CUT) {
        if ((event->offset > file->size) == (event->call == CRASH_GROW))
            file->size = event->offset;
        return;
    }
    length = inside(event, length, file->size);
    if (length > 0)
        memcpy(file->bytes + event->offset, w->log->arena + event->bytes, length);
}

/* The state's hash: durable's, with the sectors exchanged that the state changes. */
static uint64_t hash_state(struct walk *w, uint32_t last)
{
    uint64_t hash = w->durable_hash;

    for (uint32_t i = 0; i < w->nb_in_flight; i++) {
        const struct crash_event *event = &w->log->events[w->in_flight[i]];
        struct file *file = &w->files[event->file];
        size_t length = length_of(w, i, last);

        if (!w->chosen[i] || event->call != CRASH_WRITE)
            continue;
        for (uint64_t s = event->offset / SECTOR; s < (event->offset + length) / SECTOR; s++) {
            if (file->visited[s] == w->state_number)
                continue;
            file->visited[s] = w->state_number;
            hash ^= file->hashes[s] ^
                    hash_sector(event->file, s, w->found[event->file].bytes + s * SECTOR);
        }
    }
    for (uint32_t i = 0; i < w->nb_files; i++) {
        uint64_t size = w->found[i].size * 2 + i;
        hash ^= crash_random(&size);
    }
    return hash;
}

/* Undo what apply() did. */
static void restore(struct walk *w)
{
    for (uint32_t i = 0; i < w->nb_files; i++)
        w->found[i].size = w->files[i].durable_size;
    for (uint32_t i = 0; i < w->nb_in_flight; i++) {
        const struct crash_event *event = &w->log->events[w->in_flight[i]];
        if (w->chosen[i] && event->call == CRASH_WRITE)
            memcpy(w->found[event->file].bytes + event->offset,
                   w->files[event->file].durable + event->offset, event->length);
    }
}

/* Build and visit the state of the chosen events. */
static void visit(struct walk *w, uint32_t op)
{
    uint32_t last = w->nb_in_flight;
    struct crash_state state = {.files = w->found, .nb_files = w->nb_files, .op = op};

    if (w->stopped)
        return;
    w->state_number++;
    for (uint32_t i = 0; i < w->nb_in_flight; i++)
        last = w->chosen[i] ? i : last;
    for (uint32_t i = 0; i < w->nb_in_flight; i++) {
        const struct crash_event *event = &w->log->events[w->in_flight[i]];
        if (w->chosen[i])
            apply(w, &w->found[event->file], event, length_of(w, i, last));
    }
    state.hash = hash_state(w, last);
    w->stopped = !w->visitor->visit(w->visitor, &state);
    restore(w);
}

/* --- which states ---------------------------------------------------------------------------- */

static void choose_mask(struct walk *w, uint64_t mask)
{
    for (uint32_t i = 0; i < w->nb_in_flight; i++)
        w->chosen[i] = i < 64 && (mask >> i & 1);
}

/* Too many for all subsets: every prefix, each one missing, each one alone, and a sample. */
static void visit_some(struct walk *w, uint32_t op)
{
    uint32_t n = w->nb_in_flight;

    for (uint32_t length = 0; length <= n; length++) {
        for (uint32_t i = 0; i < n; i++)
            w->chosen[i] = i < length;
        visit(w, op);
    }
    for (uint32_t odd = 0; odd < 2 * n; odd++) {
        for (uint32_t i = 0; i < n; i++)
            w->chosen[i] = (i == odd / 2) == (odd % 2 == 0);
        visit(w, op);
    }
    for (uint32_t k = 0; k < w->bounds->sample; k++) {
        uint64_t bits = 0;
        for (uint32_t i = 0; i < n; i++) {
            if (i % 64 == 0)
                bits = crash_random(&w->seed);
            w->chosen[i] = bits >> i % 64 & 1;
        }
        visit(w, op);
    }
}

/* A cut here: subsets of what is in flight. */
static void visit_subsets(struct walk *w, uint32_t op)
{
    w->torn_length = 0;
    if (w->nb_in_flight > w->bounds->all_up_to) {
        visit_some(w, op);
        return;
    }
    for (uint64_t mask = 0; mask < 1ull << w->nb_in_flight; mask++) {
        choose_mask(w, mask);
        visit(w, op);
    }
}

/* The newest write torn, after everything before it and alone. */
static void visit_torn(struct walk *w, uint32_t op)
{
    const struct crash_event *event = &w->log->events[w->in_flight[w->nb_in_flight - 1]];
    size_t nb = event->length / SECTOR;
    size_t step = w->bounds->tears > 0 ? (nb + w->bounds->tears - 1) / w->bounds->tears : nb;

    for (size_t k = 1; k<nb; k += step> 0 ? step : 1) {
        w->torn_length = k * SECTOR;
        for (uint32_t i = 0; i < w->nb_in_flight; i++)
            w->chosen[i] = true;
        visit(w, op);
        for (uint32_t i = 0; i + 1 < w->nb_in_flight; i++)
            w->chosen[i] = false;
        visit(w, op);
    }
    w->torn_length = 0;
}

/* --- from event to event --------------------------------------------------------------------- */

/* One event has become durable. */
static void settle(struct walk *w, const struct crash_event *event)
{
    struct file *file = &w->files[event->file];
    struct crash_file durable = {file->durable, file->durable_size, 0};

    apply(w, &durable, event, event->length);
    apply(w, &w->found[event->file], event, event->length);
    file->durable_size = durable.size;
    if (event->call != CRASH_WRITE)
        return;
    for (uint64_t s = event->offset / SECTOR; s < (event->offset + event->length) / SECTOR; s++) {
        w->durable_hash ^= file->hashes[s];
        file->hashes[s] = hash_sector(event->file, s, file->durable + s * SECTOR);
        w->durable_hash ^= file->hashes[s];
    }
}

static void settle_file(struct walk *w, uint32_t file)
{
    uint32_t left = 0;

    for (uint32_t i = 0; i < w->nb_in_flight; i++) {
        const struct crash_event *event = &w->log->events[w->in_flight[i]];
        if (event->file == file)
            settle(w, event);
        else
            w->in_flight[left++] = w->in_flight[i];
    }
    w->nb_in_flight = left;
}

static void start_file(struct walk *w, uint32_t index, const uint8_t *bytes, uint64_t size,
                       uint64_t capacity)
{
    struct file *file = &w->files[index];
    uint64_t room = capacity + SECTOR;

    file->durable = crash_buffer_take(room);
    memset(file->durable, 0, room);
    memcpy(file->durable, bytes, size);
    file->durable_size = size;
    file->hashes = crash_buffer_take(room / SECTOR * sizeof(*file->hashes));
    file->visited = crash_buffer_take(room / SECTOR * sizeof(*file->visited));
    memset(file->visited, 0, room / SECTOR * sizeof(*file->visited));
    for (uint64_t s = 0; s < room / SECTOR; s++) {
        file->hashes[s] = hash_sector(index, s, file->durable + s * SECTOR);
        w->durable_hash ^= file->hashes[s];
    }
    w->found[index] = (struct crash_file){crash_buffer_take(room), size, capacity};
    memcpy(w->found[index].bytes, file->durable, room);
}

static void walk_events(struct walk *w, uint32_t nb_ops)
{
    for (size_t i = 0; i < w->log->nb_events && !w->stopped; i++) {
        const struct crash_event *event = &w->log->events[i];

        if (event->call == CRASH_FLUSH) {
            if (w->nb_in_flight > 0)
                visit_subsets(w, event->op);
            settle_file(w, event->file);
            continue;
        }
        if (w->nb_in_flight == MAX_IN_FLIGHT) {
            printf("# too many writes without a flush\n");
            abort();
        }
        w->in_flight[w->nb_in_flight++] = i;
        if (event->call == CRASH_WRITE && event->length > SECTOR)
            visit_torn(w, event->op);
    }
    visit_subsets(w, nb_ops);
}

void crash_states_visit(const struct crash_log *log, const uint8_t *const *initial,
                        const uint64_t *sizes, const uint64_t *capacities, uint32_t nb_files,
                        uint32_t nb_ops, const struct crash_bounds *bounds,
                        struct crash_visitor *visitor)
{
    struct walk *w = crash_memory(NULL, sizeof(*w));

    memset(w, 0, sizeof(*w));
    w->log = log;
    w->bounds = bounds;
    w->visitor = visitor;
    w->nb_files = nb_files;
    w->seed = bounds->seed;
    for (uint32_t i = 0; i < nb_files; i++)
        start_file(w, i, initial[i], sizes[i], capacities[i]);
    walk_events(w, nb_ops);
    for (uint32_t i = 0; i < nb_files; i++) {
        const uint64_t room = capacities[i] + SECTOR;

        crash_buffer_give(w->files[i].durable, room);
        crash_buffer_give(w->files[i].hashes, room / SECTOR * sizeof(*w->files[i].hashes));
        crash_buffer_give(w->files[i].visited, room / SECTOR * sizeof(*w->files[i].visited));
        crash_buffer_give(w->found[i].bytes, room);
    }
    free(w);
}
