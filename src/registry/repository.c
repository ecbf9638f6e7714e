#include "registry/repository.h"

enum err repository_find(struct db_conn *conn, str full_name, struct repository *ret)
{
    DB_CURSOR struct db_cursor c = db_query(conn, Q_REPOSITORY_FIND, DB_TEXT(full_name));
    if (!db_next(&c))
        return c.err ? c.err : ERR_NAME_UNKNOWN;
    *ret = (struct repository){.id = db_int(&c, 0), .project = db_int(&c, 1)};
    return OK;
}

static enum err project_find(struct db_conn *conn, str name, int64_t *ret)
{
    DB_CURSOR struct db_cursor c = db_query(conn, Q_PROJECT_FIND, DB_TEXT(name));
    if (!db_next(&c))
        return c.err ? c.err : ERR_NAME_UNKNOWN;
    *ret = db_int(&c, 0);
    return OK;
}

enum err project_exists(struct db_conn *conn, str name, bool *ret)
{
    int64_t id;
    enum err e = project_find(conn, name, &id);
    if (e && e != ERR_NAME_UNKNOWN)
        return e;
    *ret = e == OK;
    return OK;
}

static enum err project_ensure(struct db_conn *conn, str name, const struct maker *maker,
                               int64_t *ret)
{
    enum err e = project_find(conn, name, ret);
    if (e != ERR_NAME_UNKNOWN || !maker->may_make_projects)
        return e;
    e = db_exec(conn, Q_PROJECT_INSERT, DB_TEXT(name), DB_INT(maker->new_projects_public),
                DB_INT(maker->now_us), DB_TEXT(maker->principal));
    return e ? e : project_find(conn, name, ret);
}

static enum err repository_make(struct db_conn *conn, const struct name *name,
                                const struct maker *maker, struct repository *ret)
{
    struct repository made = {0};
    enum err e = project_ensure(conn, name->project, maker, &made.project);
    if (e)
        return e;
    DB_CURSOR struct db_cursor c = db_query(conn, Q_REPOSITORY_INSERT, DB_INT(made.project),
                                            DB_TEXT(name->full), DB_INT(maker->now_us));
    if (!db_next(&c))
        return c.err ? c.err : ERR_DB;
    made.id = db_int(&c, 0);
    *ret = made;
    return OK;
}

enum err repository_ensure(struct db_conn *conn, const struct name *name, const struct maker *maker,
                           struct repository *ret)
{
    enum err e = repository_find(conn, name->full, ret);
    return e == ERR_NAME_UNKNOWN ? repository_make(conn, name, maker, ret) : e;
}

enum err repository_add_size(struct db_conn *conn, const struct repository *repository,
                             int64_t repository_bytes, int64_t project_bytes)
{
    enum err e = OK;
    if (repository_bytes)
        e = db_exec(conn, Q_REPOSITORY_ADD_SIZE, DB_INT(repository_bytes), DB_INT(repository->id));
    if (!e && project_bytes)
        e = db_exec(conn, Q_PROJECT_ADD_SIZE, DB_INT(project_bytes), DB_INT(repository->project));
    return e;
}

enum err project_ensure_library(struct db_conn *conn, void *now_us)
{
    return db_exec(conn, Q_PROJECT_INSERT, DB_TEXT(STR("library")), DB_INT(1),
                   DB_INT(*(int64_t *)now_us), DB_TEXT(STR("")));
}
