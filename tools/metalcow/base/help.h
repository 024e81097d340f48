/* Help of the host command, made from the tables of verbs and options. All print to stdout. */
#ifndef METALCOW_HELP_H
#define METALCOW_HELP_H

#include "tools/metalcow/verbs.h"

/* The verbs, one line each. */
void help_all(void);

/* One verb: its operands and its options. */
void help_verb(const struct verb *verb);

/* Every verb and option for programs, one line each, fields separated by tabs:
 *
 *     verb    NAME  OPERANDS  SUMMARY
 *     option  VERB  -LETTER or empty  --NAME or empty  VALUE or empty  TEXT
 */
void help_list(void);

#endif
