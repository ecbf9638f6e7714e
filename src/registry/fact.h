/* Facts: what a manifest and its image config say about themselves, read once at push.
 *
 *     annotation.KEY   a manifest annotation            label.KEY   an image label
 *     platform         os/architecture[/variant]; one for an image, one a child for an index
 *     created          as the config writes it          config.type media type of the config
 *
 * Reading is generous: what is malformed, too long or too much is left out and never fails a push.
 */
#pragma once

#include "db/db.h"
#include "registry/manifest_parse.h"

enum {
    FACTS_MAX = 256,
    FACT_KEY_MAX = 256,              /* longer ones are left out */
    FACT_VALUE_MAX = 1024,           /* longer ones are left out */
    FACT_CONFIG_BYTES_MAX = 1 << 20, /* larger configs are not read */
};

struct fact {
    str key, value;
};

struct facts {
    struct fact items[FACTS_MAX];
    size_t n;
};

/* Reads the manifest's own text and, for an image, its config (p == NULL: not at hand). Strings in
 * the arena. Pure. */
void facts_read(struct arena *a, const struct manifest *manifest, str bytes, str config,
                struct facts *ret);

/* Writer: for a body that was just inserted. */
NODISCARD enum err facts_insert(struct db_conn *conn, int64_t body, const struct facts *facts);

/* The values of one key of a manifest's body, in byte order: at most FACTS_MAX, in the arena. */
NODISCARD enum err facts_list(struct db_conn *conn, int64_t body, str key, struct arena *a,
                              str **values, size_t *n);
