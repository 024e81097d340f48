/* Print what a disk's key looks like in the memory of firmware that has opened it: the expanded AES
 * key of an encrypted image, in hexadecimal. test_boot_luks.py searches the guest's memory for it.
 *
 *     luks_words IMAGE PASSPHRASE
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "drivers/posix/opener.h"
#include "drivers/posix/source.h"
#include "drivers/crypto/unlocker.h"
#include "q2_disk.h"

static struct q2_unlocker_passphrase memory;
static struct q2_source_posix source;
static struct q2_opener_posix opener;

/* Firmware expands the key without the processor's instructions. */
static void print_words(const struct q2_kept_key *kept)
{
    static struct q2_cipher_aes cipher;
    const uint8_t *bytes = (const uint8_t *)cipher.data.words;

    (void)q2_cipher_aes_init_portable(&cipher, kept->mode, kept->bytes, kept->length);
    /* An AES-256 key has 15 round keys of 8 words; the first ones identify it. */
    for (size_t i = 0; i < 256; i++)
        printf("%02x", bytes[i]);
    printf("\n");
}

int main(int argc, char **argv)
{
    struct q2_disk_options options = {.unlocker = q2_unlocker_passphrase_init(&memory)};
    void *workspace = aligned_alloc(Q2_WORKSPACE_ALIGN, Q2_WORKSPACE_SIZE);
    struct q2_fault fault;
    struct q2_disk *disk;

    if (argc != 3 || workspace == NULL)
        return 2;
    memory.passphrase = (const uint8_t *)argv[2];
    memory.passphrase_length = strlen(argv[2]);
    memory.keep_keys = true;
    q2_opener_posix_init(&opener);
    if (q2_source_posix_open(&source, argv[1], 0) != Q2_OK ||
        q2_disk_open(workspace, &source.source, &opener.opener, &options, &fault, &disk) != Q2_OK)
        return 1;
    print_words(&memory.kept[0]);
    q2_disk_close(disk);
    q2_source_posix_close(&source);
    free(workspace);
    return 0;
}
