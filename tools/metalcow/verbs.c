/* The table of verbs. May call nothing but the C library. */
#include "verbs.h"

#include <string.h>

/* Exit status of a wrong command line: 1, but where 1 has another meaning. */
#define USAGE         1
#define USAGE_COMPARE 2

const struct verb verbs[NB_VERBS] = {
    [VERB_AMEND] = {"amend", "FILE",
                    "change version, refcounts, the data file's name or the size of an image", 1, 0,
                    false, USAGE, verb_amend},
    [VERB_BENCH] = {"bench", "FILE", "measure how long reads or writes of one size take", 1, 0,
                    false, USAGE, verb_bench},
    [VERB_BITMAP] = {"bitmap", "FILE BITMAP", "add, remove and change a persistent dirty bitmap", 2,
                     0, false, USAGE, verb_bitmap},
    [VERB_CHECK] = {"check", "FILE", "check the consistency of an image, and repair it", 1, 0,
                    false, USAGE, verb_check},
    [VERB_COMMIT] = {"commit", "FILE", "write an image's data into its backing file and empty it",
                     1, 0, false, USAGE, verb_commit},
    [VERB_COMPARE] = {"compare", "FILE1 FILE2",
                      "tell whether two images have the same content (exit status 0: same, 1: not)",
                      2, 0, false, USAGE_COMPARE, verb_compare},
    [VERB_CONVERT] = {"convert", "FILE [FILE...] OUTPUT",
                      "write the disk, or several as one, to a raw file or a qcow2 image",
                      ANY_NUMBER, ANY_NUMBER - 2, false, USAGE, verb_convert},
    [VERB_CREATE] = {"create", "FILE [SIZE]", "make a new, empty image", 2, 2 /* -o help */, false,
                     USAGE, verb_create},
    [VERB_DD] = {"dd", "if=FILE of=OUTPUT [bs=SIZE] [count=N] [skip=N]",
                 "write a part of the disk, in blocks, to a raw file or a qcow2 image", 5, 3, false,
                 USAGE, verb_dd},
    [VERB_DISCARD] = {"discard", "OFFSET LENGTH FILE",
                      "give whole clusters of the disk back; they read as zeros then", 3, 0, false,
                      USAGE, verb_discard},
    [VERB_FLUSH] = {"flush", "FILE", "make what was written to the image's files durable", 1, 0,
                    false, USAGE, verb_flush},
    [VERB_INFO] = {"info", "FILE", "show what an image says about itself", 1, 0, false, USAGE,
                   verb_info},
    [VERB_IO] = {"io", "[FILE]", "read and write ranges by qemu-io's commands", 1, 1, false, USAGE,
                 verb_io},
    [VERB_MAP] = {"map", "FILE", "show which file has which part of the disk", 1, 0, false, USAGE,
                  verb_map},
    [VERB_MEASURE] = {"measure", "[FILE]", "calculate the file size that an image would take", 1, 1,
                      false, USAGE, verb_measure},
    [VERB_READ] = {"read", "OFFSET LENGTH FILE", "write bytes of the disk to standard output", 3, 0,
                   false, USAGE, verb_read},
    [VERB_REBASE] = {"rebase", "FILE", "put another backing file below an image", 1, 0, false,
                     USAGE, verb_rebase},
    [VERB_RESIZE] = {"resize", "FILE [+|-]SIZE", "change the size of the disk", 2, 0, true, USAGE,
                     verb_resize},
    [VERB_SERVE] = {"serve", "FILE", "serve the disk to NBD clients until a signal comes", 1, 0,
                    false, USAGE, verb_serve},
    [VERB_SNAPSHOT] = {"snapshot", "FILE", "list, take, apply and delete internal snapshots", 1, 0,
                       false, USAGE, verb_snapshot},
    [VERB_WRITE] = {"write", "OFFSET FILE [INPUT]",
                    "write standard input, or the file INPUT, onto the disk", 3, 1, false, USAGE,
                    verb_write},
    [VERB_ZERO] = {"zero", "OFFSET LENGTH FILE", "make bytes of the disk read as zeros", 3, 0,
                   false, USAGE, verb_zero},
};

const struct verb *verb_find(const char *name)
{
    for (size_t i = 0; i < NB_VERBS; i++) {
        if (strcmp(name, verbs[i].name) == 0)
            return &verbs[i];
    }
    return NULL;
}

verb_set verb_bit(const struct verb *verb)
{
    return (verb_set)1 << (verb - verbs);
}
