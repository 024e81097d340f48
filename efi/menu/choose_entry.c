/* The choice of the entry to boot when nobody chooses one.
 *
 * May call efi/config/ and efi/base/text.c. Invariant: a setting that selects no entry chooses
 * none.
 */
#include "choose_entry.h"

#include "efi/base/text.h"
#include "q2_line.h"

const struct mc_entry *mc_choose_entry(struct mc_entry *const *sorted, size_t nb,
                                       const char *setting, const char *saved, char *text,
                                       size_t size)
{
    struct q2_line line = q2_line_start(text, size);
    bool is_saved = q2_text_equal(setting, MC_DEFAULT_SAVED);
    bool is_pattern = setting[0] != '\0' && !is_saved;

    for (size_t i = 0; i < nb; i++) {
        if (is_saved ? q2_text_equal(sorted[i]->id, saved)
                     : !is_pattern || mc_entry_matches(sorted[i], setting))
            return sorted[i];
    }
    if (is_pattern) {
        q2_line_put(&line, MC_SETTINGS_FILE ": default ");
        q2_line_put_escaped(&line, setting);
        q2_line_put(&line, " selects no entry, so nothing is started by itself");
    } else if (saved[0] != '\0' && nb > 0) {
        q2_line_put(&line, "the entry that was chosen last is not here: ");
        q2_line_put_escaped(&line, saved);
    }
    return is_pattern || nb == 0 ? NULL : sorted[0];
}
