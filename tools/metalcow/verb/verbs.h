/* The verbs, one file each; main.c has the table. */
#ifndef METALCOW_VERBS_H
#define METALCOW_VERBS_H

#include "tools/metalcow/base/arguments.h"

extern const struct verb verb_amend;
extern const struct verb verb_check;
extern const struct verb verb_commit;
extern const struct verb verb_compare;
extern const struct verb verb_convert;
extern const struct verb verb_create;
extern const struct verb verb_discard;
extern const struct verb verb_flush;
extern const struct verb verb_info;
extern const struct verb verb_io;
extern const struct verb verb_map;
extern const struct verb verb_measure;
extern const struct verb verb_read;
extern const struct verb verb_rebase;
extern const struct verb verb_resize;
extern const struct verb verb_snapshot;
extern const struct verb verb_write;
extern const struct verb verb_zero;

#define VERB_FLAGS(table) .flags = (table), .nb_flags = sizeof(table) / sizeof((table)[0])

#endif
