/* What values a hand-off record may have. The encoder and the decoder share it, so that whatever is
 * encoded can be decoded.
 */
#ifndef Q2_CORE_HANDOFF_JUDGE_H
#define Q2_CORE_HANDOFF_JUDGE_H

#include "q2_handoff.h"

/* Check everything but the files and keys: what is known after the fixed part and its strings.
 *
 * status  what a wrong value means: Q2_ERR_ARGUMENT in the encoder, Q2_ERR_BAD_HEADER in the
 *         decoder
 *
 * Q2_OK, status, or Q2_ERR_LIMIT; *ret_what is set on all but Q2_OK
 */
enum q2_status q2_handoff_judge_head(const struct q2_handoff *handoff, enum q2_status status,
                                     const char **ret_what);

/* Check one file, which the ones before it have passed. */
enum q2_status q2_handoff_judge_file(const struct q2_handoff *handoff, uint32_t index,
                                     enum q2_status status, const char **ret_what);

/* Check one key; the files have passed. */
enum q2_status q2_handoff_judge_key(const struct q2_handoff *handoff, uint32_t index,
                                    enum q2_status status, const char **ret_what);

#endif
