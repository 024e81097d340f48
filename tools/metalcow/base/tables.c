/* Metadata of an image: two tables of offsets, read in pieces.
 *
 * May call the source of the image. Invariant: only what is inside the file is read, because the
 * tables are untrusted.
 */
#include "tables.h"

#include "core/base/bytes.h"

#define PIECE_ENTRIES 512u

#define L1_OFFSET       UINT64_C(0x00fffffffffffe00)
#define REFCOUNT_OFFSET UINT64_C(0xfffffffffffffe00)

/* A table whose entries name clusters. */
struct table {
    uint64_t offset;
    uint64_t nb_entries;
    uint64_t mask; /* of an entry: the offset */
};

/* Visit a table and the clusters that it names. */
static void visit_table(const struct q2_source *source, const struct table *table,
                        uint64_t cluster_size, table_visitor *visit, void *context)
{
    struct q2_source *reader = (struct q2_source *)source;
    be64 piece[PIECE_ENTRIES];
    uint64_t nb_entries = table->nb_entries;

    if (table->offset > source->size)
        return;
    if (nb_entries > (source->size - table->offset) / 8)
        nb_entries = (source->size - table->offset) / 8;
    visit(context, table->offset, nb_entries * 8);
    for (uint64_t i = 0; i < nb_entries; i += PIECE_ENTRIES) {
        size_t n = nb_entries - i < PIECE_ENTRIES ? (size_t)(nb_entries - i) : PIECE_ENTRIES;

        if (reader->ops->read_at(reader, table->offset + i * 8, piece, n * 8) != Q2_OK)
            return;
        for (size_t j = 0; j < n; j++) {
            uint64_t cluster = q2_be64_get(piece[j]) & table->mask;

            if (cluster != 0)
                visit(context, cluster, cluster_size);
        }
    }
}

void tables_visit(const struct q2_source *source, const struct q2_header *header,
                  table_visitor *visit, void *context)
{
    uint64_t cluster_size = 1ull << header->cluster_bits;
    uint64_t refcount_entries = header->refcount_table_clusters * (cluster_size / 8);
    const struct table tables[] = {
        {header->l1_table_offset, header->l1_size, L1_OFFSET},
        {header->refcount_table_offset, refcount_entries, REFCOUNT_OFFSET},
    };

    visit(context, 0, cluster_size);
    for (size_t i = 0; i < sizeof(tables) / sizeof(tables[0]); i++)
        visit_table(source, &tables[i], cluster_size, visit, context);
}
