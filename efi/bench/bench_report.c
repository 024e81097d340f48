/* The bench's table and its JSON.
 *
 * May call the console.
 */
#include "bench.h"

#include "efi/base/console.h"
#include "efi/base/text.h"

/* Longer lines are broken by consoles of 80 columns. */
#define MAX_COLUMNS 76u

struct line {
    struct q2_line text;
    char buffer[200];
};

static void line_start(struct line *line)
{
    line->text = q2_line_start(line->buffer, sizeof(line->buffer));
}

static void line_end(struct line *line)
{
    mc_print(line->buffer);
    mc_print("\n");
    line_start(line);
}

static void pad_to(struct q2_line *text, size_t column)
{
    while (text->length < column)
        q2_line_put(text, " ");
}

/* Thousandths, printed as a number with three places. */
static void put_thousandths(struct q2_line *text, uint64_t value)
{
    uint64_t rest = value % 1000;

    q2_line_put_number(text, value / 1000, 10);
    q2_line_put(text, rest < 10 ? ".00" : rest < 100 ? ".0" : ".");
    q2_line_put_number(text, rest, 10);
}

/* A way is compared by its fastest turns. If it makes fewer requests than our disk, the median is
 * used, because the fastest of few is mostly luck. */
static const uint64_t *times_of(const struct mc_bench_result *result, size_t way, size_t beside)
{
    bool is_like_ours = result->ways[beside].nb_requests == result->ways[0].nb_requests;

    return is_like_ours ? result->ways[way].least : result->ways[way].ns;
}

/* Nanoseconds of one request, by median. */
static uint64_t ns_of(const struct mc_bench_result *result, size_t way)
{
    const uint64_t *times = times_of(result, way, way);
    uint64_t ns[MC_BENCH_MAX_ROUNDS];

    for (uint32_t round = 0; round < result->nb_rounds; round++)
        ns[round] = times[round];
    return mc_bench_median(ns, result->nb_rounds) / result->ways[way].nb_requests;
}

/* How many times as long as ours, in thousandths: the median of the rounds' ratios. */
static uint64_t ratio(const struct mc_bench_result *result, size_t way)
{
    const uint64_t *ours = times_of(result, 0, way), *theirs = times_of(result, way, way);
    uint64_t nb_ours = result->ways[0].nb_requests, nb = result->ways[way].nb_requests;
    uint64_t ratios[MC_BENCH_MAX_ROUNDS];

    for (uint32_t round = 0; round < result->nb_rounds; round++)
        ratios[round] = theirs[round] * 1000 / nb * nb_ours / (ours[round] + 1);
    return mc_bench_median(ratios, result->nb_rounds);
}

void mc_bench_print_head(const struct mc_bench *bench)
{
    struct line line;

    line_start(&line);
    q2_line_put(&line.text, "median of ");
    q2_line_put_number(&line.text, bench->nb_rounds, 10);
    q2_line_put(&line.text, " rounds (their fastest turn); last column: times as long as ours");
    line_end(&line);
    q2_line_put(&line.text, "what");
    pad_to(&line.text, 18);
    q2_line_put(&line.text, "way");
    pad_to(&line.text, 34);
    q2_line_put(&line.text, "us/request");
    pad_to(&line.text, 48);
    q2_line_put(&line.text, "MiB/s");
    line_end(&line);
}

static void print_way(const struct mc_bench_result *result, size_t way, struct line *line)
{
    uint64_t ns = ns_of(result, way) + 1;

    q2_line_put(&line->text, result->row);
    pad_to(&line->text, 18);
    q2_line_put(&line->text, result->ways[way].way);
    pad_to(&line->text, 34);
    put_thousandths(&line->text, ns);
    pad_to(&line->text, 48);
    if (result->request > 0)
        q2_line_put_number(&line->text, result->request * 1000000000ull / ns >> 20, 10);
    pad_to(&line->text, 58);
    if (way > 0) {
        put_thousandths(&line->text, ratio(result, way));
        q2_line_put(&line->text, "x");
    }
    line_end(line);
}

void mc_bench_print(const struct mc_bench_result *result)
{
    struct line line;

    line_start(&line);
    for (size_t way = 0; way < MC_BENCH_NB_WAYS && result->nb_rounds > 0; way++) {
        if (result->ways[way].nb_requests > 0)
            print_way(result, way, &line);
    }
}

/* One token, on a new line if the present one is long. */
static void token(struct line *line, const char *text)
{
    if (line->text.length + q2_text_length(text) > MAX_COLUMNS)
        line_end(line);
    q2_line_put(&line->text, text);
}

static void token_number(struct line *line, uint64_t number, const char *suffix)
{
    char buffer[40];
    struct q2_line text = q2_line_start(buffer, sizeof(buffer));

    q2_line_put_number(&text, number, 10);
    q2_line_put(&text, suffix);
    token(line, buffer);
}

static void json_times(struct line *line, const char *name, const uint64_t *times, uint32_t nb)
{
    token(line, name);
    for (uint32_t round = 0; round < nb; round++)
        token_number(line, times[round], round + 1 < nb ? ", " : "]");
}

static void json_way(const struct mc_bench_result *result, size_t way, struct line *line)
{
    token(line, "{\"row\": \"");
    token(line, result->row);
    token(line, "\", \"way\": \"");
    token(line, result->ways[way].way);
    token(line, "\", \"request\": ");
    token_number(line, result->request, ", ");
    token(line, "\"nb\": ");
    token_number(line, result->ways[way].nb_requests, ", ");
    json_times(line, "\"ns\": [", result->ways[way].ns, result->nb_rounds);
    token(line, ", ");
    json_times(line, "\"least\": [", result->ways[way].least, result->nb_rounds);
    token(line, "},");
    line_end(line);
}

static void json_head(const struct mc_bench *bench, struct line *line)
{
    const struct q2_place_file *file = bench->image->file;
    struct q2_stored_file stored = {.nb_extents = 0};

    if (q2_place_can(file->place, Q2_PLACE_LOCATES))
        (void)file->place->ops->locate(file, &stored);
    token(line, "{\"version\": 1, ");
    token(line, "\"tick_hz\": ");
    token_number(line, bench->frequency, ", ");
    token(line, "\"rounds\": ");
    token_number(line, bench->nb_rounds, ", ");
    token(line, "\"virtual_size\": ");
    token_number(line, q2_disk_size(bench->image->disk), ", ");
    token(line, "\"file_size\": ");
    token_number(line, file->source->size, ", ");
    token(line, "\"extents\": ");
    token_number(line, stored.nb_extents, ", ");
    token(line, "\"io_align\": ");
    token_number(line, bench->ours->Media->IoAlign, ", ");
    token(line, "\"results\": [");
    line_end(line);
}

void mc_bench_print_json(const struct mc_bench *bench, const struct mc_bench_result *results,
                         size_t nb_results)
{
    struct line line;

    mc_print(MC_BENCH_BEGIN "\n");
    line_start(&line);
    json_head(bench, &line);
    for (size_t i = 0; i < nb_results; i++) {
        for (size_t way = 0; way < MC_BENCH_NB_WAYS && results[i].nb_rounds > 0; way++) {
            if (results[i].ways[way].nb_requests > 0)
                json_way(&results[i], way, &line);
        }
    }
    token(&line, "{}]}");
    line_end(&line);
    mc_print(MC_BENCH_END "\n");
}
