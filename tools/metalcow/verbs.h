/* Every verb of the host command.
 *
 * To add one: a line in METALCOW_VERBS, a row in verbs.c, rows in options.c for its options, and a
 * file verb/NAME.c with its function. Parser, help and `help --list` follow from the tables.
 *
 * A verb may call the engine, drivers/ and the other files of tools/metalcow/, but no other verb.
 */
#ifndef METALCOW_VERBS_H
#define METALCOW_VERBS_H

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct arguments;

/* In the order of help. */
#define METALCOW_VERBS(X)                                                                          \
    X(AMEND, amend)                                                                                \
    X(BENCH, bench)                                                                                \
    X(BITMAP, bitmap)                                                                              \
    X(CHECK, check)                                                                                \
    X(COMMIT, commit)                                                                              \
    X(COMPARE, compare)                                                                            \
    X(CONVERT, convert)                                                                            \
    X(CREATE, create)                                                                              \
    X(DD, dd)                                                                                      \
    X(DISCARD, discard)                                                                            \
    X(FLUSH, flush)                                                                                \
    X(INFO, info)                                                                                  \
    X(IO, io)                                                                                      \
    X(MAP, map)                                                                                    \
    X(MEASURE, measure)                                                                            \
    X(READ, read)                                                                                  \
    X(REBASE, rebase)                                                                              \
    X(RESIZE, resize)                                                                              \
    X(SERVE, serve)                                                                                \
    X(SNAPSHOT, snapshot)                                                                          \
    X(WRITE, write)                                                                                \
    X(ZERO, zero)

#define VERB_ID(id, name) VERB_##id,
enum verb_id {
    METALCOW_VERBS(VERB_ID) NB_VERBS
};
#undef VERB_ID

/* A set of verbs, one bit each. */
typedef uint64_t verb_set;
_Static_assert(NB_VERBS <= 64, "a verb_set has a bit for each verb");
#define VERB_BIT(id) ((verb_set)1 << VERB_##id)

/* What a verb does with a parsed command line; returns the exit status. */
#define VERB_FUNCTION(id, name) int verb_##name(const struct arguments *arguments);
METALCOW_VERBS(VERB_FUNCTION)
#undef VERB_FUNCTION

struct verb {
    const char *name;
    const char *operands; /* as help shows them */
    const char *summary;
    int nb_operands;      /* at most; ANY_NUMBER: the first may be given again */
    int nb_optional;      /* how many of them, the last ones, may be missing: NULL then */
    bool last_is_operand; /* whatever it begins with: "-1M" of resize */
    int usage_status;     /* exit status of a wrong command line */
    int (*run)(const struct arguments *arguments);
};

#define ANY_NUMBER INT_MAX

extern const struct verb verbs[NB_VERBS];

/* NULL: there is no such verb. */
const struct verb *verb_find(const char *name);

/* The set that holds one verb of the table. */
verb_set verb_bit(const struct verb *verb);

#endif
