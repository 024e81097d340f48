/* Formats of disk images that metalcow does not read, by bytes that their files begin with.
 *
 * Implemented by core/base/foreign.c. A table for programs that tell a person what a file is.
 * Nothing is ever opened by what this says: the format of an image is stated, not guessed.
 */
#ifndef Q2_FOREIGN_H
#define Q2_FOREIGN_H

#include <stddef.h>
#include <stdint.h>

/* Bytes of a file's beginning that all rows can be compared with. */
#define Q2_FOREIGN_SIZE 512u

/* ROW(offset in the file, bytes there, how many, what it is) for each format. */
#define Q2_FOREIGN_FORMATS(ROW)                                                                    \
    ROW(0, "QFI\xfb\0\0\0\1", 8, "a qcow image of version 1")                                      \
    ROW(0, "QED\0", 4, "a QED image")                                                              \
    ROW(0, "KDMV", 4, "a VMDK image")                                                              \
    ROW(0, "COWD", 4, "a VMDK image")                                                              \
    ROW(0, "# Disk Descriptor", 17, "the descriptor of a VMDK image")                              \
    ROW(64, "\x7f\x10\xda\xbe", 4, "a VDI image")                                                  \
    ROW(0, "conectix", 8, "a VHD image")                                                           \
    ROW(0, "vhdxfile", 8, "a VHDX image")                                                          \
    ROW(0, "LUKS\xba\xbe", 6, "a LUKS container")                                                  \
    ROW(0, "WithoutFreeSpace", 16, "a Parallels image")                                            \
    ROW(0, "WithouFreSpacExt", 16, "a Parallels image")

#define Q2_FOREIGN_ONE(offset, bytes, length, name) +1
#define Q2_NB_FOREIGN                               ((size_t)(0 Q2_FOREIGN_FORMATS(Q2_FOREIGN_ONE)))

/* Find the row that a file's first bytes fit.
 *
 * length  bytes that are there: all of the file, or at least Q2_FOREIGN_SIZE of it
 * returns the row's index in Q2_FOREIGN_FORMATS; Q2_NB_FOREIGN: none fits */
size_t q2_foreign_find(const uint8_t *bytes, size_t length);

#endif
