/* The cpio archive that is appended to a guest's initrd: program, record and hooks.
 *
 * Made by firmware when the initrd is delivered (and by tools/handoff/make_record.c on a host for
 * tests); implemented by core/handoff/cpio.c, pure. Format: "newc", as the kernel's
 * Documentation/driver-api/early-userspace/buffer-format.rst defines it.
 *
 * Delivery: the archive must begin at a multiple of 4 bytes after the start of the initrd that it
 * follows; fill up with zero bytes between. It is not compressed and may follow compressed ones.
 *
 * Contents, all with mode 0755 (folders, program) or 0644 and owner root:
 *
 *   metalcow/handoff                                          the program, see tools/handoff/
 *   metalcow/record                                           include/q2_handoff.h
 *   conf/conf.d/zz-metalcow                                   hook of initramfs-tools
 *   usr/lib/dracut/hooks/pre-udev/00-metalcow.sh              hook of dracut
 *   var/lib/dracut/hooks/pre-udev/00-metalcow.sh              the same for dracut 103 and newer
 *   etc/systemd/system/metalcow-handoff.service               hook of plain systemd initrds,
 *   etc/systemd/system/sysinit.target.wants/metalcow-handoff.service   a link to it
 *
 * A hook of one kind is never looked at by the others. Where two of them start the program, the
 * second start finds the record taken and ends at once. No folder of the archive is a symbolic link
 * in an initrd (lib and bin may be): unpacking would replace the link.
 */
#ifndef Q2_HANDOFF_CPIO_H
#define Q2_HANDOFF_CPIO_H

#include <stddef.h>

#include "q2_status.h"

/* Places in the archive; in the running initrd with a '/' before. */
#define Q2_HANDOFF_PROGRAM_PATH "metalcow/handoff"
#define Q2_HANDOFF_RECORD_PATH  "metalcow/record"

/* Most bytes of program and record together; far above what they have. */
#define Q2_HANDOFF_MAX_CPIO_PARTS (64u << 20)

/* What varies. */
struct q2_handoff_cpio {
    const void *program;
    size_t program_length;
    const void *record;
    size_t record_length;
};

/* Bytes of the archive for parts of these lengths; a multiple of 512.
 * 0: they are longer than Q2_HANDOFF_MAX_CPIO_PARTS. */
size_t q2_handoff_cpio_size(size_t program_length, size_t record_length);

/* Write the archive.
 *
 * buffer, size  size is at least q2_handoff_cpio_size(); exactly that many bytes are written. The
 *               record may have keys in it: wipe the buffer when it has been given away
 *
 * Q2_ERR_LIMIT  the buffer is too small or the parts are too long; nothing of use was written
 */
enum q2_status q2_handoff_cpio_make(const struct q2_handoff_cpio *parts, void *buffer, size_t size);

#endif
