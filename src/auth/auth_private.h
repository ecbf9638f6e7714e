/* The inside of struct auth; for auth.c, permission.c and refresh.c only. */
#pragma once

#include "auth/auth.h"
#include "auth/keyring.h"
#include "auth/password.h"
#include "base/cache.h"

enum { CACHE_SHARDS = 4 };

struct auth {
    struct db *db;
    struct auth_config config;
    struct keyring keys;
    struct passwords *passwords;
    struct cache *tokens; /* a token whose signature held -> its claims */
};
