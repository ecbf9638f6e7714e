/* Passwords: bcrypt ($2b$) behind a small gate, and a cache of verdicts.
 *
 * bcrypt reads 72 bytes and stops at a NUL. What it would cut is refused instead: such a password
 * can neither be set nor match. (Hashing it first would lock out passwords brought along from
 * htpasswd files.) The empty password never matches.
 *
 * Only "right" is remembered, under HMAC-SHA-256 of user, epoch and password with a key that never
 * leaves this process, so the cache is of no use to who reads it and forgets a changed password at
 * once. An unknown user costs as much computation as a wrong password, also where the stored hash
 * is of a lower cost than new ones. One of a higher cost takes longer. */
#pragma once

#include "base/err.h"

enum {
    PASSWORD_BYTES_MAX = 72,
    PASSWORD_HASH_MAX = 64, /* of the text, without NUL; $2b$ takes 60 */
};

/* Text for user.password_hash, NUL-terminated. ERR_LIMIT for a password bcrypt would cut,
 * ERR_BAD_REQUEST for an empty one. Blocks for as long as one check; not gated. */
NODISCARD enum err password_hash(str password, unsigned cost, char out[PASSWORD_HASH_MAX + 1]);

/* ERR_UNAUTHORIZED, counted as wrong, for what can be nobody's password: it is empty, or bcrypt
 * would cut it. Who sends it knows that, so refusing it at once tells nothing, provided that nobody
 * was looked for before: whom one finds, one finds sooner. */
NODISCARD enum err password_screen(str password);

struct passwords;

struct password_config {
    unsigned cost;       /* of the computation spent on unknown users */
    unsigned checks_max; /* computations at a time */
    unsigned queue_max;  /* callers waiting for one */
    uint64_t cache_ms;   /* 0: nothing is remembered */
};

/* What happened since the start; each check adds to at least one. */
struct password_counts {
    uint64_t computed; /* against a stored hash */
    uint64_t dummies;  /* for an unknown user, an unusable hash, or to make up for a cheap one */
    uint64_t cached;
    uint64_t refused; /* the queue was full */
};

struct passwords *passwords_new(const struct password_config *config);
/* NULL-safe. No check may be running. */
void passwords_free(struct passwords *p);
struct password_counts passwords_counts(struct passwords *p);

/* One login attempt. `hash` with p == NULL: no such user. `now_ms` is monotonic. OK,
 * ERR_UNAUTHORIZED, or ERR_TOO_MANY_REQUESTS. Blocks; any number of threads. */
struct password_attempt {
    int64_t user;
    int64_t epoch;
    str hash;
    str password;
    bool memory_only; /* ERR_WOULD_BLOCK for what is not remembered */
};
NODISCARD enum err passwords_check(struct passwords *p, const struct password_attempt *attempt,
                                   uint64_t now_ms);
