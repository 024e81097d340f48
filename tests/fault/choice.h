/* What the command line of a fault test asks for, and the loop over what it chooses.
 *
 *   test_NAME [--full] [--all-qemu] [--stop] [--seed N] [--ops N] [PART...]
 *
 * A case runs if a PART is part of its name, or if none is given. May call the bench of judge.h and
 * the scripts.
 */
#ifndef METALCOW_TESTS_FAULT_CHOICE_H
#define METALCOW_TESTS_FAULT_CHOICE_H

#include "judge.h"

struct choice {
    const char *folder; /* where subjects are made */
    bool full;          /* as long as it takes, not as `make test` can wait */
    bool all_qemu;      /* qemu-img judges every state */
    bool stop;          /* at the first failure */
    uint64_t seed;      /* 1 unless given; printed */
    uint32_t nb_ops;    /* 0 unless given */
    char **parts;       /* NULL after the last */
};

/* Exits with 2 and says how it is used if there is a word that it does not know. */
struct choice choice_read(int argc, char **argv);

bool choice_has(const struct choice *choice, const char *name);

/* A case: bench, script and the case's name. False: it failed. */
typedef bool script_case(void *context, struct bench *bench, const struct script *script,
                         const char *name);

/* Run the chosen scripts of a geometry, named prefix_GEOMETRY_SCRIPT. */
bool choice_run_scripts(const struct choice *choice, const struct geometry *geometry,
                        const char *prefix, script_case *run, void *context);

#endif
