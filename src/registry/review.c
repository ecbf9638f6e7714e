#include "registry/review.h"

#include "base/clock.h"

struct lease {
    str full_name;
    const struct digest *digest;
};

static enum err blob_lease_tx(struct db_conn *conn, void *arg)
{
    const struct lease *lease = arg;
    struct repository repository;
    struct blob blob;
    enum err e = blob_find_linked(conn, lease->full_name, lease->digest, &blob);
    if (!e)
        e = repository_find(conn, lease->full_name, &repository);
    return e ? e
             : db_exec(conn, Q_BLOB_LEASE, DB_INT(clock_wall_us()), DB_INT(repository.id),
                       DB_INT(blob.id));
}

enum err blob_lease(struct registry *registry, str full_name, const struct digest *digest)
{
    struct lease lease = {full_name, digest};
    return db_tx(registry->db, blob_lease_tx, &lease);
}

/* The body of the manifest, if the repository has it. */
static enum err find_body(struct db_conn *conn, const struct repository *repository,
                          const struct digest *digest, int64_t *body)
{
    DB_CURSOR struct db_cursor c = db_query(conn, Q_MANIFEST_IS_LINKED, DB_INT(repository->id),
                                            DB_BYTES(digest_stored(digest)));
    if (!db_next(&c))
        return c.err ? c.err : ERR_MANIFEST_UNKNOWN;
    *body = db_int(&c, 0);
    return OK;
}

static enum err manifest_lease_tx(struct db_conn *conn, void *arg)
{
    const struct lease *lease = arg;
    struct repository repository;
    int64_t body;
    enum err e = repository_find(conn, lease->full_name, &repository);
    if (e)
        return e == ERR_NAME_UNKNOWN ? ERR_MANIFEST_UNKNOWN : e;
    e = find_body(conn, &repository, lease->digest, &body);
    return e ? e
             : db_exec(conn, Q_MANIFEST_LEASE, DB_INT(clock_wall_us()), DB_INT(repository.id),
                       DB_INT(body));
}

enum err manifest_lease(struct registry *registry, str full_name, const struct digest *digest)
{
    struct lease lease = {full_name, digest};
    return db_tx(registry->db, manifest_lease_tx, &lease);
}
