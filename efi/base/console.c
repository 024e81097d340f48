/* Text on the console.
 *
 * May call ConOut, ConIn and boot services' timers. Invariant: malformed UTF-8 is printed as '?'.
 * Control characters are not changed, so text out of an image must be escaped before
 * (q2_fault_format(), q2_line_put_escaped()).
 */
#include "console.h"

#include "firmware.h"
#include "text.h"
#include "core/base/utf8.h"

#define PIECE_UNITS 64u

/* More than any key buffer holds. */
#define MAX_KEYS_DROPPED 1024u

/* The next unit of a text, '?' for what UCS-2 cannot say. */
static CHAR16 next_unit(const char **text, size_t *left)
{
    uint32_t c = 0;
    size_t used = q2_utf8_decode(*text, *left, &c);

    if (used == 0) {
        c = '?';
        used = 1;
    }
    *text += used;
    *left -= used;
    return c > 0xffff ? (CHAR16)'?' : (CHAR16)c;
}

void mc_print(const char *text)
{
    SIMPLE_TEXT_OUTPUT_INTERFACE *out = mc_firmware.SystemTable->ConOut;
    size_t left = q2_text_length(text);
    CHAR16 piece[PIECE_UNITS];

    if (!out)
        return;
    while (left > 0) {
        size_t n = 0;
        while (left > 0 && n + 3 <= PIECE_UNITS) {
            CHAR16 c = next_unit(&text, &left);
            if (c == '\n')
                piece[n++] = '\r';
            piece[n++] = c;
        }
        piece[n] = 0;
        (void)out->OutputString(out, piece);
    }
}

static struct mc_said *said_lines;

struct mc_said *mc_say_new(struct mc_said *said)
{
    struct mc_said *before = said_lines;

    if (said)
        said->nb_before = said->nb;
    said_lines = said;
    return before;
}

/* FNV-1a. A new line is left out if it has the hash of an old one, which is improbable. */
static uint64_t hash_of(const char *text)
{
    uint64_t hash = 0xcbf29ce484222325;

    for (; *text != '\0'; text++)
        hash = (hash ^ (unsigned char)*text) * 0x100000001b3;
    return hash;
}

/* Was this line said before? Else it counts as said from the next mc_say_new() on. */
static bool is_said(struct mc_said *said, const char *text)
{
    uint64_t hash = hash_of(text);

    for (uint32_t i = 0; i < said->nb_before; i++) {
        if (said->lines[i] == hash)
            return true;
    }
    if (said->nb < MC_MAX_SAID)
        said->lines[said->nb++] = hash;
    return false;
}

void mc_say(const char *text)
{
    if (said_lines && is_said(said_lines, text))
        return;
    mc_print("metalcow: ");
    mc_print(text);
    mc_print("\n");
}

void mc_print_bar(const char *what, uint64_t done, uint64_t total)
{
    char line[120];
    struct q2_line text = q2_line_start(line, sizeof(line));

    q2_line_put(&text, "\rmetalcow: ");
    q2_line_put(&text, what);
    q2_line_put(&text, " ");
    mc_put_bar(&text, done, total);
    if (done == total)
        q2_line_put(&text, "\n");
    mc_print(line);
}

void mc_say_fault(const struct q2_fault *fault)
{
    char line[512];

    (void)q2_fault_format(fault, line, sizeof(line));
    mc_say(line);
}

bool mc_wait_key(unsigned int seconds, struct mc_key *ret_key)
{
    EFI_BOOT_SERVICES *services = mc_firmware.BootServices;
    SIMPLE_INPUT_INTERFACE *in = mc_firmware.SystemTable->ConIn;
    EFI_INPUT_KEY key;
    EFI_EVENT events[2];
    bool has_key;
    UINTN index;

    if (!in || EFI_ERROR(services->CreateEvent(EVT_TIMER, TPL_CALLBACK, NULL, NULL, &events[0])))
        return false;
    events[1] = in->WaitForKey;
    has_key = !EFI_ERROR(services->SetTimer(events[0], TimerRelative, seconds * 10000000ull)) &&
              !EFI_ERROR(services->WaitForEvent(2, events, &index)) && index == 1 &&
              !EFI_ERROR(in->ReadKeyStroke(in, &key));
    (void)services->CloseEvent(events[0]);
    if (has_key)
        *ret_key = (struct mc_key){.scan_code = key.ScanCode, .unit = key.UnicodeChar};
    return has_key;
}

bool mc_can_ask(void)
{
    const EFI_SYSTEM_TABLE *table = mc_firmware.SystemTable;

    return table->ConIn && table->ConOut && table->ConsoleInHandle &&
           mc_current_tpl() == TPL_APPLICATION;
}

void mc_drop_keys(void)
{
    SIMPLE_INPUT_INTERFACE *in = mc_firmware.SystemTable->ConIn;
    EFI_INPUT_KEY key;

    /* Bounded: a key that repeats must not hold us here. */
    for (unsigned int i = 0; i < MAX_KEYS_DROPPED; i++) {
        if (EFI_ERROR(in->ReadKeyStroke(in, &key)))
            return;
    }
}

bool mc_wait_for_key(struct mc_key *ret_key)
{
    SIMPLE_INPUT_INTERFACE *in = mc_firmware.SystemTable->ConIn;
    EFI_STATUS status = EFI_NOT_READY;
    EFI_INPUT_KEY key;
    UINTN index;

    /* The event may come without a key: half of one, or a key that another reader took. */
    while (status == EFI_NOT_READY) {
        status = mc_firmware.BootServices->WaitForEvent(1, &in->WaitForKey, &index);
        if (!EFI_ERROR(status))
            status = in->ReadKeyStroke(in, &key);
    }
    if (EFI_ERROR(status))
        return false;
    *ret_key = (struct mc_key){.scan_code = key.ScanCode, .unit = key.UnicodeChar};
    return true;
}
