/* The table of options. A verb's help lists its rows in this order. */
#include "options.h"

#include <stdio.h>
#include <string.h>

#include "base/arguments.h"

#define FIELD(name) offsetof(struct arguments, name)

#define V(id)    VERB_BIT(id)
#define ALL      (((verb_set)1 << NB_VERBS) - 1)
#define CHANGING (V(WRITE) | V(ZERO) | V(DISCARD) | V(FLUSH))
/* Verbs that open one image by -f. */
#define IMAGE (ALL & ~(V(CREATE)))
/* Verbs that open an image as a program of QEMU's does. */
#define QEMU_VERBS (IMAGE & ~(CHANGING | V(READ)))
/* Verbs that read without changing anything. */
#define READING                                                                                    \
    (V(CHECK) | V(COMPARE) | V(CONVERT) | V(DD) | V(INFO) | V(MAP) | V(MEASURE) | V(READ) |        \
     V(SNAPSHOT) | V(IO) | V(BENCH))
/* Verbs that open the files which an image names. */
#define CHAIN                                                                                      \
    (CHANGING | V(AMEND) | V(COMMIT) | V(COMPARE) | V(CONVERT) | V(DD) | V(INFO) | V(IO) |         \
     V(MAP) | V(MEASURE) | V(READ) | V(REBASE) | V(RESIZE) | V(SERVE) | V(SNAPSHOT) | V(BENCH))

#define CACHE_TEXT                                                                                 \
    "writeback (default); writethrough: a write is durable when it returns; none: nothing stays "  \
    "in the page cache; directsync: both; unsafe: a flush does nothing"

const struct option_row option_rows[] = {
    {'h', "help", NULL, OPTION_HELP, 0, ALL, "show this help"},

    /* --- the image and its files --- */
    {'f', "format", "FMT", OPTION_FORMAT, FIELD(image[0].format), IMAGE,
     "format of the image: qcow2 or raw (default: told by its first bytes)"},
    {'f', "format", "FMT", OPTION_TEXT, FIELD(output_format), V(CREATE),
     "format of the image to make: raw (default) or qcow2"},
    {0, "image-opts", NULL, OPTION_SET, FIELD(image_opts), QEMU_VERBS,
     "an image is not a file name but KEY=VALUE,...: file.filename (or filename), driver, "
     "data-file.filename, encrypt.key-secret, read-only, force-share, cache.direct; with "
     "'backing.' in front: of the file below"},
    {0, "target-image-opts", NULL, OPTION_SET, FIELD(target_image_opts), V(CONVERT),
     "with -n: the output is KEY=VALUE,..., as with --image-opts"},
    {0, "object", "secret,id=ID,file=FILE", OPTION_TEXTS, FIELD(objects),
     QEMU_VERBS & ~(V(AMEND) | V(CONVERT) | V(MEASURE)),
     "the passphrase for encrypt.key-secret of --image-opts: every byte of FILE, or "
     "secret,id=ID,data=TEXT"},
    {'F', NULL, "FMT", OPTION_FORMAT, FIELD(image[1].format), V(COMPARE),
     "format of the second image"},
    {'U', "force-share", NULL, OPTION_SET, FIELD(image[0].share), READING,
     "read even what another program is writing; the result may be torn"},
    {'U', "force-share", NULL, OPTION_SET, FIELD(image[0].share_backing), V(REBASE),
     "read the backing files even if another program is writing them"},
    {0, "snapshot", NULL, OPTION_KEY, FIELD(image[0].snapshot),
     V(COMPARE) | V(CONVERT) | V(DD) | V(MAP) | V(MEASURE) | V(READ) | V(SERVE),
     "the internal snapshot of this id or name instead of the active state"},
    {'l', NULL, "SNAPSHOT", OPTION_TEXT, FIELD(snapshot_param), V(CONVERT) | V(MEASURE),
     "snapshot.id=ID,snapshot.name=NAME, or an id or name"},
    {0, "data-file", NULL, OPTION_KEY, FIELD(image[0].data_file), CHAIN,
     "the external data file, instead of the name in the image"},
    {0, "backing-file", NULL, OPTION_KEY, FIELD(image[0].backing_files), CHAIN,
     "the backing file, instead of the name in the image; given again: that of the file below, and "
     "so on"},
    {0, "backing-format", NULL, OPTION_KEY, FIELD(image[0].backing_format), CHAIN,
     "what a backing file is whose format the image does not state"},
    {0, "passphrase-file", NULL, OPTION_KEY, FIELD(image[0].passphrase_file), CHAIN,
     "the file whose first line is the passphrase, instead of asking for it"},
    {0, "key-file", NULL, OPTION_KEY, FIELD(image[0].key_file), CHAIN,
     "the file whose bytes, all of them, are the passphrase"},
    {0, "names", NULL, OPTION_KEY, FIELD(image[0].names), CHAIN,
     "which file names out of images may be opened: any (default), those in the image's folder or "
     "below, none; for images that you do not trust"},
    {0, "names", NULL, OPTION_KEY, FIELD(image[0].names), V(CREATE),
     "which file names out of the backing file may be opened"},
    {0, "data-file2", NULL, OPTION_KEY, FIELD(image[1].data_file), V(COMPARE),
     "the second image's data file"},
    {0, "backing-file2", NULL, OPTION_KEY, FIELD(image[1].backing_files), V(COMPARE),
     "the second image's backing file"},
    {0, "snapshot2", NULL, OPTION_KEY, FIELD(image[1].snapshot), V(COMPARE),
     "the second image's snapshot"},
    {0, "passphrase-file2", NULL, OPTION_KEY, FIELD(image[1].passphrase_file), V(COMPARE),
     "the second image's passphrase file"},
    {0, "key-file2", NULL, OPTION_KEY, FIELD(image[1].key_file), V(COMPARE),
     "the second image's key file"},

    /* --- what is made or changed --- */
    {'O', NULL, "FMT", OPTION_TEXT, FIELD(output_format), V(CONVERT) | V(DD),
     "format of the output: raw (default) or qcow2"},
    {'O', NULL, "FMT", OPTION_TEXT, FIELD(output_format), V(MEASURE),
     "format of the image to make: raw (default) or qcow2"},
    {'o', NULL, "OPTIONS", OPTION_TEXTS, FIELD(options), V(CREATE),
     "creation options, NAME=VALUE,...; 'help' lists them"},
    {'o', NULL, "OPTIONS", OPTION_TEXTS, FIELD(options), V(CONVERT) | V(MEASURE),
     "creation options of the image to make, NAME=VALUE,..."},
    {'o', NULL, "OPTIONS", OPTION_TEXTS, FIELD(options), V(AMEND),
     "compat=0.10|1.1; data_file=NAME: the external data file's name, empty for none; "
     "lazy_refcounts=on|off; refcount_bits=NUMBER; size=SIZE: data after a smaller one is lost; "
     "encrypt.state=active|inactive, encrypt.new-secret=ID, encrypt.old-secret=ID, "
     "encrypt.keyslot=NUMBER, encrypt.iter-time=MS: a key of an encrypted image"},
    {0, "object", "secret,id=ID,file=FILE", OPTION_TEXTS, FIELD(objects), V(AMEND),
     "a passphrase for encrypt.new-secret or encrypt.old-secret, or for encrypt.key-secret of "
     "--image-opts: every byte of FILE, or secret,id=ID,data=TEXT"},
    {0, "object", "secret,id=ID,file=FILE", OPTION_TEXTS, FIELD(objects),
     V(CREATE) | V(CONVERT) | V(MEASURE),
     "the passphrase for encrypt.key-secret: every byte of FILE, or secret,id=ID,data=TEXT"},
    {0, "force", NULL, OPTION_SET, FIELD(force), V(AMEND),
     "replace an active key, or erase the last one, without which no data can be read any more"},
    {'b', NULL, "FILE", OPTION_TEXT, FIELD(backing_file), V(CREATE),
     "the backing file, relative to the new image's folder"},
    {'b', NULL, "FILE", OPTION_TEXT, FIELD(backing_file), V(REBASE),
     "the backing file, relative to the image's folder; empty for none"},
    {'F', NULL, "FMT", OPTION_TEXT, FIELD(backing_format), V(CREATE) | V(REBASE),
     "format of the backing file: qcow2 or raw"},
    {'u', NULL, NULL, OPTION_SET, FIELD(unsafe), V(CREATE),
     "do not look at the backing file; SIZE must be given then"},
    {'u', NULL, NULL, OPTION_SET, FIELD(unsafe), V(REBASE),
     "only the name changes: for files that were moved; nothing is compared"},
    {'B', NULL, "PATH", OPTION_TEXT, FIELD(base), V(CONVERT),
     "the output's backing file; only what FILE has above its own backing file is copied"},
    {'F', NULL, "FMT", OPTION_TEXT, FIELD(base_format), V(CONVERT), "format of that backing file"},
    {'b', NULL, "BASE", OPTION_TEXT, FIELD(base), V(COMMIT),
     "the file of the chain to commit into (default: the backing file); sets -d"},
    {'d', NULL, NULL, OPTION_SET, FIELD(drop), V(COMMIT), "leave FILE as it is, do not empty it"},
    {'c', NULL, NULL, OPTION_SET, FIELD(compress), V(CONVERT),
     "compress the clusters of a qcow2 output"},
    {'n', NULL, NULL, OPTION_SET, FIELD(skip_create), V(CONVERT),
     "write into an output that exists, without emptying it"},
    {'S', NULL, "SIZE", OPTION_SIZE, FIELD(sparse_size), V(CONVERT),
     "bytes of zeros in a row that become a hole (default 4k; 0: none)"},
    {0, "target-is-zero", NULL, OPTION_SET, FIELD(target_is_zero), V(CONVERT),
     "with -n: the output reads as zeros already, so zeros are not written"},
    {0, "salvage", NULL, OPTION_SET, FIELD(salvage), V(CONVERT),
     "write zeros in place of what cannot be read, instead of failing"},
    {'m', NULL, "NUMBER", OPTION_SIZE, FIELD(nb_threads), V(CONVERT),
     "threads that compress, 1 to 16 (default: one for each processor)"},
    {'r', NULL, "RATE", OPTION_SIZE, FIELD(rate), V(COMMIT) | V(CONVERT),
     "bytes a second at most (default: as fast as it goes)"},
    {0, "shrink", NULL, OPTION_SET, FIELD(shrink), V(RESIZE),
     "allow a smaller size: data after it is lost"},
    {0, "preallocation", "MODE", OPTION_PREALLOCATION, FIELD(preallocation), V(RESIZE),
     "for what is added: off (default), metadata, falloc, full"},
    {'r', "repair", "leaks|all", OPTION_REPAIR, FIELD(repair), V(CHECK),
     "mend leaked clusters, or all that can be mended"},
    {'l', "list", NULL, OPTION_ACTION, FIELD(actions), V(SNAPSHOT),
     "list the snapshots (the default)"},
    {'c', "create", "NAME", OPTION_ACTION, FIELD(actions), V(SNAPSHOT),
     "take a snapshot of the disk as it is"},
    {'a', "apply", "NAME_OR_ID", OPTION_ACTION, FIELD(actions), V(SNAPSHOT),
     "make a snapshot's content the disk's"},
    {'d', "delete", "NAME_OR_ID", OPTION_ACTION, FIELD(actions), V(SNAPSHOT), "delete a snapshot"},

    {0, "add", NULL, OPTION_ACTION, FIELD(actions), V(BITMAP),
     "add BITMAP; it is enabled and nothing in it is dirty"},
    {'g', "granularity", "GRANULARITY", OPTION_SIZE, FIELD(granularity), V(BITMAP),
     "bytes of the disk for each bit of an added bitmap, a power of 2 (default: the cluster size, "
     "4k to 64k)"},
    {0, "remove", NULL, OPTION_ACTION, FIELD(actions), V(BITMAP),
     "remove BITMAP, even if it is inconsistent"},
    {0, "clear", NULL, OPTION_ACTION, FIELD(actions), V(BITMAP), "make all of it clean"},
    {0, "enable", NULL, OPTION_ACTION, FIELD(actions), V(BITMAP), "have it record writes"},
    {0, "disable", NULL, OPTION_ACTION, FIELD(actions), V(BITMAP), "have it record no writes"},
    {0, "merge", "SOURCE", OPTION_ACTION, FIELD(actions), V(BITMAP),
     "mark in BITMAP too what is dirty in the bitmap SOURCE"},
    {'b', NULL, "FILE", OPTION_TEXT, FIELD(base), V(BITMAP), "the image that has SOURCE"},
    {'F', NULL, "FMT", OPTION_TEXT, FIELD(base_format), V(BITMAP), "format of that image"},
    {0, "bitmaps", NULL, OPTION_SET, FIELD(bitmaps), V(CONVERT),
     "copy the dirty bitmaps of FILE too"},
    {0, "skip-broken-bitmaps", NULL, OPTION_SET, FIELD(skip_broken_bitmaps), V(CONVERT),
     "with --bitmaps: leave out those that are inconsistent"},

    /* --- what is looked at and how it is printed --- */
    {0, "output", "human|json", OPTION_OUTPUT, FIELD(json), V(CHECK) | V(INFO) | V(MEASURE),
     "how to print the result"},
    {0, "output", "human|json|html|svg", OPTION_MAP_OUTPUT, FIELD(map_output), V(MAP),
     "how to print the result; html and svg: a picture"},
    {0, "backing-chain", NULL, OPTION_SET, FIELD(backing_chain), V(INFO), "the backing files too"},
    {0, "size", "SIZE", OPTION_TEXT, FIELD(size_text), V(MEASURE),
     "measure an empty disk of this size instead of FILE"},
    {'s', "start-offset", "OFFSET", OPTION_SIZE, FIELD(start), V(MAP), "where to begin"},
    {'l', "max-length", "LENGTH", OPTION_SIZE, FIELD(max_length), V(MAP),
     "how many bytes to look at"},
    {'s', "strict", NULL, OPTION_SET, FIELD(strict), V(COMPARE),
     "sizes and allocation must be equal too"},
    {'q', "quiet", NULL, OPTION_SET, FIELD(quiet),
     V(AMEND) | V(BENCH) | V(CHECK) | V(COMMIT) | V(COMPARE) | V(CONVERT) | V(CREATE) | V(REBASE) |
         V(RESIZE) | V(SNAPSHOT),
     "print errors only"},
    {'p', "progress", NULL, OPTION_SET, FIELD(progress),
     V(AMEND) | V(COMMIT) | V(COMPARE) | V(CONVERT) | V(REBASE),
     "show progress (on a terminal long work shows it by itself)"},

    /* --- of io --- */
    {'c', "cmd", "COMMAND", OPTION_COMMAND, FIELD(commands), V(IO),
     "run this line instead of those of standard input; again for more"},
    {'r', "read-only", NULL, OPTION_SET, FIELD(read_only), V(IO), "open FILE for reading only"},
    {'s', "snapshot", NULL, OPTION_SET, FIELD(snapshot_mode), V(IO),
     "keep what is written in a temporary file; it vanishes at the end, FILE is only read"},
    {'d', "discard", "MODE", OPTION_DISCARD, FIELD(ignore_discard), V(IO),
     "what discard does: unmap (default) or ignore"},

    /* --- of bench --- */
    {'w', NULL, NULL, OPTION_SET, FIELD(bench.writes), V(BENCH), "write instead of reading"},
    {'c', NULL, "COUNT", OPTION_SIZE, FIELD(bench.count), V(BENCH),
     "how many requests (default 75000)"},
    {'s', NULL, "SIZE", OPTION_SIZE, FIELD(bench.size), V(BENCH),
     "bytes of each request (default 4k)"},
    {'S', NULL, "STEP", OPTION_SIZE, FIELD(bench.step), V(BENCH),
     "bytes from one request's start to the next one's (default: SIZE)"},
    {'o', NULL, "OFFSET", OPTION_SIZE, FIELD(bench.offset), V(BENCH),
     "where the first request starts (default 0)"},
    {'d', NULL, "DEPTH", OPTION_SIZE, FIELD(bench.depth), V(BENCH),
     "requests at a time: 1, because the engine works on one"},
    {0, "pattern", "BYTE", OPTION_SIZE, FIELD(bench.pattern), V(BENCH),
     "with -w: the byte that is written (default 0)"},
    {0, "flush-interval", "COUNT", OPTION_SIZE, FIELD(bench.flush_interval), V(BENCH),
     "with -w: a flush after each COUNT writes (default: only at the end)"},

    /* --- of serve --- */
    {'k', "socket", "PATH", OPTION_TEXT, FIELD(socket_path), V(SERVE),
     "listen on a Unix socket instead of TCP"},
    {'p', "port", "NUMBER", OPTION_TEXT, FIELD(port), V(SERVE),
     "the TCP port (default 10809; 0: any free one)"},
    {'b', "bind", "ADDRESS", OPTION_TEXT, FIELD(bind_address), V(SERVE),
     "the address to listen on (default 127.0.0.1: this machine only)"},
    {'r', "read-only", NULL, OPTION_SET, FIELD(read_only), V(SERVE), "open FILE for reading only"},
    {0, "mode", NULL, OPTION_KEY, FIELD(mode), V(SERVE),
     "write to FILE (default), only read it, or keep what is written in memory until the end"},
    {0, "overlay-size", NULL, OPTION_KEY, FIELD(overlay_size), V(SERVE),
     "memory that --mode overlay may take (default 1G)"},

    /* --- how files are read and written --- */
    {'t', NULL, "CACHE", OPTION_CACHE, FIELD(image[0].cache),
     V(AMEND) | V(BENCH) | V(COMMIT) | V(REBASE), CACHE_TEXT},
    {'t', "cache", "CACHE", OPTION_CACHE, FIELD(image[0].cache), V(IO), CACHE_TEXT},
    {'t', NULL, "CACHE", OPTION_CACHE, FIELD(output_cache), V(CONVERT),
     "the output's page cache: writeback, writethrough, none, directsync or unsafe"},
    {'T', NULL, "CACHE", OPTION_CACHE, FIELD(image[0].cache), V(CHECK) | V(COMPARE) | V(CONVERT),
     "the page cache of what is read: none leaves nothing in it"},
    {'T', NULL, "CACHE", OPTION_CACHE, FIELD(image[0].backing_cache), V(REBASE),
     "the page cache of the backing files: none leaves nothing in it"},
    {'C', NULL, NULL, OPTION_SET, FIELD(offload), V(CONVERT),
     "have the file system copy, if it can and the output is raw; zeros are not looked for"},
    {'W', NULL, NULL, OPTION_PERMISSION, 0, V(CONVERT),
     "allow writes in any order; they are in order all the same"},
    {'n', "nocache", NULL, OPTION_SET, FIELD(no_cache), V(IO), "the same as --cache none"},
    {'i', "aio", "AIO", OPTION_AIO, 0, V(BENCH) | V(IO),
     "threads; the kernel's asynchronous requests (native, io_uring) are not used"},
};

const size_t nb_option_rows = sizeof(option_rows) / sizeof(option_rows[0]);
_Static_assert(sizeof(option_rows) / sizeof(option_rows[0]) <= MAX_OPTION_ROWS,
               "the parser has room for every row");

const struct mc_spec_key *option_key(const struct option_row *row)
{
    char name[32];
    size_t length;

    if (row->kind != OPTION_KEY && row->kind != OPTION_FORMAT)
        return NULL;
    (void)snprintf(name, sizeof(name), "--%s", row->kind == OPTION_KEY ? row->name : "format");
    length = strlen(name);
    if (name[length - 1] == '2')
        name[length - 1] = '\0';
    return mc_spec_find_option(name);
}

const char *option_value(const struct option_row *row)
{
    return row->kind == OPTION_KEY ? option_key(row)->value : row->value;
}
