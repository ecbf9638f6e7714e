/* What the registry's verbs work on: database, blob store, live uploads, and the options that
 * govern them. Built once at start; shared by all workers; its parts synchronise themselves. */
#pragma once

#include "auth/principal.h"
#include "base/cache.h"
#include "blob/store.h"
#include "blob/upload_state.h"
#include "db/db.h"
#include "loop/pool.h"

#include <stdatomic.h>

struct registry {
    struct db *db;
    struct store *store;
    struct cache *content; /* registry/content.h; NULL: nothing is kept */
    struct upload_table *uploads;
    struct upload_begun_table *begun; /* registry/upload_begun.h */
    struct pool *pool;
    bool new_projects_public;       /* auth.anonymous is pull or push */
    uint64_t blob_bytes_max;        /* 0: no limit */
    uint64_t uploads_max;           /* unfinished ones */
    atomic_uint_fast64_t uploads_n; /* those begun, and rows of table upload */
    uint64_t review_delay_ms;       /* gc.review_delay */
};
