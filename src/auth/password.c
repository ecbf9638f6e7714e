#include "auth/password.h"

#include "auth/gate.h"
#include "base/cache.h"
#include "base/clock.h"
#include "base/metrics.h"

#include <crypt.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

enum {
    SECRET_BYTES = 32,
    SALT_BYTES = 16,
    VERDICT_KEY_BYTES = 32,
    VERDICTS_BYTES_MAX = 512 * 1024, /* about two thousand verdicts */
    VERDICT_SHARDS = 4,
};

struct passwords {
    struct password_config config;
    struct gate gate;
    struct cache *verdicts;
    uint8_t secret[SECRET_BYTES];
    char dummy[CRYPT_GENSALT_OUTPUT_SIZE]; /* a setting; what it hashes to matters to nobody */
    atomic_uint_least64_t computed, dummies, cached, refused;
};

/* bcrypt would read all of it. */
static bool usable(str password)
{
    return password.n <= PASSWORD_BYTES_MAX && str_find(password, '\0') == password.n;
}

/* bcrypt of a usable password; `out` needs CRYPT_OUTPUT_SIZE bytes. False when the setting is not
 * bcrypt's. */
static bool compute(str password, const char *setting, char *out)
{
    if (setting[0] != '$' || setting[1] != '2')
        return false;
    char phrase[PASSWORD_BYTES_MAX + 1] = {0};
    struct crypt_data data = {0};
    if (password.n)
        memcpy(phrase, password.p, password.n);
    const char *hash = crypt_rn(phrase, setting, &data, sizeof data);
    if (hash)
        memcpy(out, hash, strlen(hash) + 1);
    OPENSSL_cleanse(phrase, sizeof phrase);
    OPENSSL_cleanse(&data, sizeof data);
    return hash != NULL;
}

static bool new_setting(unsigned cost, char out[CRYPT_GENSALT_OUTPUT_SIZE])
{
    char salt[SALT_BYTES];
    random_bytes(salt, sizeof salt);
    return crypt_gensalt_rn("$2b$", cost, salt, sizeof salt, out, CRYPT_GENSALT_OUTPUT_SIZE);
}

enum err password_hash(str password, unsigned cost, char out[PASSWORD_HASH_MAX + 1])
{
    if (!usable(password))
        return ERR_LIMIT;
    if (!password.n)
        return ERR_BAD_REQUEST;
    char setting[CRYPT_GENSALT_OUTPUT_SIZE], hash[CRYPT_OUTPUT_SIZE];
    if (!new_setting(cost, setting) || !compute(password, setting, hash))
        return ERR_INTERNAL;
    str text = str_from(hash);
    if (text.n > PASSWORD_HASH_MAX)
        return ERR_INTERNAL;
    memcpy(out, hash, text.n + 1);
    return OK;
}

struct passwords *passwords_new(const struct password_config *config)
{
    struct passwords *p = calloc(1, sizeof *p);
    if (!p)
        abort();
    p->config = *config;
    gate_init(&p->gate, config->checks_max, config->queue_max);
    p->verdicts = cache_new(CACHE_PASSWORDS, VERDICTS_BYTES_MAX, VERDICT_SHARDS);
    random_bytes(p->secret, sizeof p->secret);
    if (!new_setting(config->cost, p->dummy))
        abort(); /* the option table bounds the cost */
    return p;
}

void passwords_free(struct passwords *p)
{
    if (!p)
        return;
    cache_free(p->verdicts);
    gate_release(&p->gate);
    OPENSSL_cleanse(p->secret, sizeof p->secret);
    free(p);
}

struct password_counts passwords_counts(struct passwords *p)
{
    return (struct password_counts){
        .computed = atomic_load(&p->computed),
        .dummies = atomic_load(&p->dummies),
        .cached = atomic_load(&p->cached),
        .refused = atomic_load(&p->refused),
    };
}

/* The two numbers have a fixed width, so different attempts never give the same input. */
static void verdict_key(const struct passwords *p, const struct password_attempt *attempt,
                        uint8_t key[VERDICT_KEY_BYTES])
{
    uint8_t in[2 * sizeof(int64_t) + PASSWORD_BYTES_MAX];
    memcpy(in, &attempt->user, sizeof attempt->user);
    memcpy(in + sizeof(int64_t), &attempt->epoch, sizeof attempt->epoch);
    memcpy(in + 2 * sizeof(int64_t), attempt->password.p, attempt->password.n);
    if (!HMAC(EVP_sha256(), p->secret, SECRET_BYTES, in, 2 * sizeof(int64_t) + attempt->password.n,
              key, NULL))
        abort();
    OPENSSL_cleanse(in, sizeof in);
}

static bool remembered(struct passwords *p, const uint8_t *key, uint64_t now_ms)
{
    CACHE_VALUE struct cache_value *yes =
        cache_get(p->verdicts, str_make(key, VERDICT_KEY_BYTES), now_ms);
    if (yes) {
        atomic_fetch_add(&p->cached, 1);
        metric_add_at(METRIC_PASSWORD_CHECKS, PASSWORD_REMEMBERED, 1);
    }
    return yes;
}

/* Computes for nothing, at one cost. */
static void waste(struct passwords *p, str password, unsigned cost)
{
    char setting[sizeof p->dummy], got[CRYPT_OUTPUT_SIZE];
    memcpy(setting, p->dummy, sizeof setting);
    setting[4] = (char)('0' + cost / 10);
    setting[5] = (char)('0' + cost % 10);
    (void)compute(password, setting, got);
    atomic_fetch_add(&p->dummies, 1);
}

/* Of a setting that bcrypt took: "$2b$12$". */
static unsigned cost_of(const char *setting)
{
    return (unsigned)(setting[4] - '0') * 10 + (unsigned)(setting[5] - '0');
}

/* The computation itself, inside the gate: against the user's hash, or for nothing. A wrong
 * password of a user whose hash is a cheaper one costs the rest as well: 2^c, and 2^c + ... +
 * 2^(C-1), is 2^C. */
static bool matches(struct passwords *p, const struct password_attempt *attempt)
{
    char setting[PASSWORD_HASH_MAX + 1] = {0}, got[CRYPT_OUTPUT_SIZE];
    if (attempt->hash.p && attempt->hash.n <= PASSWORD_HASH_MAX) {
        memcpy(setting, attempt->hash.p, attempt->hash.n);
        if (compute(attempt->password, setting, got)) {
            atomic_fetch_add(&p->computed, 1);
            bool right = str_eq_secret(str_from(got), attempt->hash);
            for (unsigned cost = cost_of(setting); !right && cost < p->config.cost; cost++)
                waste(p, attempt->password, cost);
            return right;
        }
    }
    waste(p, attempt->password, p->config.cost);
    return false;
}

enum err password_screen(str password)
{
    if (password.n && usable(password))
        return OK;
    metric_add_at(METRIC_PASSWORD_CHECKS, PASSWORD_WRONG, 1);
    return ERR_UNAUTHORIZED;
}

enum err passwords_check(struct passwords *p, const struct password_attempt *attempt,
                         uint64_t now_ms)
{
    if (password_screen(attempt->password))
        return ERR_UNAUTHORIZED;
    bool remember = p->config.cache_ms && attempt->hash.p;
    uint8_t key[VERDICT_KEY_BYTES];
    if (remember) {
        verdict_key(p, attempt, key);
        if (remembered(p, key, now_ms))
            return OK;
    }
    if (attempt->memory_only)
        return ERR_WOULD_BLOCK;
    enum err e = gate_enter(&p->gate);
    if (e) {
        atomic_fetch_add(&p->refused, 1);
        metric_add_at(METRIC_PASSWORD_CHECKS, PASSWORD_REFUSED, 1);
        metric_limit(LIMIT_PASSWORD_QUEUE);
        return e;
    }
    /* A client's parallel requests wait together: the first one answers for the others. */
    bool known = remember && remembered(p, key, now_ms);
    bool right = known || matches(p, attempt);
    if (right && remember && !known)
        cache_put(p->verdicts, str_make(key, VERDICT_KEY_BYTES),
                  cache_value_new(0, now_ms + p->config.cache_ms));
    gate_leave(&p->gate);
    if (!known)
        metric_add_at(METRIC_PASSWORD_CHECKS, right ? PASSWORD_RIGHT : PASSWORD_WRONG, 1);
    return right ? OK : ERR_UNAUTHORIZED;
}
