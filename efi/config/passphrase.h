/* A passphrase on its way to the unlocker: out of a file's text, or key by key from a keyboard.
 *
 * Pure functions on memory, tested on the host. Whoever owns a struct mc_passphrase wipes it with
 * mc_passphrase_wipe().
 */
#ifndef METALCOW_EFI_PASSPHRASE_H
#define METALCOW_EFI_PASSPHRASE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "drivers/crypto/unlocker.h"

/* Bytes before and after a passphrase that mc_passphrase_take_line() removes: a byte order mark,
 * and the end of a line. */
#define MC_PASSPHRASE_DECORATION 5u

/* Room for what is read from a file: one byte more than any passphrase has, to notice it. */
struct mc_passphrase {
    uint8_t bytes[Q2_MAX_PASSPHRASE_LENGTH + MC_PASSPHRASE_DECORATION + 1];
    size_t length;
};

void mc_passphrase_wipe(struct mc_passphrase *passphrase);

/* Make the content of a text file its first line: without the line's end (LF or CRLF), which an
 * editor adds, and without a byte order mark, which it may add too.
 *
 * returns  false: the line is longer than Q2_MAX_PASSPHRASE_LENGTH
 */
bool mc_passphrase_take_line(struct mc_passphrase *passphrase);

enum mc_typing {
    MC_TYPING_GOES_ON,
    MC_TYPING_DONE,     /* Enter */
    MC_TYPING_GIVEN_UP, /* Esc */
};

/* Take one key, as EFI_INPUT_KEY has it.  (UEFI: "EFI_SIMPLE_TEXT_INPUT_PROTOCOL")
 *
 * passphrase  UTF-8 so far; Backspace takes a character off, keys that are no character do nothing
 * ret_echo    what to print: "*" for a character, "\b \b" for one taken off, else ""
 */
enum mc_typing mc_passphrase_type(struct mc_passphrase *passphrase, uint16_t scan_code,
                                  uint16_t unit, const char **ret_echo);

#endif
