/* Log-linear buckets: 0..127 hold one value each, then every power of two is cut into 128 equal parts. */
#include "memtouch.h"

#define SUB_BITS 7
#define SUB (1u << SUB_BITS)
#define TOP_BIT 39

_Static_assert(MT_BUCKETS == (TOP_BIT - SUB_BITS + 2) << SUB_BITS, "MT_BUCKETS is typed in the header for cffi");

uint32_t mt_bucket(uint64_t ns)
{
    if (ns < SUB)
        return (uint32_t)ns;
    uint32_t top = 63u - (uint32_t)__builtin_clzll(ns);
    if (top > TOP_BIT)
        return MT_BUCKETS - 1;
    uint32_t shift = top - SUB_BITS;
    /* ns >> shift is in [SUB, 2 * SUB): its SUB counts as the one that `shift` lacks. */
    return (shift << SUB_BITS) + (uint32_t)(ns >> shift);
}

uint64_t mt_bucket_lower(uint32_t bucket)
{
    if (bucket < SUB)
        return bucket;
    return (uint64_t)(SUB + bucket % SUB) << (bucket / SUB - 1);
}

uint64_t mt_bucket_upper(uint32_t bucket)
{
    return mt_bucket_lower(bucket + 1) - 1;
}
