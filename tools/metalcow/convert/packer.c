/* The packer: a ring of slots, each a chunk of clusters.
 *
 * May call the encoders of drivers/codec/, in threads. Invariant: stored <= taken <= filled
 * <= stored + nb_slots; slots [stored, taken) are a worker's until done, [taken, filled) wait, the
 * rest are free. The counters and `done` are touched under the lock only.
 */
#include "packer.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "drivers/codec/encoder.h"
#include "q2_disk.h"

#include "tools/metalcow/base/zeros.h"

#define MEMORY_ALIGN 64u

struct slot {
    uint64_t at;
    size_t length;
    uint8_t *input, *output; /* chunk_size each; cluster i's stream is at i * cluster_size */
    struct encoded_cluster {
        bool zero;
        uint32_t stream_length; /* 0: not encoded */
    } * pieces;
    bool done;
};

struct packer {
    struct packer_options options;
    struct slot *slots;
    unsigned nb_slots;
    uint64_t filled, taken, stored; /* slots so far; slot i is stored at i % nb_slots */
    bool stop;
    pthread_mutex_t lock;
    pthread_cond_t has_work, has_done;
    pthread_t *threads;
    unsigned nb_threads; /* that run */
};

static struct slot *slot_at(struct packer *packer, uint64_t index)
{
    return &packer->slots[index % packer->nb_slots];
}

/* --- workers ------------------------------------------------------------------------------- */

static struct q2_encoder *encoder_new(const struct packer_options *options, void **ret_memory)
{
    bool zstd = options->compression_type == Q2_COMPRESSION_ZSTD;
    size_t size = zstd ? q2_encoder_zstd_size(options->cluster_size)
                       : q2_encoder_zlib_size(options->cluster_size);
    void *memory =
        aligned_alloc(MEMORY_ALIGN, (size + MEMORY_ALIGN - 1) / MEMORY_ALIGN * MEMORY_ALIGN);

    *ret_memory = memory;
    if (!memory)
        return NULL;
    return zstd ? q2_encoder_zstd_init(memory, options->cluster_size)
                : q2_encoder_zlib_init(memory, options->cluster_size);
}

/* Without an encoder (no memory) every cluster is stored as it is. */
static void pack(const struct packer *packer, struct q2_encoder *encoder, struct slot *slot)
{
    size_t cluster_size = packer->options.cluster_size;

    for (size_t at = 0, i = 0; at < slot->length; at += cluster_size, i++) {
        struct encoded_cluster *piece = &slot->pieces[i];

        piece->stream_length = 0;
        piece->zero = packer->options.find_zeros && is_zero(slot->input + at, cluster_size);
        if (!piece->zero && encoder)
            piece->stream_length = (uint32_t)encoder->encode(
                encoder, slot->input + at, cluster_size, slot->output + at, cluster_size - 1);
    }
}

static void *work(void *argument)
{
    struct packer *packer = argument;
    void *memory;
    struct q2_encoder *encoder = encoder_new(&packer->options, &memory);

    pthread_mutex_lock(&packer->lock);
    for (;;) {
        struct slot *slot;

        while (!packer->stop && packer->taken == packer->filled)
            pthread_cond_wait(&packer->has_work, &packer->lock);
        if (packer->stop)
            break;
        slot = slot_at(packer, packer->taken++);
        pthread_mutex_unlock(&packer->lock);
        pack(packer, encoder, slot);
        pthread_mutex_lock(&packer->lock);
        slot->done = true;
        pthread_cond_signal(&packer->has_done);
    }
    pthread_mutex_unlock(&packer->lock);
    free(memory);
    return NULL;
}

/* --- the submitting thread ----------------------------------------------------------------- */

static bool store_slot(struct packer *packer, const struct slot *slot)
{
    size_t cluster_size = packer->options.cluster_size;

    for (size_t at = 0, i = 0; at < slot->length; at += cluster_size, i++) {
        const struct encoded_cluster *piece = &slot->pieces[i];
        struct packed packed = {
            .at = slot->at + at,
            .bytes = slot->input + at,
            .length = slot->length - at < cluster_size ? slot->length - at : cluster_size,
            .zero = piece->zero,
            .stream = piece->stream_length > 0 ? slot->output + at : NULL,
            .stream_length = piece->stream_length,
        };

        if (!packer->options.store(packer->options.context, &packed))
            return false;
    }
    return true;
}

static bool store_oldest(struct packer *packer)
{
    struct slot *slot = slot_at(packer, packer->stored);

    pthread_mutex_lock(&packer->lock);
    while (!slot->done)
        pthread_cond_wait(&packer->has_done, &packer->lock);
    slot->done = false;
    pthread_mutex_unlock(&packer->lock);
    packer->stored++;
    return store_slot(packer, slot);
}

uint8_t *packer_buffer(struct packer *packer)
{
    if (packer->filled - packer->stored == packer->nb_slots && !store_oldest(packer))
        return NULL;
    return slot_at(packer, packer->filled)->input;
}

void packer_submit(struct packer *packer, uint64_t at, size_t length)
{
    struct slot *slot = slot_at(packer, packer->filled);
    size_t tail = length % packer->options.cluster_size;

    slot->at = at;
    slot->length = length;
    if (tail != 0) /* a stream always decodes to a whole cluster */
        memset(slot->input + length, 0, packer->options.cluster_size - tail);
    pthread_mutex_lock(&packer->lock);
    packer->filled++;
    pthread_cond_signal(&packer->has_work);
    pthread_mutex_unlock(&packer->lock);
}

bool packer_drain(struct packer *packer)
{
    while (packer->stored < packer->filled) {
        if (!store_oldest(packer))
            return false;
    }
    return true;
}

/* --- making and freeing -------------------------------------------------------------------- */

static bool make_slots(struct packer *packer)
{
    size_t chunk = packer->options.chunk_size;

    packer->slots = calloc(packer->nb_slots, sizeof(*packer->slots));
    if (!packer->slots)
        return false;
    for (unsigned i = 0; i < packer->nb_slots; i++) {
        struct slot *slot = &packer->slots[i];

        slot->input = malloc(chunk);
        slot->output = malloc(chunk);
        slot->pieces = calloc(chunk / packer->options.cluster_size, sizeof(*slot->pieces));
        if (!slot->input || !slot->output || !slot->pieces)
            return false;
    }
    return true;
}

/* Start as many threads as the system allows, up to nb_threads. false: it allows none. */
static bool start_threads(struct packer *packer)
{
    packer->threads = calloc(packer->options.nb_threads, sizeof(*packer->threads));
    if (!packer->threads)
        return false;
    while (packer->nb_threads < packer->options.nb_threads &&
           pthread_create(&packer->threads[packer->nb_threads], NULL, work, packer) == 0)
        packer->nb_threads++;
    return packer->nb_threads > 0;
}

struct packer *packer_new(const struct packer_options *options)
{
    struct packer *packer = calloc(1, sizeof(*packer));

    if (!packer)
        return NULL;
    packer->options = *options;
    packer->nb_slots = options->nb_threads * 2 + 1;
    pthread_mutex_init(&packer->lock, NULL);
    pthread_cond_init(&packer->has_work, NULL);
    pthread_cond_init(&packer->has_done, NULL);
    if (make_slots(packer) && start_threads(packer))
        return packer;
    packer_free(packer);
    return NULL;
}

void packer_free(struct packer *packer)
{
    if (!packer)
        return;
    pthread_mutex_lock(&packer->lock);
    packer->stop = true;
    pthread_cond_broadcast(&packer->has_work);
    pthread_mutex_unlock(&packer->lock);
    for (unsigned i = 0; i < packer->nb_threads; i++)
        pthread_join(packer->threads[i], NULL);
    for (unsigned i = 0; packer->slots && i < packer->nb_slots; i++) {
        free(packer->slots[i].input);
        free(packer->slots[i].output);
        free(packer->slots[i].pieces);
    }
    pthread_cond_destroy(&packer->has_done);
    pthread_cond_destroy(&packer->has_work);
    pthread_mutex_destroy(&packer->lock);
    free(packer->slots);
    free(packer->threads);
    free(packer);
}
