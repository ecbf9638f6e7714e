/* What a tag was: its lifetimes, the digest it had at a time, and the way back. */
#pragma once

#include "registry/tag.h"

#define TAG_NOW INT64_MAX

/* The tag pointed at `digest` at every t with from_us <= t < until_us. */
struct tag_lifetime {
    struct digest digest;
    int64_t from_us, until_us; /* TAG_NOW: it still does */
    str from_by, until_by;     /* who moved it; empty: anonymous, or nobody yet */
    str media_type;            /* p == NULL: the repository does not have the manifest any more */
    int64_t id;                /* orders lifetimes that begin alike */
};

/* Up to `limit` lifetimes, newest first: those behind `last`, or from the newest when that is NULL;
 * of it only from_us and id count. Strings in the arena. ERR_TAG_UNKNOWN when a list from the
 * newest has nothing. */
NODISCARD enum err tag_log(struct db_conn *conn, const struct repository *repository, str name,
                           const struct tag_lifetime *last, size_t limit, struct arena *a,
                           struct tag_lifetime **list, size_t *n);

/* The lifetime at that time; TAG_NOW: the current one. ERR_TAG_ABSENT when the tag pointed at
 * nothing then, or history does not reach back as far; ERR_TAG_UNKNOWN when it has no history. */
NODISCARD enum err tag_at(struct db_conn *conn, const struct repository *repository, str name,
                          int64_t at_us, struct arena *a, struct tag_lifetime *ret);

/* When the oldest lifetime known began. ERR_TAG_UNKNOWN. */
NODISCARD enum err tag_began(struct db_conn *conn, const struct repository *repository, str name,
                             int64_t *ret);

/* A tag to point again at what it pointed at before; also one that was deleted. */
struct tag_restore {
    const struct name *name;
    str tag;
    bool by_digest;
    int64_t at_us;        /* if not by_digest */
    struct digest digest; /* if by_digest; the result otherwise */
    struct maker maker;
    struct arena *arena;
    bool changed; /* result: false when it points there already */
};

/* db_tx_fn; arg is a struct tag_restore. Moves the tag with tag_set. ERR_NAME_UNKNOWN,
 * ERR_TAG_UNKNOWN, ERR_TAG_ABSENT (nothing then, or never that digest), ERR_MANIFEST_DELETED when
 * the repository does not have the manifest any more: `digest` tells which. */
NODISCARD enum err tag_restore_tx(struct db_conn *conn, void *arg);
