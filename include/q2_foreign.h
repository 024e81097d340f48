/* Formats of disk images that metalcow does not read, by bytes that their files begin with.
 *
 * A table for programs that tell a person what a file is. Nothing is ever opened by what this says:
 * the format of an image is stated, not guessed.
 */
#ifndef Q2_FOREIGN_H
#define Q2_FOREIGN_H

/* Bytes of a file that must be read to compare all rows. */
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

#endif
