/* What a person reads: text on the console.
 *
 * Text is UTF-8; what UCS-2 does not have is shown as '?'. Without a console (a driver that starts
 * early) nothing happens.
 */
#ifndef METALCOW_EFI_CONSOLE_H
#define METALCOW_EFI_CONSOLE_H

#include <stdbool.h>
#include <stdint.h>

#include "q2_status.h"

/* Print text as it is; "\n" begins a new line. */
void mc_print(const char *text);

/* Print "metalcow: TEXT", on a line of its own. */
void mc_say(const char *text);

/* Lines that were said, so that they are not said again. */
#define MC_MAX_SAID 64u
struct mc_said {
    uint32_t nb;
    uint32_t nb_before;          /* mc_say() leaves out only these: from before mc_say_new() */
    uint64_t lines[MC_MAX_SAID]; /* hashes */
};

/* Have mc_say() leave out lines that it said with the same `said` before this call. It adds the
 * lines that it says, as long as there is room. NULL: it says everything. Returns the `said` of the
 * call before. */
struct mc_said *mc_say_new(struct mc_said *said);

/* Print a fault as a line that begins with "metalcow: ". */
void mc_say_fault(const struct q2_fault *fault);

/* Print "metalcow: WHAT" and how far it is (mc_put_bar()), over what the last call printed. The
 * line ends when done == total. total >= 1, done <= total. */
void mc_print_bar(const char *what, uint64_t done, uint64_t total);

/* A key as EFI_INPUT_KEY has it: a scan code, or a unit of UCS-2. */
struct mc_key {
    uint16_t scan_code, unit;
};

/* Wait until a key is pressed, at most `seconds`; false: none was. */
bool mc_wait_key(unsigned int seconds, struct mc_key *ret_key);

/* Can somebody be asked: is there a console, and may it be waited for here? */
bool mc_can_ask(void);

/* Forget what was typed so far. */
void mc_drop_keys(void);

/* Wait for a key as long as it takes; false: the console failed. Only after mc_can_ask(). */
bool mc_wait_for_key(struct mc_key *ret_key);

#endif
