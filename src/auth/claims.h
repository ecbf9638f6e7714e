/* What a token says (RFC 7519; distribution "Token Authentication Implementation").
 *
 * Beside the registered claims and `access`, a token carries the user's id and epoch, so that one
 * signed before a password change, or for an earlier user of the same name, is void. */
#pragma once

#include "auth/principal.h"

enum {
    CLAIMS_LEEWAY_S = 60,         /* between the clocks of nodes that share a key */
    CLAIMS_BYTES_MAX = 12 * 1024, /* as JSON; GRANTS_MAX of the longest grants fit */
};

struct claims {
    str service;         /* aud */
    str name;            /* sub; empty for anonymous */
    int64_t user, epoch; /* 0 for anonymous */
    int64_t issued_s, expires_s;
    const struct grant *grants;
    size_t grant_n;
};

/* JSON in the arena; draws a fresh jti. ERR_LIMIT past CLAIMS_BYTES_MAX. */
NODISCARD enum err claims_write(const struct claims *claims, struct arena *a, str *ret);

/* Reads and judges the payload of a token whose signature holds: ours, for `service`, and valid at
 * now_s, give or take the leeway. ERR_UNAUTHORIZED otherwise. *ret points into the arena. */
NODISCARD enum err claims_read(struct arena *a, str json, str service, int64_t now_s,
                               struct claims *ret);

/* One block that holds the claims and all they point to. */
size_t claims_size(const struct claims *claims);
/* Deep copy into claims_size() bytes; a cache_copy_fn. */
void claims_copy(void *to, const void *claims, size_t n);
