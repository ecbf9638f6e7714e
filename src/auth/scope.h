/* Scopes: what a client asks a token for (distribution "Token Scope Documentation").
 *
 *     scopes = scope *( SP scope )
 *     scope  = type [ "(" class ")" ] ":" name ":" [ action *( "," action ) ]
 *
 * A scope is split at its first and its last colon. Unknown types and actions are dropped without
 * an error, as the specification asks; the class is ignored. Pure. */
#pragma once

#include "auth/principal.h"

enum {
    GRANTS_MAX = 32,      /* in one token; scopes past it are dropped */
    GRANT_NAME_MAX = 255, /* longest repository name */
};

struct grant_list {
    struct grant items[GRANTS_MAX];
    size_t n;
};

/* False when nothing known is left. Strings live in the arena or in `scope`. */
NODISCARD bool scope_parse(struct arena *a, str scope, struct grant *ret);

/* Adds the scopes of a space-separated list, joining those for the same resource. */
void scope_list_add(struct arena *a, str scopes, struct grant_list *list);

/* A grant without actions; false for types and names that cannot be Berth's. */
NODISCARD bool grant_init(struct arena *a, str type, str name, struct grant *ret);
/* Adds an action by its word; unknown ones change nothing. */
void grant_add(struct grant *g, str word);
/* The n-th word (0-based) of the grant's actions, in the order of ACTION_TABLE; p == NULL past the
 * last. */
str grant_word(const struct grant *g, size_t n);
