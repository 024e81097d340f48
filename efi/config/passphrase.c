/* Passphrases: a file's first line, and a line that is typed.
 *
 * May call utf8.h and wipe.h. Invariant: what is typed is UTF-8 of whole characters, at most
 * Q2_MAX_PASSPHRASE_LENGTH bytes.
 */
#include "passphrase.h"

#include "core/base/utf8.h"
#include "drivers/crypto/wipe.h"

/* EFI_INPUT_KEY.  (UEFI, "EFI_SIMPLE_TEXT_INPUT_PROTOCOL.ReadKeyStroke()") */
#define SCAN_ESCAPE    0x17u
#define UNIT_BACKSPACE 0x08u
#define UNIT_ENTER     0x0du

void mc_passphrase_wipe(struct mc_passphrase *passphrase)
{
    q2_wipe(passphrase, sizeof(*passphrase));
}

static bool has_byte_order_mark(const struct mc_passphrase *p)
{
    return p->length >= 3 && p->bytes[0] == 0xef && p->bytes[1] == 0xbb && p->bytes[2] == 0xbf;
}

bool mc_passphrase_take_line(struct mc_passphrase *passphrase)
{
    size_t start = has_byte_order_mark(passphrase) ? 3 : 0;
    size_t end = start;

    while (end < passphrase->length && passphrase->bytes[end] != '\n')
        end++;
    if (end < passphrase->length && end > start && passphrase->bytes[end - 1] == '\r')
        end--;
    passphrase->length = end - start;
    __builtin_memmove(passphrase->bytes, passphrase->bytes + start, passphrase->length);
    return passphrase->length <= Q2_MAX_PASSPHRASE_LENGTH;
}

/* Take the last character off; true if there was one. */
static bool take_off(struct mc_passphrase *p)
{
    bool had_one = p->length > 0;

    while (p->length > 0 && (p->bytes[p->length - 1] & 0xc0) == 0x80)
        p->bytes[--p->length] = 0;
    if (p->length > 0)
        p->bytes[--p->length] = 0;
    return had_one;
}

/* Is a unit a character, and not a control or half of a surrogate pair? */
static bool is_character(uint16_t unit)
{
    return !(unit < 0x20 || (unit >= 0x7f && unit < 0xa0) || (unit >= 0xd800 && unit <= 0xdfff));
}

static bool add(struct mc_passphrase *p, uint16_t unit)
{
    char text[4];
    size_t n = is_character(unit) ? q2_utf8_encode(unit, text) : 0;

    if (n == 0 || n > Q2_MAX_PASSPHRASE_LENGTH - p->length)
        return false;
    for (size_t i = 0; i < n; i++)
        p->bytes[p->length++] = (uint8_t)text[i];
    q2_wipe(text, sizeof(text));
    return true;
}

enum mc_typing mc_passphrase_type(struct mc_passphrase *passphrase, uint16_t scan_code,
                                  uint16_t unit, const char **ret_echo)
{
    *ret_echo = "";
    if (scan_code == SCAN_ESCAPE)
        return MC_TYPING_GIVEN_UP;
    if (unit == UNIT_ENTER)
        return MC_TYPING_DONE;
    if (unit == UNIT_BACKSPACE)
        *ret_echo = take_off(passphrase) ? "\b \b" : "";
    else
        *ret_echo = add(passphrase, unit) ? "*" : "";
    return MC_TYPING_GOES_ON;
}
