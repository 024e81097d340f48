/* What the parts of probe.efi share. */
#ifndef METALCOW_TESTS_PROBE_H
#define METALCOW_TESTS_PROBE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <efi.h>

/* Print "probe: NAME WHAT NUMBER"; returns EFI_SUCCESS. */
EFI_STATUS probe_say(const char *name, const char *what, uint64_t number);

/* The first disk of ours, not one of its partitions; NULL: there is none. */
EFI_HANDLE probe_find_disk(EFI_BLOCK_IO_PROTOCOL **ret_block_io);

enum probe_function {
    PROBE_READ,
    PROBE_WRITE,
    PROBE_ERASE
};

/* The arguments of a call of Block I/O 2 or Erase Block. */
struct probe_call {
    enum probe_function function;
    UINT32 MediaId;
    EFI_LBA LBA;
    UINTN size;
    VOID *buffer;
};

/* probe_queue.c: Block I/O 2, Disk I/O 2 and Erase Block of the first disk. */
EFI_STATUS probe_queue(const char *operand);

/* What the firmware has given out. */
struct probe_state {
    uint64_t nb_handles, free_pages;
};

void probe_take_state(struct probe_state *ret_state);

/* A number among the words of the command line; 0: there is none. */
uint64_t probe_number(size_t index);

/* A word of the command line; "": there is none. */
const char *probe_word(size_t index);

/* probe_binding.c: connecting by path, diagnostics, and coming and going of the driver. */
EFI_STATUS probe_named(const char *operand);
EFI_STATUS probe_diagnose(const char *operand);
EFI_STATUS probe_rounds(const char *operand);

/* probe_tpm.c: where the log of TPM events is. */
EFI_STATUS probe_tpm(const char *operand);

/* probe_enrol.c: set a variable of Secure Boot. */
EFI_STATUS probe_enrol(const char *operand);

/* probe_fault.c: a wrong call on purpose. */
EFI_STATUS probe_fault(const char *operand);

#endif
