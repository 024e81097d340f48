/* Big-endian numbers as they are stored on disk.
 *
 * Bottom of the data path; may call nothing. A be64 is eight bytes without alignment, so an
 * unconverted value cannot be used as a number by mistake; the compiler makes one load and one
 * byte swap of q2_be64_get().
 */
#ifndef Q2_CORE_FORMAT_BYTES_H
#define Q2_CORE_FORMAT_BYTES_H

#include <stdint.h>

typedef struct {
    uint8_t b[2];
} be16;

typedef struct {
    uint8_t b[4];
} be32;

typedef struct {
    uint8_t b[8];
} be64;

static inline uint16_t q2_be16_get(be16 v)
{
    return (uint16_t)((uint32_t)v.b[0] << 8 | v.b[1]);
}

static inline uint32_t q2_be32_get(be32 v)
{
    return (uint32_t)v.b[0] << 24 | (uint32_t)v.b[1] << 16 | (uint32_t)v.b[2] << 8 | v.b[3];
}

static inline uint64_t q2_be64_get(be64 v)
{
    return (uint64_t)v.b[0] << 56 | (uint64_t)v.b[1] << 48 | (uint64_t)v.b[2] << 40 |
           (uint64_t)v.b[3] << 32 | (uint64_t)v.b[4] << 24 | (uint64_t)v.b[5] << 16 |
           (uint64_t)v.b[6] << 8 | v.b[7];
}

static inline be16 q2_be16_make(uint16_t v)
{
    return (be16){{(uint8_t)(v >> 8), (uint8_t)v}};
}

static inline be32 q2_be32_make(uint32_t v)
{
    return (be32){{(uint8_t)(v >> 24), (uint8_t)(v >> 16), (uint8_t)(v >> 8), (uint8_t)v}};
}

static inline be64 q2_be64_make(uint64_t v)
{
    return (be64){{(uint8_t)(v >> 56), (uint8_t)(v >> 48), (uint8_t)(v >> 40), (uint8_t)(v >> 32),
                   (uint8_t)(v >> 24), (uint8_t)(v >> 16), (uint8_t)(v >> 8), (uint8_t)v}};
}

#endif
