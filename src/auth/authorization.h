/* The Authorization header field (RFC 9110 11.6.2, RFC 7617 Basic, RFC 6750 Bearer). Pure. */
#pragma once

#include "base/err.h"

enum { BASIC_BYTES_MAX = 4096 };

struct authorization {
    enum { AUTHORIZATION_NONE, AUTHORIZATION_BASIC, AUTHORIZATION_BEARER } scheme;
    str user, password; /* Basic; bytes as sent, in the arena */
    str token;          /* Bearer; a slice of the value */
};

/* `value` with p == NULL, and Basic with neither user nor password, are AUTHORIZATION_NONE.
 * ERR_UNAUTHORIZED for other schemes and for what is malformed or too long. */
NODISCARD enum err authorization_parse(struct arena *a, str value, struct authorization *ret);
