/* The SQLite file as a whole: looking for damage in it, and copying it while it is in use. */
#include "db/db_sqlite.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

/* Verifying. */

#define REFERENCES_SQL                                                              \
    "SELECT count(*) || ' of table ' || \"table\" || ' name a missing ' || parent " \
    "FROM pragma_foreign_key_check GROUP BY \"table\", parent LIMIT 100"

static const char *const verify_sql[] = {
    [DB_VERIFY_QUICK] = "PRAGMA quick_check(100)",
    [DB_VERIFY_STRUCTURE] = "PRAGMA integrity_check(100)",
    [DB_VERIFY_REFERENCES] = (REFERENCES_SQL),
};

enum err sqlite_verify(struct db_conn *conn, enum db_verify what, db_verify_fn *found, void *arg)
{
    sqlite3_stmt *s = NULL;
    int rc = sqlite3_prepare_v2(sqlite_handle(conn), verify_sql[what], -1, &s, NULL);
    while (!rc && (rc = sqlite3_step(s)) == SQLITE_ROW) {
        str line = str_from((const char *)sqlite3_column_text(s, 0));
        if (!str_eq(line, STR("ok")))
            found(arg, line);
        rc = SQLITE_OK;
    }
    enum err e = rc == SQLITE_DONE ? OK : sqlite_fail(conn);
    sqlite3_finalize(s);
    return e;
}

/* Copying. */

struct copying {
    sqlite3 *from, *to;
    const char *from_path, *to_path;
    struct arena *a;
    struct error *why;
};

static void close_both(struct copying *c)
{
    sqlite3_close(c->from);
    sqlite3_close(c->to);
}

static enum err copy_fail(struct copying *c, sqlite3 *db, const char *path, const char *what)
{
    int code = sqlite3_errcode(db) & 0xff;
    enum err e = code == SQLITE_FULL                               ? ERR_NO_SPACE
                 : code == SQLITE_CORRUPT || code == SQLITE_NOTADB ? ERR_DB_CORRUPT
                 : code == SQLITE_BUSY                             ? ERR_BUSY
                                                                   : ERR_IO;
    return error_set(c->a, c->why, e, "%s: %s: %s", path, what, sqlite3_errmsg(db));
}

static enum err pragma_int(struct copying *c, const char *sql, int64_t *ret)
{
    sqlite3_stmt *s = NULL;
    enum err e = OK;
    if (sqlite3_prepare_v2(c->from, sql, -1, &s, NULL) || sqlite3_step(s) != SQLITE_ROW)
        e = copy_fail(c, c->from, c->from_path, "cannot read");
    else
        *ret = sqlite3_column_int64(s, 0);
    sqlite3_finalize(s);
    return e;
}

/* All pages in one step, within one read transaction: writers go on beside it, into the log, and a
 * copy in several steps would start again whenever one of another process commits. The copy needs
 * no journal of its own, as a half-made one is thrown away. At the end it leaves WAL mode, so that
 * the one file is all there is. */
static enum err copy_pages(struct copying *c)
{
    sqlite3_exec(c->to, "PRAGMA journal_mode=OFF; PRAGMA synchronous=OFF", NULL, NULL, NULL);
    sqlite3_backup *backup = sqlite3_backup_init(c->to, "main", c->from, "main");
    if (!backup)
        return copy_fail(c, c->to, c->to_path, "cannot write");
    int rc;
    do
        rc = sqlite3_backup_step(backup, -1);
    while (rc == SQLITE_OK);
    if (sqlite3_backup_finish(backup) || rc != SQLITE_DONE)
        return copy_fail(c, c->to, c->to_path, "cannot write");
    if (sqlite3_exec(c->to, "PRAGMA journal_mode=DELETE", NULL, NULL, NULL))
        return copy_fail(c, c->to, c->to_path, "cannot finish");
    return OK;
}

static enum err sync_file(struct copying *c)
{
    int fd = open(c->to_path, O_RDONLY | O_CLOEXEC);
    int n = fd < 0 || fsync(fd) ? errno : 0;
    if (fd >= 0)
        close(fd);
    return n ? error_set(c->a, c->why, err_from_errno(n), "%s: cannot sync: %s", c->to_path,
                         strerrordesc_np(n))
             : OK;
}

/* For the owner's eyes only; an empty file is an empty database. */
static enum err make_empty(struct copying *c)
{
    int fd = -1;
    if (unlink(c->to_path) == 0 || errno == ENOENT)
        fd = open(c->to_path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0)
        return error_set(c->a, c->why, err_from_errno(errno), "%s: cannot create: %s", c->to_path,
                         strerrordesc_np(errno));
    close(fd);
    return OK;
}

/* A leading "./" because Debian's SQLite takes "file:..." for a URI. */
static const char *sqlite_path(struct arena *a, str path)
{
    return arena_printf(a, "%s%.*s", str_starts(path, STR("/")) ? "" : "./", STR_ARG(path)).p;
}

enum err db_backup(str dir, str path, struct arena *a, struct error *why)
{
    __attribute__((cleanup(close_both))) struct copying c = {.a = a, .why = why};
    c.from_path = sqlite_path(a, arena_printf(a, "%.*s/berth.db", STR_ARG(dir)));
    c.to_path = sqlite_path(a, path);
    int from = SQLITE_OPEN_READONLY | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_PRIVATECACHE;
    if (sqlite3_open_v2(c.from_path, &c.from, from, NULL))
        return copy_fail(&c, c.from, c.from_path, "cannot open");
    sqlite3_busy_timeout(c.from, 5000);
    int64_t id = 0;
    enum err e = pragma_int(&c, "PRAGMA application_id", &id);
    if (!e && id != SQLITE_APPLICATION_ID)
        e = error_set(a, why, ERR_DB, "%s: is not a database of berth's", c.from_path);
    if (e)
        return e;
    if ((e = make_empty(&c)))
        return e;
    if (sqlite3_open_v2(c.to_path, &c.to, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX, NULL))
        return copy_fail(&c, c.to, c.to_path, "cannot open");
    e = copy_pages(&c);
    return e ? e : sync_file(&c);
}
