/* Which manifests a tag leads to, seen from the manifest: upwards, from it to the indexes that name
 * it and to its subject, until one has a tag. Digests make no circles, but "named by" and "about"
 * together can, so each manifest is visited once.
 *
 * One above that is still waiting for its own end keeps it, too: an index whose tag was moved away
 * can be asked for, and its tag restored, until it goes, and is worth nothing without its images.
 * What keeps what it leads to puts it under review when it goes. */
#include "jobs/gc_private.h"

enum { VISITED_MAX = 1000 };

struct walk {
    struct db_conn *conn;
    int64_t repository;
    size_t n; /* visited, or waiting for it */
    int64_t bodies[VISITED_MAX];
};

static bool add(struct walk *w, int64_t body)
{
    for (size_t i = 0; i < w->n; i++) {
        if (w->bodies[i] == body)
            return true;
    }
    if (w->n == VISITED_MAX)
        return false;
    w->bodies[w->n++] = body;
    return true;
}

/* A tag points at it, or it is under review since later than cutoff_us. */
static enum err by_itself(struct walk *w, int64_t body, int64_t cutoff_us, bool *live)
{
    DB_CURSOR struct db_cursor c = db_query(w->conn, Q_GC_MANIFEST_LIVE, DB_INT(w->repository),
                                            DB_INT(body), DB_INT(cutoff_us));
    *live = db_next(&c);
    return c.err;
}

/* *room false: there are more than can be looked at. */
static enum err add_above(struct walk *w, int64_t body, bool *room)
{
    DB_CURSOR struct db_cursor c =
        db_query(w->conn, Q_GC_MANIFEST_LIVE_THROUGH, DB_INT(w->repository), DB_INT(body));
    *room = true;
    while (*room && db_next(&c))
        *room = add(w, db_int(&c, 0));
    return c.err;
}

enum err gc_manifest_live(struct db_conn *conn, int64_t repository, int64_t body, int64_t cutoff_us,
                          bool *live)
{
    struct walk w = {.conn = conn, .repository = repository};
    bool found = false, room = add(&w, body);
    enum err e = OK;
    for (size_t i = 0; !e && !found && room && i < w.n; i++) {
        e = by_itself(&w, w.bodies[i], i ? cutoff_us : INT64_MAX, &found);
        if (!e && !found)
            e = add_above(&w, w.bodies[i], &room);
    }
    if (!e)
        *live = found || !room;
    return e;
}
