/* Small blobs kept in memory. They are found by store key, which is drawn anew for each
 * publication: the bytes behind one never change. Whether somebody may have them is decided before,
 * by the row that names the key (db/db_hot.h), so nothing here goes stale. */
#pragma once

#include "registry/blob.h"
#include "registry/registry.h"

enum {
    CONTENT_BYTES_MAX = 32 * 1024, /* larger ones are sent from their file */
    CONTENT_TRUST_MS = 10000,      /* a file that was there is believed to be there */
};

/* All bytes of a blob of at most CONTENT_BYTES_MAX, in the arena. As blob_load; ERR_WOULD_BLOCK on
 * a reactor when they are not in memory. */
NODISCARD enum err content_load(struct registry *registry, const struct db_conn *conn,
                                const struct blob *blob, struct arena *a, str *ret);
/* Whether the bytes are there, for who only asks. As blob_open; ERR_WOULD_BLOCK as above. */
NODISCARD enum err content_check(struct registry *registry, const struct db_conn *conn,
                                 const struct blob *blob);
