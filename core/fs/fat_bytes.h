/* Little-endian numbers on a FAT volume: byte arrays, so that an unconverted value cannot be used.
 */
#ifndef Q2_CORE_FAT_BYTES_H
#define Q2_CORE_FAT_BYTES_H

#include <stdint.h>

typedef struct {
    uint8_t b[2];
} le16;
typedef struct {
    uint8_t b[4];
} le32;
typedef struct {
    uint8_t b[8];
} le64;

static inline uint16_t le16_get(le16 value)
{
    return (uint16_t)(value.b[0] | value.b[1] << 8);
}

static inline uint32_t le32_get(le32 value)
{
    return (uint32_t)value.b[0] | (uint32_t)value.b[1] << 8 | (uint32_t)value.b[2] << 16 |
           (uint32_t)value.b[3] << 24;
}

static inline uint64_t le64_get(le64 value)
{
    return (uint64_t)value.b[0] | (uint64_t)value.b[1] << 8 | (uint64_t)value.b[2] << 16 |
           (uint64_t)value.b[3] << 24 | (uint64_t)value.b[4] << 32 | (uint64_t)value.b[5] << 40 |
           (uint64_t)value.b[6] << 48 | (uint64_t)value.b[7] << 56;
}

#endif
