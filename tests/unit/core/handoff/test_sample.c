/* core/handoff/sample.c: which places are sampled, and that changed bytes there are noticed. */
#include "q2_handoff.h"

#include <stdlib.h>

#include "drivers/memory/source.h"
#include "tests/support/t.h"

#define MAX_SIZE (1u << 20)

static uint8_t content[MAX_SIZE];
static uint8_t buffer[Q2_HANDOFF_SAMPLE_SIZE];
static struct q2_file_extent extents[1024];
static struct q2_handoff_sample samples[Q2_HANDOFF_MAX_SAMPLES];

/* A file of this size in extents of a length. */
static size_t build(struct q2_source_memory *memory, uint64_t size, uint64_t length)
{
    size_t nb = 0;

    for (size_t i = 0; i < size; i++)
        content[i] = (uint8_t)(i * 7 + i / 512);
    q2_source_memory_init(memory, content, size, size, false, "disk.qcow2");
    for (uint64_t at = 0; at < size; at += length, nb++)
        extents[nb] = (struct q2_file_extent){at, 0, size - at < length ? size - at : length};
    return nb;
}

static void test_handoff_sample_covers_head_tail_and_extents(void)
{
    static const struct {
        const char *name;
        uint64_t size, length;
        uint32_t want_nb;
    } rows[] = {
        {"empty", 0, 512, 0},
        {"one byte", 1, 512, 1},
        {"one sample", 4096, 4096, 1},
        {"one byte more", 4097, 8192, 2},
        {"one extent", MAX_SIZE, MAX_SIZE, 2},
        {"four extents", MAX_SIZE, MAX_SIZE / 4, 5},
        {"last extent shorter than a sample", 65536 + 100, 65536, 2},
        {"all 126", 126 * 8192, 8192, 127},
        {"more than are sampled", MAX_SIZE, 1024, 126},
    };

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct q2_source_memory memory;
        size_t nb_extents = build(&memory, rows[i].size, rows[i].length);
        uint32_t nb = 99;

        t_row(rows[i].name);
        T_CHECK_U64(q2_handoff_sample(&memory.source, extents, nb_extents, buffer, samples, &nb),
                    Q2_OK);
        T_CHECK_U64(nb, rows[i].want_nb);
        if (nb == 0)
            continue;
        T_CHECK_U64(samples[0].offset, 0);
        T_CHECK(samples[nb - 1].offset + Q2_HANDOFF_SAMPLE_SIZE >= rows[i].size);
        for (uint32_t n = 1; n < nb; n++)
            T_CHECK(samples[n].offset > samples[n - 1].offset);
    }
}

static void test_handoff_verify_notices_a_changed_byte(void)
{
    static const uint64_t places[] = {0, 4095, 65536, 3 * 65536 + 100, 4 * 65536 - 1};
    struct q2_source_memory memory;
    size_t nb_extents = build(&memory, 4 * 65536, 65536);
    struct q2_handoff_file file = {.path = "disk.qcow2", .samples = samples};
    struct q2_fault fault = {.status = Q2_OK};

    T_CHECK_U64(
        q2_handoff_sample(&memory.source, extents, nb_extents, buffer, samples, &file.nb_samples),
        Q2_OK);
    T_CHECK_U64(q2_handoff_verify(&memory.source, &file, buffer, &fault), Q2_OK);
    for (size_t i = 0; i < sizeof(places) / sizeof(places[0]); i++) {
        content[places[i]] ^= 0x10;
        T_CHECK_U64(q2_handoff_verify(&memory.source, &file, buffer, &fault), Q2_ERR_MEDIA_CHANGED);
        T_CHECK(places[i] - fault.offset < Q2_HANDOFF_SAMPLE_SIZE);
        content[places[i]] ^= 0x10;
    }
}

static enum q2_status failing_read(struct q2_source *source, uint64_t offset, void *to,
                                   size_t length)
{
    (void)source;
    (void)offset;
    (void)to;
    (void)length;
    return Q2_ERR_NO_MEDIA;
}

static void test_handoff_sample_failing_source_is_reported(void)
{
    static const struct q2_source_ops ops = {.read_at = failing_read};
    struct q2_source source = {.ops = &ops, .path = "x", .size = 100};
    struct q2_handoff_file file = {.path = "x", .nb_samples = 1, .samples = samples};
    struct q2_fault fault = {.status = Q2_OK};
    uint32_t nb = 7;

    samples[0].offset = 0;
    T_CHECK_U64(q2_handoff_sample(&source, NULL, 0, buffer, samples, &nb), Q2_ERR_NO_MEDIA);
    T_CHECK_U64(nb, 7);
    T_CHECK_U64(q2_handoff_verify(&source, &file, buffer, &fault), Q2_ERR_NO_MEDIA);
    T_CHECK_STR(fault.file, "x");
}

int main(void)
{
    T_RUN(test_handoff_sample_covers_head_tail_and_extents);
    T_RUN(test_handoff_verify_notices_a_changed_byte);
    T_RUN(test_handoff_sample_failing_source_is_reported);
    return t_done();
}
