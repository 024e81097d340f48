/* One disk under test: workspace, image source, opener, codecs, ready to open.
 *
 * The workspace is filled with garbage at the start, so that
 * nothing can rely on what it held.
 */
#ifndef METALCOW_TESTS_FIXTURE_H
#define METALCOW_TESTS_FIXTURE_H

#include "fake_codec.h"
#include "fake_opener.h"
#include "fake_source.h"
#include "image_builder.h"
#include "q2_bitmap.h"
#include "q2_disk.h"

#define FIXTURE_IMAGE_PATH "img/top.qcow2"
#define FIXTURE_DATA_PATH  "img/data.raw"

struct fixture {
    void *workspace;
    struct fake_source image, data;
    struct fake_opener opener;
    struct fake_codec zlib, zstd;
    struct q2_disk_options options; /* change it before fixture_open() */
    struct q2_fault fault;
    struct q2_disk *disk; /* NULL while not open */
    uint8_t *buffer;      /* of fixture_first_difference() */
    char text[1024];      /* of fixture_text() */
};

/* Get ready to open an image, which must outlive the fixture; its data file, if it has one, opens
 * as FIXTURE_DATA_PATH. */
void fixture_start(struct fixture *f, const struct image *image);
/* The same to open it for writing: a copy of the image in memory, of capacity bytes, which its file
 * may grow to. */
void fixture_start_writable(struct fixture *f, const struct image *image, uint8_t *memory,
                            uint64_t capacity);
/* The same as fixture_start() for any bytes. */
void fixture_start_bytes(struct fixture *f, const uint8_t *bytes, uint64_t size);
/* Close the disk if it is open, and give everything back. */
void fixture_end(struct fixture *f);

enum q2_status fixture_open(struct fixture *f);
void fixture_close(struct fixture *f);
/* Open a disk again that is open. What it knew of its top layer is what the file says. */
void fixture_reopen(struct fixture *f);

#define FIXTURE_SAME  UINT64_MAX
#define FIXTURE_ERROR (UINT64_MAX - 1)

/* Read the whole disk, in one request and in pieces of many lengths, and compare it with size
 * bytes. Returns the guest offset of the first difference, FIXTURE_SAME, or FIXTURE_ERROR. */
uint64_t fixture_first_difference(struct fixture *f, const uint8_t *want, uint64_t size);

/* Write one value over a range of the disk, and over the model if the disk took it. */
enum q2_status fixture_fill(struct fixture *f, uint8_t *model, uint64_t offset, size_t length,
                            uint8_t value);

/* The disk's content is the model's, also when it was flushed and opened again, and the check finds
 * nothing. */
void fixture_check_flushed(struct fixture *f, const uint8_t *model, uint64_t size);

/* Check the disk: how many findings are more than leaks and COPIED flags? Leaks cost space. A
 * COPIED flag that says less than it could costs a copy; one that says more stands beside a
 * refcount that was raised for a snapshot that did not come. */
uint32_t fixture_nb_dangerous(struct fixture *f);

/* A byte of the disk, which can be read. */
uint8_t fixture_byte(struct fixture *f, uint64_t at);

/* Is a byte dirty in a bitmap, which can be read? */
bool fixture_is_dirty(struct fixture *f, const struct q2_bitmap *bitmap, uint64_t at);

/* Store the bitmaps and flush after an operation that ended with status; true: all was done, and no
 * bitmap was lost. */
bool fixture_settle(struct fixture *f, enum q2_status status);

/* The last fault as a person reads it: of the disk, or of the open that failed. */
const char *fixture_text(struct fixture *f);
/* Its status and field ("" if none). */
enum q2_status fixture_status(const struct fixture *f);
const char *fixture_field(const struct fixture *f);

#endif
