/* An image that a verb has opened: source, opener, codecs, unlocker and disk in one heap block.
 *
 * Each function prints what failed on stderr before it returns.
 */
#ifndef METALCOW_IMAGE_H
#define METALCOW_IMAGE_H

#include <stdbool.h>

#include "drivers/codec/zlib.h"
#include "drivers/codec/zstd.h"
#include "drivers/posix/opener.h"
#include "drivers/posix/source.h"
#include "drivers/crypto/unlocker.h"
#include "q2_disk.h"

#include "arguments.h"
#include "passphrase.h"

struct image {
    char *path;       /* as the user typed it */
    bool block0_kept; /* a write to block 0 was refused, see image_print_fault() */
    struct q2_source_posix file;
    struct q2_source_ops guarded; /* file's calls, if it was probed raw and is to be written */
    enum q2_status (*unguarded_write)(struct q2_source *, uint64_t, const void *, size_t);
    struct q2_given_file backing_files[Q2_MAX_LAYERS];
    char *names[Q2_MAX_LAYERS + 3]; /* of the files that the user gave, in plain spelling */
    struct q2_opener_posix opener;
    struct q2_codec_zlib zlib;
    struct q2_codec_zstd zstd;
    struct q2_unlocker_passphrase unlocker;
    struct passphrase passphrase; /* empty once the image is open */
    void *workspace;
    struct q2_disk *disk;
};

/* Open an image, for writing if the options say so; NULL if it cannot be (said on stderr).
 *
 * metadata_only  open no file but path: info, check
 */
struct image *image_open(const char *path, const struct image_options *options, bool metadata_only);

/* The same for callers that print the error. ret_fault's status is Q2_OK if the error was printed
 * already. It names no file if the file is path. */
struct image *image_try_open(const char *path, const struct image_options *options,
                             bool metadata_only, struct q2_fault *ret_fault);

/* Whether a range is inside the disk; said on stderr if not. */
bool image_has_range(const struct image *image, uint64_t offset, uint64_t length);

/* Make durable what was written; false, and said on stderr, if that fails. */
bool image_flush(struct image *image);

/* Close and free; image may be NULL. Nothing is flushed unless the disk keeps dirty bitmaps, which
 * are stored. */
void image_close(struct image *image);

/* Say on stderr why the last call on the image's disk failed. */
void image_print_fault(const struct image *image);

/* The descriptor of a source that image_open() or its opener has made. */
int image_source_fd(const struct q2_source *source);

/* Whether path leads to a file that the image is stored in. If so, it is the image's own lock that
 * keeps the file from being opened for writing. */
bool image_uses_path(struct image *image, const char *path);

/* Whether a file is one of those that an image, opened with all its files, is read from. */
bool image_uses(const struct image *image, const struct q2_source *file);

/* The same of any of nb images. */
bool images_use(struct image *const *images, size_t nb, const struct q2_source *file);
bool images_use_path(struct image *const *images, size_t nb, const char *path);

#endif
