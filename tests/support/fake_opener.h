/* An opener over a table of names: what the unit tests give q2_disk_open().
 *
 * Closing a source that is not open through this opener aborts
 * the test program.
 */
#ifndef METALCOW_TESTS_FAKE_OPENER_H
#define METALCOW_TESTS_FAKE_OPENER_H

#include "fake_source.h"
#include "q2_opener.h"

#define FAKE_OPENER_FILES 256

/* One name. Two names may stand for one file: give them sources with equal identity. */
struct fake_file {
    const char *path;
    struct fake_source *fake; /* NULL: opening gives status */
    enum q2_status status;
    uint32_t nb_open; /* times open now */
};

struct fake_opener {
    struct q2_opener opener;
    struct fake_file files[FAKE_OPENER_FILES];
    uint32_t nb_files;
    uint32_t nb_open;   /* sources open now, over all names */
    uint32_t nb_opened; /* successful calls of open() ever */
    uint32_t nb_calls;  /* calls of open() ever */
    const char *last_closed;
    char last_path[4096]; /* as last asked for; "" if never */
    bool last_writable;
};

void fake_opener_init(struct fake_opener *fake);

/* Let path open source. The strings and the source must outlive the opener. A path that was added
 * several times opens each of its sources in turn, so that few bytes make a long chain. */
void fake_opener_add(struct fake_opener *fake, const char *path, struct fake_source *source);

/* Let path fail with status. A path that was never added gives Q2_ERR_NOT_FOUND. */
void fake_opener_fail(struct fake_opener *fake, const char *path, enum q2_status status);

#endif
