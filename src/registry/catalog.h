/* The catalog: names of the repositories a principal may pull, in byte order. */
#pragma once

#include "auth/auth.h"

/* Up to `limit` full names after `last` (exclusive). Strings in the arena. */
NODISCARD enum err catalog_list(struct db_conn *conn, const struct principal *who, str last,
                                size_t limit, struct arena *a, str **names, size_t *n);
