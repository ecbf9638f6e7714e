/* Opening the SQLite store: the file, whose it is, its schema, and this program's statements. */
#include "db/db_sqlite.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

struct opening {
    struct db_conn *conn;
    const char *path;
    struct arena *a;
    struct error *why;
};

static enum err fail(struct opening *o, const char *what)
{
    enum err e = sqlite_fail(o->conn);
    return error_set(o->a, o->why, e, "%s: %s: %s", o->path, what, o->conn->error);
}

static enum err run(struct opening *o, const char *sql, const char *what)
{
    return sqlite3_exec(sqlite_handle(o->conn), sql, NULL, NULL, NULL) ? fail(o, what) : OK;
}

/* First column of the only row. */
static enum err ask(struct opening *o, const char *sql, const char *what, int64_t *ret)
{
    sqlite3_stmt *s = NULL;
    enum err e = OK;
    if (sqlite3_prepare_v2(sqlite_handle(o->conn), sql, -1, &s, NULL) ||
        sqlite3_step(s) != SQLITE_ROW)
        e = fail(o, what);
    else
        *ret = sqlite3_column_int64(s, 0);
    sqlite3_finalize(s);
    return e;
}

/* An empty file is an empty database. The directory is synced every time: whoever made the file
 * may have died before he could. */
static enum err make_file(struct opening *o)
{
    int fd = open(o->path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0) {
        int n = errno;
        return error_set(o->a, o->why, err_from_errno(n), "%s: cannot open: %s", o->path,
                         strerror(n));
    }
    close(fd);
    char *dir = arena_cstr(o->a, o->conn->setup->dir);
    fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int n = fd < 0 || fsync(fd) ? errno : 0;
    if (fd >= 0)
        close(fd);
    return n ? error_set(o->a, o->why, err_from_errno(n), "%s: cannot sync the directory: %s", dir,
                         strerror(n))
             : OK;
}

/* Looks before anything is written, so that what is not ours stays as it is. */
static enum err identify(struct opening *o, int64_t *version)
{
    int64_t id = 0, tables = 0;
    enum err e = ask(o, "PRAGMA application_id", "not a database of berth's", &id);
    if (!e)
        e = ask(o, "PRAGMA user_version", "cannot read", version);
    if (!e)
        e = ask(o, "SELECT count(*) FROM sqlite_schema", "cannot read", &tables);
    if (e)
        return e;
    bool empty = id == 0 && *version == 0 && tables == 0;
    if (id != SQLITE_APPLICATION_ID && !empty)
        return error_set(o->a, o->why, ERR_DB,
                         "%s: is a database of another program (application id 0x%08x, berth's is "
                         "0x%08x)",
                         o->path, (unsigned)id, (unsigned)SQLITE_APPLICATION_ID);
    return OK;
}

static enum err use_wal(struct opening *o)
{
    sqlite3_stmt *s = NULL;
    enum err e = OK;
    if (sqlite3_prepare_v2(sqlite_handle(o->conn), "PRAGMA journal_mode=WAL", -1, &s, NULL) ||
        sqlite3_step(s) != SQLITE_ROW)
        e = fail(o, "cannot switch to a write-ahead log");
    else if (sqlite3_stricmp((const char *)sqlite3_column_text(s, 0), "wal") != 0)
        e = error_set(o->a, o->why, ERR_DB,
                      "%s: this file system cannot hold a write-ahead log (it needs shared memory "
                      "and locks; network file systems often lack them)",
                      o->path);
    sqlite3_finalize(s);
    return e;
}

/* One file of schema/sqlite and the version it leads to, or nothing. */
static enum err migrate_one(struct opening *o, const struct embedded_file *file, int64_t version)
{
    const char *what = arena_printf(o->a, "migration %s", file->name).p;
    enum err e = run(o, "BEGIN IMMEDIATE", what);
    if (!e)
        e = run(o, file->text, what);
    /* Keys are not enforced meanwhile, so that tables can be rebuilt. */
    int64_t dangling = 0;
    if (!e && version > 1)
        e = ask(o, "SELECT count(*) FROM pragma_foreign_key_check", what, &dangling);
    if (!e && dangling)
        e = error_set(o->a, o->why, ERR_CONSTRAINT, "%s: %s: leaves %lld dangling references",
                      o->path, what, (long long)dangling);
    const char *stamp = arena_printf(o->a, "PRAGMA application_id=%d; PRAGMA user_version=%lld;",
                                     SQLITE_APPLICATION_ID, (long long)version)
                            .p;
    if (!e)
        e = run(o, stamp, what);
    if (!e)
        e = run(o, "COMMIT", what);
    if (e && !sqlite3_get_autocommit(sqlite_handle(o->conn)))
        sqlite3_exec(sqlite_handle(o->conn), "ROLLBACK", NULL, NULL, NULL);
    return e;
}

static int64_t newest_version(const struct opening *o)
{
    int64_t newest = 0;
    while (o->conn->setup->migrations[newest].name)
        newest++;
    return newest;
}

static enum err refuse_newer(struct opening *o, int64_t version)
{
    if (version <= newest_version(o))
        return OK;
    return error_set(o->a, o->why, ERR_DB_NEWER,
                     "%s: has schema version %lld, but this program (berth " BERTH_VERSION
                     ") knows versions up to %lld: run the version that wrote it or a newer one",
                     o->path, (long long)version, (long long)newest_version(o));
}

static enum err migrate(struct opening *o, int64_t version)
{
    const struct embedded_file *files = o->conn->setup->migrations;
    int64_t newest = newest_version(o);
    enum err e = refuse_newer(o, version);
    if (!e)
        e = use_wal(o);
    if (!e) {
        sqlite_guard_start(sqlite_guard_of(o->conn), o->conn);
        if (version < newest && sqlite_guard_of(o->conn)->foreign_log)
            e = fail(o, "cannot copy the log into the database");
    }
    while (!e && version < newest) {
        const struct embedded_file *file = &files[version++];
        e = migrate_one(o, file, version);
    }
    return e ? e : run(o, "PRAGMA foreign_keys=ON", "cannot enforce foreign keys");
}

/* SQLite numbers $-parameters by first appearance; PostgreSQL goes by their names. */
static enum err check_statement(struct opening *o, const struct db_statement *row)
{
    sqlite3_stmt *s = NULL;
    const char *rest = NULL;
    enum err e = OK;
    if (sqlite3_prepare_v2(sqlite_handle(o->conn), row->sql, -1, &s, &rest)) {
        /* Its version says that all tables are there. */
        const char *text = sqlite3_errmsg(sqlite_handle(o->conn));
        bool missing = strncmp(text, "no such ", strlen("no such ")) == 0;
        e = error_set(o->a, o->why, missing ? ERR_DB_CORRUPT : sqlite_fail(o->conn),
                      "%s: statement %s: %s", o->path, row->name, text);
    } else if (!s || rest[strspn(rest, " ;\n")])
        e = error_set(o->a, o->why, ERR_DB, "statement %s: is not one statement", row->name);
    for (int i = 1; !e && i <= sqlite3_bind_parameter_count(s); i++) {
        const char *name = sqlite3_bind_parameter_name(s, i);
        char want[16];
        snprintf(want, sizeof want, "$%d", i);
        if (!name || strcmp(name, want) != 0)
            e = error_set(o->a, o->why, ERR_DB, "statement %s: parameter %d is %s, not %s",
                          row->name, i, name ? name : "?", want);
    }
    sqlite3_finalize(s);
    return e;
}

enum err sqlite_open(struct db_conn *writer, struct arena *a, struct error *why)
{
    struct opening o = {.conn = writer, .a = a, .why = why};
    o.path = arena_printf(a, "%.*s/berth.db", STR_ARG(writer->setup->dir)).p;
    enum err e = make_file(&o);
    if (e)
        return e;
    e = sqlite_connect(writer);
    if (e)
        return error_set(a, why, e, "%s: cannot open: %s", o.path, writer->error);
    int64_t version = 0;
    e = identify(&o, &version);
    if (!e)
        e = migrate(&o, version);
    for (size_t i = 0; !e && i < writer->setup->statement_n; i++)
        e = check_statement(&o, &writer->setup->statements[i]);
    return e;
}

enum err sqlite_open_reading(struct db_conn *reader, struct arena *a, struct error *why)
{
    struct opening o = {.conn = reader, .a = a, .why = why};
    o.path = arena_printf(a, "%.*s/berth.db", STR_ARG(reader->setup->dir)).p;
    enum err e = sqlite_connect(reader);
    if (e)
        return error_set(a, why, e, "%s: cannot open: %s", o.path, reader->error);
    int64_t version = 0;
    e = identify(&o, &version);
    if (!e && version == 0)
        e = error_set(a, why, ERR_DB, "%s: is empty", o.path);
    return e ? e : refuse_newer(&o, version);
}
