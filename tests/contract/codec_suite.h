/* The contract of include/q2_codec.h as cases: the same ones run against every codec.
 *
 * A test program fills a struct codec_under_test and calls codec_suite_run(); cases of one format
 * only stand in its own test_codec_*.c and use the helpers here. As with t.h, everything is static
 * because the counters of t.h are.
 */
#ifndef METALCOW_TESTS_CODEC_SUITE_H
#define METALCOW_TESTS_CODEC_SUITE_H

#include <stdlib.h>

#include "q2_codec.h"

#include "tests/support/t.h"
#include "codec_encode.h"

#define MAX_CLUSTER    ((size_t)2 << 20)
#define GUARD          64
#define GUARD_BYTE     0xa5
#define SUITE_SEED     UINT64_C(0x6d6574616c636f77)
#define BIT_FLIP_RUNS  6000
#define BITS_OF_HEADS  512 /* of a stream: each of them is flipped, later ones are sampled */
#define SMALL_CLUSTERS 2

typedef size_t codec_encode_fn(const struct codec_encoding *encoding, const void *content,
                               size_t length, void *stream, size_t room);

struct codec_under_test {
    const char *name;
    struct q2_codec *codec;
    codec_encode_fn *encode;
    const struct codec_encoding *encodings; /* all valid for every cluster size; [0] is QEMU's */
    size_t nb_encodings;
};

static const struct codec_under_test *suite;

static const size_t small_clusters[SMALL_CLUSTERS] = {512, 4096};

/* ---- contents ---- */

static uint64_t random_state;

static uint64_t random_next(void)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return random_state;
}

static void fill_zeros(uint8_t *to, size_t length)
{
    memset(to, 0, length);
}

static void fill_text(uint8_t *to, size_t length)
{
    static const char words[] = "the L2 table of a layer names host clusters and refcounts ";

    for (size_t i = 0; i < length; i++)
        to[i] = (uint8_t)words[(i + i / 97 * 13) % (sizeof(words) - 1)];
}

static void fill_random(uint8_t *to, size_t length)
{
    for (size_t i = 0; i < length; i++)
        to[i] = (uint8_t)random_next();
}

/* Runs of random length, literal, repeated from before, or constant: every kind of token. */
static void fill_mixed(uint8_t *to, size_t length)
{
    for (size_t at = 0; at < length;) {
        size_t run = 1 + random_next() % 600, kind = random_next() % 3;
        size_t back = at == 0 ? 0 : 1 + random_next() % at;

        for (; run > 0 && at < length; run--, at++) {
            if (kind == 0 || back == 0)
                to[at] = (uint8_t)(random_next() % 64);
            else
                to[at] = to[at - (kind == 1 ? back : 1)];
        }
    }
}

static const struct {
    const char *name;
    void (*fill)(uint8_t *to, size_t length);
} contents[] = {
    {"zeros", fill_zeros}, {"text", fill_text}, {"random", fill_random}, {"mixed", fill_mixed}};
#define NB_CONTENTS (sizeof(contents) / sizeof(contents[0]))

static uint8_t *content_make(size_t kind, size_t length)
{
    uint8_t *content = malloc(length + 1);

    random_state = SUITE_SEED + kind + length;
    contents[kind].fill(content, length);
    return content;
}

/* ---- one call of the codec, watched ---- */

/* Decode into a buffer between guard bytes, from a copy of the input that ends where its memory
 * ends, so that ASan sees a read past it. want is compared when the codec says Q2_OK; NULL: any.
 */
static enum q2_status decode_watched(const void *stream, size_t stream_length, size_t cluster_size,
                                     const void *want)
{
    static uint8_t room[GUARD + MAX_CLUSTER + GUARD];
    uint8_t *copy = malloc(stream_length > 0 ? stream_length : 1), *output = room + GUARD;
    enum q2_status status;

    memcpy(copy, stream, stream_length);
    memset(room, GUARD_BYTE, GUARD);
    memset(output + cluster_size, GUARD_BYTE, GUARD);
    status = suite->codec->ops->decode(suite->codec, copy, stream_length, output, cluster_size);
    T_CHECK(memcmp(copy, stream, stream_length) == 0);
    for (size_t i = 0; i < GUARD; i++)
        T_CHECK(room[i] == GUARD_BYTE && output[cluster_size + i] == GUARD_BYTE);
    T_CHECK(status == Q2_OK || status == Q2_ERR_BAD_COMPRESSED);
    if (status == Q2_OK && want != NULL)
        T_CHECK(memcmp(output, want, cluster_size) == 0);
    free(copy);
    return status;
}

struct stream {
    uint8_t *bytes;
    size_t length;
};

static struct stream stream_make(const struct codec_encoding *encoding, const void *content,
                                 size_t length)
{
    struct stream stream = {.bytes = malloc(CODEC_ENCODE_ROOM(length))};

    stream.length =
        suite->encode(encoding, content, length, stream.bytes, CODEC_ENCODE_ROOM(length));
    return stream;
}

/* Run visit for a stream of each encoding and content, of a cluster of that size. */
static void for_each_stream(size_t cluster_size,
                            void (*visit)(const struct stream *stream, const uint8_t *content,
                                          size_t cluster_size))
{
    char row[128];

    for (size_t e = 0; e < suite->nb_encodings; e++) {
        for (size_t c = 0; c < NB_CONTENTS; c++) {
            uint8_t *content = content_make(c, cluster_size);
            struct stream stream = stream_make(&suite->encodings[e], content, cluster_size);

            (void)snprintf(row, sizeof(row), "%s, %s, %zu bytes", suite->encodings[e].name,
                           contents[c].name, cluster_size);
            t_row(row);
            visit(&stream, content, cluster_size);
            free(stream.bytes);
            free(content);
        }
    }
}

/* ---- the cases ---- */

static void visit_valid(const struct stream *stream, const uint8_t *content, size_t cluster_size)
{
    T_CHECK_U64(decode_watched(stream->bytes, stream->length, cluster_size, content), Q2_OK);
}

static void test_decode_valid_stream_gives_the_cluster(void)
{
    for (size_t size = 512; size <= MAX_CLUSTER; size *= 2)
        for_each_stream(size, visit_valid);
}

static void visit_slack(const struct stream *stream, const uint8_t *content, size_t cluster_size)
{
    static const size_t slacks[] = {1, 2, 3, 4, 7, 8, 17, 511, 1024};
    uint8_t *bytes = malloc(stream->length + 1024);

    memcpy(bytes, stream->bytes, stream->length);
    for (size_t fill = 0; fill < 4; fill++) {
        for (size_t i = 0; i < 1024; i++) {
            uint8_t again = stream->bytes[i % stream->length];
            uint8_t kinds[] = {0, 0xff, (uint8_t)random_next(), again};
            bytes[stream->length + i] = kinds[fill];
        }
        for (size_t i = 0; i < sizeof(slacks) / sizeof(slacks[0]); i++)
            T_CHECK_U64(decode_watched(bytes, stream->length + slacks[i], cluster_size, content),
                        Q2_OK);
    }
    free(bytes);
}

static void test_decode_slack_behind_stream_is_ignored(void)
{
    for_each_stream(small_clusters[0], visit_slack);
    for_each_stream((size_t)64 << 10, visit_slack);
}

static void visit_truncated(const struct stream *stream, const uint8_t *content,
                            size_t cluster_size)
{
    (void)content;
    for (size_t length = 0; length < stream->length; length++)
        T_CHECK_U64(decode_watched(stream->bytes, length, cluster_size, NULL),
                    Q2_ERR_BAD_COMPRESSED);
}

static void test_decode_stream_cut_at_every_byte_is_refused(void)
{
    for (size_t i = 0; i < SMALL_CLUSTERS; i++)
        for_each_stream(small_clusters[i], visit_truncated);
}

/* The stream holds one of these more or fewer bytes than the cluster that it is read as. */
static void visit_wrong_size(const struct stream *stream, const uint8_t *content,
                             size_t stream_content)
{
    static const size_t clusters[] = {512, 1024, 4096, 65536};

    (void)content;
    for (size_t i = 0; i < sizeof(clusters) / sizeof(clusters[0]); i++)
        if (clusters[i] != stream_content)
            T_CHECK_U64(decode_watched(stream->bytes, stream->length, clusters[i], NULL),
                        Q2_ERR_BAD_COMPRESSED);
}

static void test_decode_more_or_fewer_bytes_than_the_cluster_is_refused(void)
{
    static const size_t lengths[] = {1,    2,    255,   511,   512,   513,    1023,  1025,
                                     4095, 4097, 65535, 65536, 65537, 131072, 200000};

    for (size_t i = 0; i < sizeof(lengths) / sizeof(lengths[0]); i++)
        for_each_stream(lengths[i], visit_wrong_size);
}

static void visit_every_bit(const struct stream *stream, const uint8_t *content,
                            size_t cluster_size)
{
    uint8_t *bytes = malloc(stream->length);

    (void)content;
    memcpy(bytes, stream->bytes, stream->length);
    for (size_t bit = 0; bit < stream->length * 8; bit += bit < BITS_OF_HEADS ? 1 : 5) {
        bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
        (void)decode_watched(bytes, stream->length, cluster_size, NULL);
        bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
    free(bytes);
}

static void test_decode_each_bit_flipped_stays_inside_the_buffers(void)
{
    for_each_stream(small_clusters[0], visit_every_bit);
}

/* Several bytes changed at once, sometimes cut, sometimes read as another cluster size. */
static void visit_noise(const struct stream *stream, const uint8_t *content, size_t cluster_size)
{
    uint8_t *bytes = malloc(stream->length);

    (void)content;
    for (size_t run = 0; run < BIT_FLIP_RUNS / (NB_CONTENTS * suite->nb_encodings); run++) {
        size_t length = stream->length - (run % 3 == 0 ? random_next() % stream->length : 0);

        memcpy(bytes, stream->bytes, stream->length);
        for (size_t n = 1 + random_next() % 8; n > 0; n--)
            bytes[random_next() % stream->length] = (uint8_t)random_next();
        (void)decode_watched(bytes, length, cluster_size >> (run % 4), NULL);
    }
    free(bytes);
}

static void test_decode_noise_in_stream_stays_inside_the_buffers(void)
{
    printf("# seed 0x%" PRIx64 "\n", SUITE_SEED);
    for_each_stream(small_clusters[1], visit_noise);
}

static void test_decode_random_input_is_refused(void)
{
    uint8_t bytes[700];
    size_t nb_ok = 0;

    random_state = SUITE_SEED;
    for (size_t run = 0; run < 2000; run++) {
        fill_random(bytes, sizeof(bytes));
        nb_ok += decode_watched(bytes, 1 + run % sizeof(bytes), 4096, NULL) == Q2_OK;
    }
    T_CHECK_U64(nb_ok, 0);
}

static void test_decode_bomb_is_refused(void)
{
    size_t length = (size_t)64 << 20;
    uint8_t *content = calloc(1, length);
    struct stream stream = stream_make(&suite->encodings[0], content, length);

    T_CHECK(stream.length < length / 500);
    for (size_t size = 512; size <= MAX_CLUSTER; size *= 4)
        T_CHECK_U64(decode_watched(stream.bytes, stream.length, size, NULL), Q2_ERR_BAD_COMPRESSED);
    free(stream.bytes);
    free(content);
}

static void test_decode_empty_input_is_refused(void)
{
    uint8_t byte = 0;

    T_CHECK_U64(decode_watched("", 0, 512, NULL), Q2_ERR_BAD_COMPRESSED);
    do
        T_CHECK_U64(decode_watched(&byte, 1, 512, NULL), Q2_ERR_BAD_COMPRESSED);
    while (byte++ < 0xff);
}

static void visit_after_error(const struct stream *stream, const uint8_t *content,
                              size_t cluster_size)
{
    T_CHECK_U64(decode_watched(stream->bytes, stream->length / 2, cluster_size, NULL),
                Q2_ERR_BAD_COMPRESSED);
    T_CHECK_U64(decode_watched(stream->bytes, stream->length, cluster_size, content), Q2_OK);
}

static void test_decode_after_an_error_works_again(void)
{
    for_each_stream(small_clusters[1], visit_after_error);
}

static void visit_unaligned(const struct stream *stream, const uint8_t *content,
                            size_t cluster_size)
{
    uint8_t *from = malloc(stream->length + 8), *to = malloc(cluster_size + 8);

    for (size_t shift = 0; shift < 8; shift++) {
        memcpy(from + shift, stream->bytes, stream->length);
        T_CHECK_U64(suite->codec->ops->decode(suite->codec, from + shift, stream->length,
                                              to + 7 - shift, cluster_size),
                    Q2_OK);
        T_CHECK(memcmp(to + 7 - shift, content, cluster_size) == 0);
    }
    free(from);
    free(to);
}

static void test_decode_unaligned_buffers_are_fine(void)
{
    for_each_stream(small_clusters[1], visit_unaligned);
}

/* ---- running ---- */

struct codec_case {
    const char *name;
    void (*run)(void);
};

#define CODEC_CASE(function)                                                                       \
    {                                                                                              \
#function, function                                                                        \
    }

static const struct codec_case contract_cases[] = {
    CODEC_CASE(test_decode_valid_stream_gives_the_cluster),
    CODEC_CASE(test_decode_slack_behind_stream_is_ignored),
    CODEC_CASE(test_decode_stream_cut_at_every_byte_is_refused),
    CODEC_CASE(test_decode_more_or_fewer_bytes_than_the_cluster_is_refused),
    CODEC_CASE(test_decode_each_bit_flipped_stays_inside_the_buffers),
    CODEC_CASE(test_decode_noise_in_stream_stays_inside_the_buffers),
    CODEC_CASE(test_decode_random_input_is_refused),
    CODEC_CASE(test_decode_bomb_is_refused),
    CODEC_CASE(test_decode_empty_input_is_refused),
    CODEC_CASE(test_decode_after_an_error_works_again),
    CODEC_CASE(test_decode_unaligned_buffers_are_fine),
};

static void cases_run(const struct codec_case *cases, size_t nb_cases)
{
    char name[160];

    for (size_t i = 0; i < nb_cases; i++) {
        cases[i].run();
        (void)snprintf(name, sizeof(name), "%s: %s", suite->name, cases[i].name);
        t_case_end(name);
    }
}

/* The contract's cases, then the format's own. */
static int codec_suite_run(const struct codec_under_test *codec, const struct codec_case *own_cases,
                           size_t nb_own_cases)
{
    suite = codec;
    cases_run(contract_cases, sizeof(contract_cases) / sizeof(contract_cases[0]));
    cases_run(own_cases, nb_own_cases);
    return t_done();
}

#endif
