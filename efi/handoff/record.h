/* The hand-off record of an attached image.  (include/q2_handoff.h has the format)
 *
 * Asks the place where each file is stored, reads samples of the files, and encodes the record. May
 * call the place and the engine, outside of requests only.
 */
#ifndef METALCOW_EFI_HANDOFF_RECORD_H
#define METALCOW_EFI_HANDOFF_RECORD_H

#include "efi/image/attach.h"
#include "q2_handoff.h"

/* What the record repeats of how the disk was opened, and memory to make it in. */
struct mc_record {
    struct q2_handoff handoff; /* too large for the stack. Its strings are copies in pool memory,
                                  apart from the files' paths */
    struct q2_handoff_sample (*samples)[Q2_HANDOFF_MAX_SAMPLES]; /* for each file */
    uint32_t max_files;                                          /* that samples have room for */
    struct q2_kept_key keys[Q2_MAX_LAYERS]; /* handoff.keys[] are these, in the same order */
    uint8_t buffer[Q2_HANDOFF_SAMPLE_SIZE];
};

/* Get a record ready for an image: keeps copies of the strings of spec, and takes the raw keys out
 * of the image's unlocker.
 *
 * record  zeroed; mc_record_free() gives back what it holds, after an error too
 *
 * Q2_ERR_LIMIT        no memory
 * Q2_ERR_UNSUPPORTED  such a disk cannot be handed over; fault.what says why
 */
enum q2_status mc_record_init(struct mc_record *record, struct mc_image *image,
                              const struct mc_disk_spec *spec, struct q2_fault *fault);

/* Wipe the keys. mc_record_look() refuses a record that had some. */
void mc_record_wipe(struct mc_record *record);

/* Wipe the keys, and free what the record holds. */
void mc_record_free(struct mc_record *record);

/* Look anew where the files are stored, and at what is in them. Allocates nothing.
 *
 * ret_size  bytes that the encoded record takes at most
 *
 * Q2_ERR_UNSUPPORTED  a file has no extents, or its disk no identity
 * Q2_ERR_LIMIT        more extents than a record may have
 * Q2_ERR_IO ...       a file cannot be read
 */
enum q2_status mc_record_look(struct mc_record *record, const struct mc_image *image,
                              struct q2_fault *fault, size_t *ret_size);

/* Encode what mc_record_look() found; q2_handoff_encode() has the errors.
 *
 * with_keys  false: as it may be published, without the keys of encrypted images
 */
enum q2_status mc_record_encode(struct mc_record *record, bool with_keys, void *bytes, size_t size,
                                struct q2_fault *fault, size_t *ret_length);

#endif
