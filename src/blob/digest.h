/* Digests: parsing, printing, hashing (OCI image specification, descriptor.md "Digests").
 *
 * Stored form: one algorithm byte, then the hash; an algorithm this program cannot compute is kept
 * as algorithm 0 and the literal text, for references to others only. Any thread. */
#pragma once

#include "base/err.h"

/* X(name, enum value = algorithm byte on disk, hash bytes, OpenSSL name) */
#define DIGEST_TABLE(X)        \
    X(sha256, 1, 32, "SHA256") \
    X(sha512, 2, 64, "SHA512")

enum digest_algorithm {
    DIGEST_OTHER = 0,
#define X(name, value, bytes, ossl) DIGEST_##name = value,
    DIGEST_TABLE(X)
#undef X
};

enum {
    DIGEST_BYTES_MAX = 64,
    DIGEST_TEXT_MAX = 7 + 128, /* "sha512:" and hexadecimal; of known algorithms */
    DIGEST_STORED_MAX = 255,   /* other digests are refused when longer */
};

struct digest {
    uint8_t n;                         /* bytes used of stored[] */
    uint8_t stored[DIGEST_STORED_MAX]; /* stored form: what goes into the database */
};

static inline enum digest_algorithm digest_algorithm(const struct digest *d)
{
    return d->n ? d->stored[0] : DIGEST_OTHER;
}
static inline str digest_stored(const struct digest *d)
{
    return (str){(const char *)d->stored, d->n};
}
static inline bool digest_eq(const struct digest *a, const struct digest *b)
{
    return a->n == b->n && memcmp(a->stored, b->stored, a->n) == 0;
}

/* Parses `algorithm:encoded` (the grammar of descriptor.md). Known algorithms need exactly their
 * lower-case hexadecimal digits (upper case is refused). Other algorithms parse when `other` is
 * true and the grammar holds. ERR_DIGEST_INVALID otherwise. */
NODISCARD enum err digest_parse(str text, bool other, struct digest *ret);
/* From the stored form; false when that is malformed or not the one form of its digest. */
NODISCARD bool digest_from_stored(str stored, struct digest *ret);
/* Text form in the arena. */
str digest_text(struct arena *a, const struct digest *d);
/* The same between quotes, as entity tags are written. */
str digest_quoted(struct arena *a, const struct digest *d);
/* "sha256" -> algorithm; DIGEST_OTHER when unknown. */
enum digest_algorithm digest_algorithm_parse(str name);
str digest_algorithm_name(enum digest_algorithm alg);

/* Running hash. Heap object; one thread at a time. `alg` is a known algorithm. Running out of
 * memory aborts, as in arenas: a hasher is a few hundred bytes. */
struct hasher;
struct hasher *hasher_new(enum digest_algorithm alg);
/* NULL-safe. */
void hasher_free(struct hasher *h);
enum digest_algorithm hasher_algorithm(const struct hasher *h);
void hasher_update(struct hasher *h, const void *p, size_t n);
/* Result so far; the hasher goes on. */
void hasher_peek(const struct hasher *h, struct digest *ret);
/* One-shot. `alg` is a known algorithm. */
void digest_of(enum digest_algorithm alg, str bytes, struct digest *ret);

static inline void hasher_cleanup(struct hasher **h)
{
    hasher_free(*h);
}
#define HASHER_CLEANUP __attribute__((cleanup(hasher_cleanup)))
