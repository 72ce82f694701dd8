/* Integers in byte order of a file, a wire or a register: little-endian (le) and big-endian (be),
 * at any alignment. */
#ifndef MACHINE_CORE_BYTES_H
#define MACHINE_CORE_BYTES_H

#include <stdint.h>

static inline uint16_t bytes_le16(const uint8_t *p)
{
    return (uint16_t)(p[0] | p[1] << 8);
}

static inline uint32_t bytes_le32(const uint8_t *p)
{
    return p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

static inline uint64_t bytes_le64(const uint8_t *p)
{
    return bytes_le32(p) | (uint64_t)bytes_le32(p + 4) << 32;
}

static inline uint16_t bytes_be16(const uint8_t *p)
{
    return (uint16_t)(p[0] << 8 | p[1]);
}

static inline uint32_t bytes_be32(const uint8_t *p)
{
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

static inline uint64_t bytes_be64(const uint8_t *p)
{
    return (uint64_t)bytes_be32(p) << 32 | bytes_be32(p + 4);
}

static inline void bytes_put_le16(uint8_t *p, uint16_t value)
{
    p[0] = (uint8_t)value;
    p[1] = (uint8_t)(value >> 8);
}

static inline void bytes_put_le32(uint8_t *p, uint32_t value)
{
    bytes_put_le16(p, (uint16_t)value);
    bytes_put_le16(p + 2, (uint16_t)(value >> 16));
}

static inline void bytes_put_le64(uint8_t *p, uint64_t value)
{
    bytes_put_le32(p, (uint32_t)value);
    bytes_put_le32(p + 4, (uint32_t)(value >> 32));
}

static inline void bytes_put_be16(uint8_t *p, uint16_t value)
{
    p[0] = (uint8_t)(value >> 8);
    p[1] = (uint8_t)value;
}

static inline void bytes_put_be32(uint8_t *p, uint32_t value)
{
    bytes_put_be16(p, (uint16_t)(value >> 16));
    bytes_put_be16(p + 2, (uint16_t)value);
}

static inline void bytes_put_be64(uint8_t *p, uint64_t value)
{
    bytes_put_be32(p, (uint32_t)(value >> 32));
    bytes_put_be32(p + 4, (uint32_t)value);
}

#endif
