/* The keys that sign tokens: rows of signing_key, loaded once at start. Immutable afterwards. */
#pragma once

#include "auth/jws.h"
#include "db/db.h"

enum { KEYRING_MAX = 16 }; /* older ones no longer verify */

struct keyring {
    struct jws_key *keys[KEYRING_MAX]; /* newest first; the first one signs */
    size_t n;
};

/* Loads the keys, after creating the first one in an empty table. At least one on success.
 * ERR_DB_CORRUPT when a stored key cannot be read. Blocks. */
NODISCARD enum err keyring_load(struct db *db, struct keyring *ret);
void keyring_release(struct keyring *k);
/* NULL when there is none with that id. */
const struct jws_key *keyring_find(const struct keyring *k, str id);
/* JSON Web Key Set (RFC 7517 5), in the arena. */
str keyring_jwks(const struct keyring *k, struct arena *a);
