/* Who is asking, and what a token lets them ask for. */
#pragma once

#include "base/err.h"

enum principal_kind { PRINCIPAL_ANONYMOUS, PRINCIPAL_USER };

struct principal {
    enum principal_kind kind;
    int64_t id;    /* user.id; 0 for anonymous */
    int64_t epoch; /* user.epoch when the row was read: tokens signed for another one are void */
    str name;      /* empty for anonymous */
    bool admin;
};

/* X(name, bit, word in token scopes, help) */
#define ACTION_TABLE(X)                                                        \
    X(PULL, 1, "pull", "read manifests, blobs, tags, referrers")               \
    X(PUSH, 2, "push", "upload blobs, put manifests and tags, cancel uploads") \
    X(DELETE, 4, "delete", "delete tags, manifests, blobs")                    \
    X(CATALOG, 8, "*", "list the repositories one may pull (registry:catalog:*)")

enum action {
#define X(name, bit, word, help) ACTION_##name = bit,
    ACTION_TABLE(X)
#undef X
};

/* One entry of a token's `access` claim (distribution token specification). */
struct grant {
    str type;  /* "repository" or "registry" */
    str name;  /* canonical repository name, or "catalog": what is compared */
    str asked; /* the same as the client spelled it: what scopes and tokens echo */
    unsigned actions;
};

/* A request's credentials after verification. A token's grants are a ceiling, never a grant. */
struct credentials {
    struct principal principal;
    bool presented;   /* a name with its password, or a token; also an anonymous one */
    bool has_ceiling; /* a token: allowed = grants and may() */
    const struct grant *grants;
    size_t grant_n;
};
