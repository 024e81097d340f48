/* FAT volumes as mkfs.fat and mtools make them: files found and read through their extent maps must
 * be the bytes that mcopy gives, and the maps must be the clusters that mshowfat shows. */
#include "core/fs/fat_judge.h"
#include "drivers/extents/source.h"
#include "drivers/posix/source.h"
#include "tests/support/t.h"
#include "fat_image.h"

static uint8_t work[256 * 1024] __attribute__((aligned(4096)));

/* One file of a mounted image, mapped. */
struct mapped {
    struct q2_source_posix file;
    struct q2_fat_volume volume;
    struct q2_fat_file found;
    struct q2_source_extents source;
    struct q2_file_extent *extents;
    size_t nb_extents;
    uint32_t odd;
};

static void mapped_close(struct mapped *mapped)
{
    free(mapped->extents);
    q2_source_posix_close(&mapped->file);
}

static bool mapped_open(struct mapped *mapped, const char *image, const char *path)
{
    struct q2_fault fault = {.what = "?"};
    struct q2_source *volume = &mapped->file.source;
    struct q2_fat_chain chain = {0};
    enum q2_status status;

    if (q2_source_posix_open(&mapped->file, fat_image_path(image), Q2_POSIX_WRITABLE) != Q2_OK)
        return T_CHECK(!"the image opens");
    status = q2_fat_volume_open(volume, &fault, &mapped->volume);
    if (status == Q2_OK)
        status = q2_fat_find(&mapped->volume, path, work, sizeof(work), &fault, &mapped->found);
    if (status == Q2_OK)
        status = q2_fat_map(&mapped->volume, &mapped->found, work, sizeof(work), NULL, 0, &fault,
                            &chain);
    mapped->nb_extents = chain.nb_extents;
    mapped->extents = calloc(mapped->nb_extents + 1, sizeof(*mapped->extents));
    if (status == Q2_OK)
        status = q2_fat_map(&mapped->volume, &mapped->found, work, sizeof(work), mapped->extents,
                            mapped->nb_extents, &fault, &chain);
    if (status == Q2_OK)
        status = q2_fat_judge(&mapped->volume, &mapped->found, mapped->extents, &chain, work,
                              sizeof(work), &fault, &mapped->odd);
    if (status == Q2_OK && !T_CHECK_U64(mapped->odd, 0))
        status = Q2_ERR_BAD_VOLUME;
    if (status == Q2_OK)
        status =
            q2_source_extents_init(&mapped->source, &(struct q2_extents_file){
                                                        .volume = volume,
                                                        .extents = mapped->extents,
                                                        .nb_extents = mapped->nb_extents,
                                                        .size = mapped->found.size,
                                                        .file_id = q2_fat_file_id(&mapped->found),
                                                        .path = path,
                                                    });
    if (status != Q2_OK) {
        printf("# %s: %s: %s\n", image, path, fault.what ? fault.what : "(no text)");
        mapped_close(mapped);
    }
    return T_CHECK_U64(status, Q2_OK);
}

/* mshowfat prints "::/path <first-last> <only> ..."; an empty file has no pair. */
static void check_clusters(const struct mapped *mapped, const char *image, const char *path)
{
    size_t length, n = 0;
    char *text, *at;

    fat_image_run("mshowfat -i %s '::%s' >clusters", image, path);
    text = fat_image_read("clusters", &length);
    text[length] = '\0';
    for (at = strchr(text, '<'); at; at = strchr(at + 1, '<'), n++) {
        unsigned first = 0, last = 0;
        uint64_t offset;
        if (sscanf(at, "<%u-%u>", &first, &last) < 2)
            last = first;
        if (!T_CHECK(n < mapped->nb_extents))
            break;
        offset = q2_fat_cluster_offset(&mapped->volume, first);
        T_CHECK_U64(mapped->extents[n].volume_offset, offset);
        T_CHECK_U64((mapped->extents[n].length + mapped->volume.cluster_size - 1) /
                        mapped->volume.cluster_size,
                    last - first + 1);
    }
    T_CHECK_U64(mapped->nb_extents, n);
    free(text);
}

/* The whole file by both ways. */
static void check_content(struct mapped *mapped, const char *image, const char *path)
{
    struct q2_source *source = &mapped->source.source;
    size_t length;
    uint8_t *want, *got;

    fat_image_run("mcopy -n -o -i %s '::%s' out", image, path);
    want = fat_image_read("out", &length);
    got = malloc(length + 1);
    T_CHECK_U64(source->size, length);
    if (got && source->size == length && length > 0) {
        T_CHECK_U64(source->ops->read_at(source, 0, got, length), Q2_OK);
        T_CHECK(memcmp(got, want, length) == 0);
    }
    free(got);
    free(want);
}

struct image {
    const char *name, *options;
    unsigned kib;
    enum q2_fat_type type;
    uint32_t cluster_size;
};

static const struct image images[] = {
    {"12_512", "-F 12 -s 1", 1440, Q2_FAT_12, 512},
    {"12_1k", "-F 12 -s 2", 3600, Q2_FAT_12, 1024},
    {"12_4k", "-F 12 -s 8", 8192, Q2_FAT_12, 4096},
    {"12_32k", "-F 12 -s 64", 32768, Q2_FAT_12, 32768},
    {"12_1_fat", "-F 12 -s 1 -f 1", 1440, Q2_FAT_12, 512},
    {"16_512", "-F 16 -s 1", 16384, Q2_FAT_16, 512},
    {"16_2k", "-F 16 -s 4", 32768, Q2_FAT_16, 2048},
    {"16_16k", "-F 16 -s 32", 131072, Q2_FAT_16, 16384},
    {"16_64k", "-F 16 -s 128", 300000, Q2_FAT_16, 65536},
    {"16_sector_4096", "-F 16 -S 4096 -s 1", 65536, Q2_FAT_16, 4096},
    {"32_512", "-F 32 -s 1", 40960, Q2_FAT_32, 512},
    {"32_4k", "-F 32 -s 8", 300000, Q2_FAT_32, 4096},
    {"32_32k", "-F 32 -s 64", 2200000, Q2_FAT_32, 32768},
    {"32_64k", "-F 32 -s 128", 4300000, Q2_FAT_32, 65536},
    {"32_sector_2048", "-F 32 -S 2048 -s 1", 140000, Q2_FAT_32, 2048},
    {"32_sector_4096_256k", "-F 32 -S 4096 -s 64", 17000000, Q2_FAT_32, 262144},
};

/* The files of every image: where they are stored and how long they are. */
static const struct {
    const char *path;            /* as mtools writes it */
    const char *alias;           /* another way to write it; NULL: none */
    uint32_t nb_clusters, extra; /* the size: whole clusters and bytes more or less */
    bool pieces;                 /* written after the volume was fragmented */
} volume_files[] = {
    {"/EMPTY.BIN", "/empty.bin", 0, 0, false},
    {"/one.bin", NULL, 1, 0, false},
    {"/byte.bin", NULL, 0, 1, false},
    {"/img/one cluster and a byte.raw", "/IMG/One Cluster And A Byte.RAW", 1, 1, false},
    {"/img/contiguous-image-with-a-long-name.qcow2", NULL, 20, 17, false},
    {"/img/a/b/c/d/e/f/g/h/deep.qcow2", "/img/../img/a/./b/c/d/e/f/g/h/DEEP.qcow2", 2, 0, false},
    {"/img/\xc3\xa4\xc3\xb6\xc3\xbc and more.img", "/img/\xc3\x84\xc3\x96\xc3\x9c AND MORE.IMG", 3,
     5, false},
    {"/img/debian.qcow2", "/IMG/DEBIAN.QCOW2", 30, 100, true},
    {"/img/debian.raw", NULL, 12, 0, true},
};
#define NB_FILES (sizeof(volume_files) / sizeof(volume_files[0]))

static uint32_t file_size(const struct image *image, size_t i)
{
    return volume_files[i].nb_clusters * image->cluster_size + volume_files[i].extra;
}

static void add_files(const struct image *image, const char *name, bool pieces)
{
    for (size_t i = 0; i < NB_FILES; i++) {
        uint32_t size = file_size(image, i), state = (uint32_t)i + 1;
        uint8_t *bytes = malloc(size + 1);
        for (uint32_t k = 0; bytes && k < size; k++) {
            state = state * 1664525u + 1013904223u;
            bytes[k] = (uint8_t)(state >> 24);
        }
        if (volume_files[i].pieces == pieces) {
            fat_image_write("file", bytes, size);
            fat_image_run("mcopy -i %s file '::%s'", name, volume_files[i].path);
        }
        free(bytes);
    }
}

static void make_image(const struct image *image, const char *name)
{
    fat_image_mkfs(name, image->kib, image->options);
    fat_image_run("mmd -i %s ::/img ::/img/a ::/img/a/b ::/img/a/b/c ::/img/a/b/c/d"
                  " ::/img/a/b/c/d/e ::/img/a/b/c/d/e/f ::/img/a/b/c/d/e/f/g"
                  " ::/img/a/b/c/d/e/f/g/h",
                  name);
    add_files(image, name, false);
    fat_image_fragment(name, 100, image->cluster_size);
    add_files(image, name, true);
}

static void check_image(const struct image *image)
{
    char name[64];

    (void)snprintf(name, sizeof(name), "%s.img", image->name);
    make_image(image, name);
    for (size_t i = 0; i < NB_FILES; i++) {
        struct mapped mapped = {0};
        t_row(volume_files[i].path);
        if (!mapped_open(&mapped, name, volume_files[i].path))
            continue;
        T_CHECK_U64(mapped.volume.type, image->type);
        T_CHECK_U64(mapped.volume.cluster_size, image->cluster_size);
        T_CHECK_U64(mapped.found.size, file_size(image, i));
        if (volume_files[i].pieces)
            T_CHECK(mapped.nb_extents >= 5);
        check_clusters(&mapped, name, volume_files[i].path);
        check_content(&mapped, name, volume_files[i].path);
        if (volume_files[i].alias) {
            struct q2_fat_file again = {0};
            struct q2_fault fault;
            T_CHECK_U64(q2_fat_find(&mapped.volume, volume_files[i].alias, work, sizeof(work),
                                    &fault, &again),
                        Q2_OK);
            T_CHECK_U64(again.entry_offset, mapped.found.entry_offset);
        }
        mapped_close(&mapped);
    }
    fat_image_run("rm %s", name);
}

/* A folder of many files with long names, so that it spans clusters and windows. */
static void test_images_every_file_of_a_large_folder_is_found(void)
{
    struct mapped mapped = {0};
    struct q2_fault fault;

    fat_image_mkfs("many.img", 40960, "-F 32 -s 1");
    fat_image_run("mkdir many && cd many && for i in $(seq 1 700); do"
                  " printf %%$((i%%9+1))s x >\"file number $i of many.txt\"; done");
    fat_image_run("mmd -i many.img ::/many && mcopy -i many.img many/* ::/many/");
    if (!mapped_open(&mapped, "many.img", "/many/file number 1 of many.txt"))
        return;
    for (unsigned i = 1; i <= 700; i++) {
        struct q2_fat_file found = {0};
        char path[64];
        (void)snprintf(path, sizeof(path), "/many/File Number %u Of Many.TXT", i);
        t_row(path);
        T_CHECK_U64(q2_fat_find(&mapped.volume, path, work, Q2_FAT_MIN_BUFFER, &fault, &found),
                    Q2_OK);
        T_CHECK_U64(found.size, i % 9 + 1);
    }
    T_CHECK_U64(q2_fat_find(&mapped.volume, "/many/file number 701 of many.txt", work, sizeof(work),
                            &fault, &mapped.found),
                Q2_ERR_NOT_FOUND);
    mapped_close(&mapped);
}

/* Link nb clusters from first on, leaving one out after every run, in both FATs of FAT32. */
static void link_clusters(struct mapped *mapped, uint32_t first, uint32_t nb, uint32_t run)
{
    struct q2_source *volume = &mapped->file.source;
    uint32_t cluster = first, nb_skips = (nb - 1) / run;
    size_t length = (nb + nb_skips) * sizeof(uint32_t);
    uint32_t *entries = calloc(1, length); /* the machine is little-endian, like FAT */

    for (uint32_t i = 0; entries && i < nb; i++) {
        uint32_t next = cluster + ((i + 1) % run == 0 ? 2 : 1);
        entries[cluster - first] = i + 1 < nb ? next : 0x0fffffff;
        cluster = next;
    }
    for (unsigned copy = 0; entries && copy < 2; copy++) {
        uint64_t fat = mapped->volume.fat_offset + copy * mapped->volume.fat_size;
        T_CHECK_U64(volume->ops->write_at(volume, fat + first * 4, entries, length), Q2_OK);
    }
    free(entries);
}

/* FAT's largest file, on a sparse volume: 4 GiB - 1 in 131072 clusters and three runs. */
static void test_images_file_of_4_gib_less_one_is_mapped(void)
{
    static const uint64_t places[] = {0, 1638399999, 1638400000, (1ull << 32) - 2};
    const uint32_t cluster = 32768, run = 50000;
    struct mapped mapped = {0};
    struct q2_source *volume = &mapped.file.source, *source = &mapped.source.source;
    uint32_t size = 0xffffffff;

    fat_image_mkfs("big.img", 5u << 20, "-F 32 -s 64");
    fat_image_run("truncate -s %u one && mcopy -i big.img one ::/big.raw", cluster);
    if (!mapped_open(&mapped, "big.img", "/big.raw"))
        return;
    T_CHECK_U64(mapped.volume.cluster_size, cluster);
    link_clusters(&mapped, mapped.found.first_cluster, 131072, run);
    T_CHECK_U64(volume->ops->write_at(volume, mapped.found.entry_offset + 28, &size, 4), Q2_OK);
    for (uint8_t i = 0; i < 4; i++) {
        uint64_t index = places[i] / cluster; /* one cluster is left out after each run */
        uint64_t at = q2_fat_cluster_offset(&mapped.volume, (uint32_t)(mapped.found.first_cluster +
                                                                       index + index / run)) +
                      places[i] % cluster;
        uint8_t mark = (uint8_t)(0x11 * (i + 1));
        T_CHECK_U64(volume->ops->write_at(volume, at, &mark, 1), Q2_OK);
    }
    mapped_close(&mapped);
    if (!mapped_open(&mapped, "big.img", "/big.raw"))
        return;
    T_CHECK_U64(source->size, 0xffffffff);
    T_CHECK_U64(mapped.nb_extents, 3);
    check_clusters(&mapped, "big.img", "/big.raw");
    for (uint8_t i = 0; i < 4; i++) {
        uint8_t got = 0;
        T_CHECK_U64(source->ops->read_at(source, places[i], &got, 1), Q2_OK);
        T_CHECK_U64(got, 0x11 * (i + 1));
    }
    mapped_close(&mapped);
}

/* The same in clusters of 4 KiB, none beside its neighbour: a map of 2^20 extents. */
static void test_images_file_of_4_gib_less_one_in_single_clusters_is_mapped(void)
{
    const uint32_t cluster = 4096, nb = 1u << 20;
    struct mapped mapped = {0};
    struct q2_source *volume = &mapped.file.source, *source = &mapped.source.source;
    uint32_t size = 0xffffffff, state = 1;

    fat_image_mkfs("scattered.img", 9u << 20, "-F 32 -s 8");
    fat_image_run("truncate -s %u one && mcopy -i scattered.img one ::/big.raw", cluster);
    if (!mapped_open(&mapped, "scattered.img", "/big.raw"))
        return;
    link_clusters(&mapped, mapped.found.first_cluster, nb, 1);
    T_CHECK_U64(volume->ops->write_at(volume, mapped.found.entry_offset + 28, &size, 4), Q2_OK);
    mapped_close(&mapped);
    if (!mapped_open(&mapped, "scattered.img", "/big.raw"))
        return;
    T_CHECK_U64(source->size, size);
    T_CHECK_U64(mapped.nb_extents, nb);
    for (uint32_t i = 0; i < 200; i++) {
        uint32_t number = i < 100 ? i : (state = state * 1664525u + 1013904223u) % (nb - 1);
        uint32_t at = mapped.found.first_cluster + 2 * number;
        T_CHECK_U64(
            volume->ops->write_at(volume, q2_fat_cluster_offset(&mapped.volume, at), &at, 4),
            Q2_OK);
        T_CHECK_U64(source->ops->read_at(source, (uint64_t)number * cluster, &state, 4), Q2_OK);
        T_CHECK_U64(state, at);
    }
    mapped_close(&mapped);
    fat_image_run("rm scattered.img");
}

int main(void)
{
    fat_image_start();
    for (size_t i = 0; i < sizeof(images) / sizeof(images[0]); i++) {
        char name[128];
        check_image(&images[i]);
        (void)snprintf(name, sizeof(name), "test_images_fat%s_files_read_as_mcopy_gives_them",
                       images[i].name);
        t_case_end(name);
    }
    T_RUN(test_images_every_file_of_a_large_folder_is_found);
    T_RUN(test_images_file_of_4_gib_less_one_is_mapped);
    T_RUN(test_images_file_of_4_gib_less_one_in_single_clusters_is_mapped);
    return t_done();
}
