#include "blob/digest.h"

#include "base/hex.h"

#include <openssl/evp.h>
#include <pthread.h>
#include <stdlib.h>

struct algorithm {
    str name;
    size_t hash_bytes; /* 0: not an algorithm */
    const char *openssl_name;
};

enum { ALGORITHM_COUNT = 3 };

static const struct algorithm algorithms[ALGORITHM_COUNT] = {
#define X(name, value, bytes, ossl) [value] = {STR_INIT(#name), bytes, ossl},
    DIGEST_TABLE(X)
#undef X
};

/* Fetched once: OpenSSL 3 otherwise looks the implementation up, under a lock, at each use. */
static pthread_once_t methods_once = PTHREAD_ONCE_INIT;
static EVP_MD *methods[ALGORITHM_COUNT];

static void methods_fetch(void)
{
    for (size_t i = 0; i < ALGORITHM_COUNT; i++) {
        if (!algorithms[i].hash_bytes)
            continue;
        methods[i] = EVP_MD_fetch(NULL, algorithms[i].openssl_name, NULL);
        if (!methods[i])
            abort();
    }
}

static const EVP_MD *method(enum digest_algorithm alg)
{
    pthread_once(&methods_once, methods_fetch);
    return methods[alg];
}

/* 1*( a-z 0-9 ) *( separator 1*( a-z 0-9 ) ), separators + . _ - */
static bool algorithm_valid(str s)
{
    bool separator = true; /* before this character, or the start */
    for (size_t i = 0; i < s.n; i++) {
        char c = s.p[i];
        bool plain = (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
        if (!plain && (separator || (c != '+' && c != '.' && c != '_' && c != '-')))
            return false;
        separator = !plain;
    }
    return !separator;
}

/* 1*( a-z A-Z 0-9 = _ - ) */
static bool encoded_valid(str s)
{
    for (size_t i = 0; i < s.n; i++) {
        char c = s.p[i];
        if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
              c == '=' || c == '_' || c == '-'))
            return false;
    }
    return s.n > 0;
}

static enum err parse_other(str text, str name, str encoded, struct digest *ret)
{
    if (text.n > DIGEST_STORED_MAX - 1 || !algorithm_valid(name) || !encoded_valid(encoded))
        return ERR_DIGEST_INVALID;
    ret->n = (uint8_t)(1 + text.n);
    ret->stored[0] = DIGEST_OTHER;
    memcpy(ret->stored + 1, text.p, text.n);
    return OK;
}

enum err digest_parse(str text, bool other, struct digest *ret)
{
    str name, encoded;
    if (!str_cut(text, ':', &name, &encoded))
        return ERR_DIGEST_INVALID;
    enum digest_algorithm alg = digest_algorithm_parse(name);
    if (alg == DIGEST_OTHER)
        return other ? parse_other(text, name, encoded, ret) : ERR_DIGEST_INVALID;

    uint8_t hash[DIGEST_BYTES_MAX];
    size_t n = algorithms[alg].hash_bytes;
    if (!hex_decode(encoded, true, hash, n))
        return ERR_DIGEST_INVALID;
    ret->n = (uint8_t)(1 + n);
    ret->stored[0] = (uint8_t)alg;
    memcpy(ret->stored + 1, hash, n);
    return OK;
}

bool digest_from_stored(str stored, struct digest *ret)
{
    if (stored.n == 0)
        return false;
    uint8_t alg = (uint8_t)stored.p[0];
    if (alg == DIGEST_OTHER) {
        struct digest d;
        if (digest_parse(str_skip(stored, 1), true, &d) || d.stored[0] != DIGEST_OTHER)
            return false;
        *ret = d;
        return true;
    }
    if (alg >= ALGORITHM_COUNT || stored.n != 1 + algorithms[alg].hash_bytes)
        return false;
    ret->n = (uint8_t)stored.n;
    memcpy(ret->stored, stored.p, stored.n);
    return true;
}

str digest_text(struct arena *a, const struct digest *d)
{
    enum digest_algorithm alg = digest_algorithm(d);
    if (alg == DIGEST_OTHER)
        return arena_str(a, str_skip(digest_stored(d), 1));
    str name = algorithms[alg].name;
    size_t hash_n = (size_t)d->n - 1, n = name.n + 1 + 2 * hash_n;
    char *p = arena_alloc(a, n + 1);
    memcpy(p, name.p, name.n);
    p[name.n] = ':';
    hex_encode(p + name.n + 1, d->stored + 1, hash_n);
    return str_make(p, n);
}

str digest_quoted(struct arena *a, const struct digest *d)
{
    str text = digest_text(a, d);
    char *p = arena_alloc(a, text.n + 2);
    p[0] = p[text.n + 1] = '"';
    memcpy(p + 1, text.p, text.n);
    return str_make(p, text.n + 2);
}

enum digest_algorithm digest_algorithm_parse(str name)
{
    for (size_t i = 0; i < ALGORITHM_COUNT; i++)
        if (algorithms[i].hash_bytes && str_eq(name, algorithms[i].name))
            return (enum digest_algorithm)i;
    return DIGEST_OTHER;
}

str digest_algorithm_name(enum digest_algorithm alg)
{
    return algorithms[alg].name;
}

struct hasher {
    enum digest_algorithm alg;
    EVP_MD_CTX *state;
};

/* The calls below fail only without memory or on misuse. */
static void must(bool ok)
{
    if (!ok)
        abort();
}

static void result_set(struct digest *ret, enum digest_algorithm alg, unsigned hash_n)
{
    ret->n = (uint8_t)(1 + hash_n);
    ret->stored[0] = (uint8_t)alg;
}

struct hasher *hasher_new(enum digest_algorithm alg)
{
    struct hasher *h = calloc(1, sizeof *h);
    must(h != NULL);
    h->alg = alg;
    h->state = EVP_MD_CTX_new();
    must(h->state && EVP_DigestInit_ex2(h->state, method(alg), NULL) == 1);
    return h;
}

void hasher_free(struct hasher *h)
{
    if (!h)
        return;
    EVP_MD_CTX_free(h->state);
    free(h);
}

enum digest_algorithm hasher_algorithm(const struct hasher *h)
{
    return h->alg;
}

void hasher_update(struct hasher *h, const void *p, size_t n)
{
    must(EVP_DigestUpdate(h->state, p, n) == 1);
}

void hasher_peek(const struct hasher *h, struct digest *ret)
{
    unsigned n = 0;
    EVP_MD_CTX *copy = EVP_MD_CTX_new();
    must(copy && EVP_MD_CTX_copy_ex(copy, h->state) == 1 &&
         EVP_DigestFinal_ex(copy, ret->stored + 1, &n) == 1);
    EVP_MD_CTX_free(copy);
    result_set(ret, h->alg, n);
}

void digest_of(enum digest_algorithm alg, str bytes, struct digest *ret)
{
    unsigned n = 0;
    must(EVP_Digest(bytes.p, bytes.n, ret->stored + 1, &n, method(alg), NULL) == 1);
    result_set(ret, alg, n);
}
