/* SQLite at work: WAL, one writing connection, many reading ones, each used by one thread at a time
 * and therefore opened without mutexes.
 *
 * Statements are prepared when first used and kept, in an array indexed by the statement's enum.
 * Memory is what bounds the settings: seventeen connections share a program of a few megabytes, so
 * a reader's page cache is small (the kernel's is behind it, a miss costs one pread), and nothing
 * is mapped: mapped pages would count as the program's and turn a disk error into a SIGBUS.
 *
 * No statistics are kept (ANALYZE, PRAGMA optimize). They are averages, and repositories are not
 * average: where most hold one manifest, the planner would find a manifest by walking all of its
 * repository's. Without them a statement has one plan for good, which db_sqlite_plan_test.c holds.
 */
#include "db/db_sqlite.h"

#include "base/metrics.h"

#include <assert.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

/* The writer's cache holds the pages a group changes, so that they are written once. */
#define CACHE_READER "-256" /* KiB, as PRAGMA cache_size wants it */
#define CACHE_WRITER "-2048"
/* A reset WAL keeps this much, because writing over old blocks syncs faster than growing a file. */
#define WAL_KEPT_BYTES "16777216"

enum {
    BUSY_AGAIN_MS = 20,
    WAL_BIG_PAGES = 8192, /* when idle, a WAL beyond this is cut to nothing */
};

/* X(name, sql): statements of the driver itself. */
#define CONTROLS(X)                   \
    X(BEGIN_WRITE, "BEGIN IMMEDIATE") \
    X(BEGIN_READ, "BEGIN")            \
    X(COMMIT, "COMMIT")               \
    X(ROLLBACK, "ROLLBACK")           \
    X(SAVEPOINT, "SAVEPOINT job")     \
    X(SAVEPOINT_KEEP, "RELEASE job")  \
    X(SAVEPOINT_UNDO, "ROLLBACK TO job")

enum control {
#define X(name, sql) CONTROL_##name,
    CONTROLS(X)
#undef X
        CONTROL_COUNT
};

static const char *const control_sql[] = {
#define X(name, sql) sql,
    CONTROLS(X)
#undef X
};

struct db_stmt {
    sqlite3_stmt *raw; /* NULL: not prepared yet */
    bool open;
};

struct db_link {
    sqlite3 *db;
    sqlite3_stmt *control[CONTROL_COUNT];
    /* The writer's housekeeping, in pages of the WAL. */
    int wal_pages;               /* written to it */
    int wal_next_pages;          /* at this many, checkpoint though busy */
    bool wal_pending;            /* some of them are not in the database file yet */
    enum err checkpoint_error;   /* OK: the last checkpoint did not fail */
    bool locked;                 /* the last transaction met a stranger's lock */
    int64_t changes_before;      /* sqlite3_total_changes64 when the transaction began */
    struct sqlite_guard guard;   /* the writer's */
    struct db_stmt statements[]; /* setup->statement_n */
};

/* Errors. */

/* Why a file did not open. Only what tells more than "it failed" counts: a missing file must not
 * look like a missing row. For failures of statements SQLite does not keep errno. */
static enum err open_error(sqlite3 *db)
{
    enum err e = err_from_errno(sqlite3_system_errno(db));
    return e == ERR_NO_SPACE || e == ERR_NO_FILES || e == ERR_PERMISSION ? e : ERR_IO;
}

static enum err error_code(sqlite3 *db)
{
    int code = sqlite3_extended_errcode(db);
    switch (code & 0xff) {
    case SQLITE_OK:
    case SQLITE_ROW:
    case SQLITE_DONE:
        return OK;
    case SQLITE_CONSTRAINT:
        return ERR_CONSTRAINT;
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
    case SQLITE_PROTOCOL:
        return ERR_BUSY;
    case SQLITE_FULL:
        return ERR_NO_SPACE;
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
        return ERR_DB_CORRUPT;
    case SQLITE_NOMEM:
        return ERR_OVERLOADED;
    case SQLITE_IOERR:
        if (code == SQLITE_IOERR_NOMEM)
            return ERR_OVERLOADED;
        /* The WAL's index could not grow: as SQLITE_FULL, for another file. Nothing else may be
         * ERR_NO_SPACE, above all no failed sync, because the writer tries that again. */
        return code == SQLITE_IOERR_SHMSIZE ? ERR_NO_SPACE : ERR_IO;
    case SQLITE_CANTOPEN:
        return open_error(db);
    case SQLITE_PERM:
    case SQLITE_AUTH:
        return ERR_PERMISSION;
    default:
        return ERR_DB;
    }
}

enum err sqlite_fail(struct db_conn *conn)
{
    enum err e = error_code(conn->link->db);
    char text[DB_ERROR_MAX];
    snprintf(text, sizeof text, "%s (SQLite code %d)", sqlite3_errmsg(conn->link->db),
             sqlite3_extended_errcode(conn->link->db));
    return db_conn_fail(conn, e ? e : ERR_DB, text);
}

/* Connections. */

struct sqlite_guard *sqlite_guard_of(struct db_conn *conn)
{
    return &conn->link->guard;
}

sqlite3 *sqlite_handle(const struct db_conn *conn)
{
    return conn->link->db;
}

/* Without statistics malloc needs no lock of SQLite's around it. */
static void configure_once(void)
{
    sqlite3_config(SQLITE_CONFIG_MULTITHREAD);
    sqlite3_config(SQLITE_CONFIG_MEMSTATUS, 0);
}

static int on_wal(void *arg, sqlite3 *db, const char *name, int pages)
{
    struct db_conn *conn = arg;
    struct db_link *link = conn->link;
    conn->changes_made++;
    if (pages < link->wal_pages) /* all was in the database file, the WAL began anew */
        link->wal_next_pages = 0;
    link->wal_pages = pages;
    link->wal_pending = true;
    return SQLITE_OK;
}

/* Debian's default for secure_delete is ON: pages written only to be emptied. */
static const char settings_reader[] = "PRAGMA cache_size=" CACHE_READER ";"
                                      "PRAGMA temp_store=MEMORY;";
static const char settings_writer[] = "PRAGMA cache_size=" CACHE_WRITER ";"
                                      "PRAGMA temp_store=MEMORY;"
                                      "PRAGMA synchronous=FULL;"
                                      "PRAGMA secure_delete=FAST;"
                                      "PRAGMA journal_size_limit=" WAL_KEPT_BYTES ";";

static enum err configure(struct db_conn *conn)
{
    sqlite3 *db = conn->link->db;
    sqlite3_extended_result_codes(db, 1);
    sqlite3_busy_timeout(db, SQLITE_BUSY_MS);
    sqlite3_db_config(db, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL);
    sqlite3_db_config(db, SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0, NULL);
    sqlite3_db_config(db, SQLITE_DBCONFIG_DQS_DML, 0, NULL);
    sqlite3_db_config(db, SQLITE_DBCONFIG_DQS_DDL, 0, NULL);
    if (conn->writer) /* in place of SQLite's own checkpoints */
        sqlite3_wal_hook(db, on_wal, conn);
    const char *settings = conn->writer ? settings_writer : settings_reader;
    return sqlite3_exec(db, settings, NULL, NULL, NULL) ? sqlite_fail(conn) : OK;
}

static void disconnect(struct db_conn *conn)
{
    struct db_link *link = conn->link;
    if (!link)
        return;
    for (size_t i = 0; i < conn->setup->statement_n; i++)
        sqlite3_finalize(link->statements[i].raw);
    for (size_t i = 0; i < CONTROL_COUNT; i++)
        sqlite3_finalize(link->control[i]);
    sqlite3_close(link->db); /* the last one checkpoints and removes the WAL */
    sqlite_guard_release(&link->guard);
    free(link);
    conn->link = NULL;
}

enum err sqlite_connect(struct db_conn *conn)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, configure_once);

    char path[4096];
    /* A leading "./" because Debian's SQLite takes "file:..." for a URI. */
    str dir = conn->setup->dir;
    int n = snprintf(path, sizeof path, "%s%.*s/berth.db", str_starts(dir, STR("/")) ? "" : "./",
                     STR_ARG(dir));
    if (n < 0 || (size_t)n >= sizeof path)
        return db_conn_fail(conn, ERR_LIMIT, "the path is too long");
    size_t statements_bytes = conn->setup->statement_n * sizeof(struct db_stmt);
    struct db_link *link = calloc(1, sizeof *link + statements_bytes);
    if (!link)
        return db_conn_fail(conn, ERR_OVERLOADED, "no memory for a connection");
    conn->link = link;
    link->wal_pending = true; /* a killed process may have left a WAL */
    int flags = SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_PRIVATECACHE |
                (conn->writer ? SQLITE_OPEN_READWRITE : SQLITE_OPEN_READONLY);
    enum err e =
        sqlite3_open_v2(path, &link->db, flags, NULL) ? sqlite_fail(conn) : configure(conn);
    if (e)
        disconnect(conn);
    return e;
}

/* Transactions. */

static enum err control(struct db_conn *conn, enum control which)
{
    struct db_link *link = conn->link;
    sqlite3_stmt **s = &link->control[which];
    if (!*s &&
        sqlite3_prepare_v3(link->db, control_sql[which], -1, SQLITE_PREPARE_PERSISTENT, s, NULL))
        return sqlite_fail(conn);
    enum err e = sqlite3_step(*s) == SQLITE_DONE ? OK : sqlite_fail(conn);
    sqlite3_reset(*s);
    return e;
}

static enum err begin(struct db_conn *conn)
{
    struct db_link *link = conn->link;
    if (!conn->writer)
        return control(conn, CONTROL_BEGIN_READ);
    enum err e = sqlite_guard_check(&link->guard, conn);
    if (e)
        return e;
    sqlite3_busy_timeout(link->db, link->locked ? BUSY_AGAIN_MS : SQLITE_BUSY_MS);
    e = control(conn, CONTROL_BEGIN_WRITE);
    link->locked = e == ERR_BUSY;
    link->changes_before = sqlite3_total_changes64(link->db);
    return e;
}

/* Where the log holds the whole transaction, it may come back when the log is next read from its
 * start, whatever kept it from being acknowledged: a failed sync, an index of the log that could
 * not grow. Only what is known to come before that is known not to have happened. */
static enum err commit_failure(struct db_conn *conn, enum err e)
{
    int code = sqlite3_extended_errcode(conn->link->db) & 0xff;
    bool known = code == SQLITE_FULL || code == SQLITE_BUSY || code == SQLITE_CONSTRAINT;
    return known || e == ERR_DB_CORRUPT ? e : ERR_IO;
}

static enum err commit(struct db_conn *conn)
{
    struct db_link *link = conn->link;
    bool wrote = sqlite3_total_changes64(link->db) != link->changes_before;
    if (wrote && link->guard.foreign_log)
        return link->guard.foreign_error;
    enum err e = control(conn, CONTROL_COMMIT);
    if (e)
        return commit_failure(conn, e);
    conn->wrote |= wrote;
    return wrote && sqlite_guard_check(&link->guard, conn) ? ERR_IO : OK;
}

/* The number is there already; its page is written all the same. */
static enum err probe(struct db_conn *conn)
{
    struct db_link *link = conn->link;
    enum err e = sqlite_guard_check(&link->guard, conn);
    if (!e && link->guard.foreign_log)
        e = link->guard.foreign_error;
    if (e)
        return e;
    char sql[64];
    unsigned version = 0;
    while (conn->setup->migrations[version].name)
        version++;
    snprintf(sql, sizeof sql, "PRAGMA user_version=%u", version);
    sqlite3_busy_timeout(link->db, BUSY_AGAIN_MS);
    return sqlite3_exec(link->db, sql, NULL, NULL, NULL) ? sqlite_fail(conn) : OK;
}

static bool in_transaction(struct db_conn *conn)
{
    return !sqlite3_get_autocommit(conn->link->db);
}

static void rollback(struct db_conn *conn)
{
    /* It cannot fail in a way that leaves the transaction open. */
    if (in_transaction(conn))
        (void)control(conn, CONTROL_ROLLBACK);
    assert(!in_transaction(conn));
}

static enum err savepoint(struct db_conn *conn)
{
    return control(conn, CONTROL_SAVEPOINT);
}

static enum err savepoint_keep(struct db_conn *conn)
{
    return control(conn, CONTROL_SAVEPOINT_KEEP);
}

static enum err savepoint_undo(struct db_conn *conn)
{
    enum err e = control(conn, CONTROL_SAVEPOINT_UNDO);
    return e ? e : control(conn, CONTROL_SAVEPOINT_KEEP);
}

/* Statements. */

static int bind(sqlite3_stmt *raw, int i, const struct db_value *v)
{
    /* SQLite takes a NULL pointer for NULL; an empty slice is a value. */
    const char *p = v->s.p ? v->s.p : "";
    switch (v->type) {
    case DB_VALUE_INT:
        return sqlite3_bind_int64(raw, i, v->i);
    case DB_VALUE_TEXT:
        return sqlite3_bind_text64(raw, i, p, v->s.n, SQLITE_STATIC, SQLITE_UTF8);
    case DB_VALUE_BYTES:
        return sqlite3_bind_blob64(raw, i, p, v->s.n, SQLITE_STATIC);
    case DB_VALUE_NULL:
        break;
    }
    return sqlite3_bind_null(raw, i);
}

static void reset(struct db_stmt *s)
{
    /* Its result repeats the last step's. Bindings stay: the next start binds every parameter. */
    sqlite3_reset(s->raw);
    s->open = false;
}

static enum err start(struct db_conn *conn, enum query q, const struct db_value *values, size_t n,
                      struct db_stmt **ret)
{
    struct db_stmt *s = &conn->link->statements[q];
    assert(!s->open);
    if (!s->raw && sqlite3_prepare_v3(conn->link->db, conn->setup->statements[q].sql, -1,
                                      SQLITE_PREPARE_PERSISTENT, &s->raw, NULL))
        return sqlite_fail(conn);
    assert((size_t)sqlite3_bind_parameter_count(s->raw) == n);
    for (size_t i = 0; i < n; i++)
        if (bind(s->raw, (int)i + 1, &values[i]))
            return sqlite_fail(conn);
    s->open = true;
    *ret = s;
    return OK;
}

static enum err step(struct db_conn *conn, struct db_stmt *s, bool *row)
{
    int rc = sqlite3_step(s->raw);
    if (rc != SQLITE_ROW && rc != SQLITE_DONE)
        return sqlite_fail(conn);
    *row = rc == SQLITE_ROW;
    return OK;
}

static int64_t changes(struct db_conn *conn, const struct db_stmt *s)
{
    return sqlite3_stmt_readonly(s->raw) ? 0 : sqlite3_changes64(conn->link->db);
}

static uint32_t column_n(const struct db_stmt *s)
{
    return (uint32_t)sqlite3_column_count(s->raw);
}

static int column_type(const struct db_stmt *s, int column)
{
    switch (sqlite3_column_type(s->raw, column)) {
    case SQLITE_INTEGER:
        return DB_VALUE_INT;
    case SQLITE_TEXT:
        return DB_VALUE_TEXT;
    case SQLITE_BLOB:
        return DB_VALUE_BYTES;
    default:
        return DB_VALUE_NULL; /* Berth stores no other type */
    }
}

static bool column_is_null(const struct db_stmt *s, int column)
{
    return sqlite3_column_type(s->raw, column) == SQLITE_NULL;
}

static int64_t column_int(const struct db_stmt *s, int column)
{
    return sqlite3_column_int64(s->raw, column);
}

static str column_text(const struct db_stmt *s, int column)
{
    const unsigned char *p = sqlite3_column_text(s->raw, column);
    return str_make(p, p ? (size_t)sqlite3_column_bytes(s->raw, column) : 0);
}

static str column_bytes(const struct db_stmt *s, int column)
{
    if (column_is_null(s, column))
        return (str){0};
    const void *p = sqlite3_column_blob(s->raw, column); /* NULL when empty */
    return str_make(p ? p : "", (size_t)sqlite3_column_bytes(s->raw, column));
}

/* The index of the write-ahead log begins with its version, an unused word, and the count of
 * transactions (https://sqlite.org/walformat.html, "WAL-Index File Format"); all processes that use
 * the database share it. */
static const atomic_uint *wal_changes(struct db_conn *conn)
{
    enum { REGION_BYTES = 32768, VERSION = 3007000 };
    sqlite3_file *file = NULL;
    volatile void *index = NULL;
    if (sqlite3_file_control(conn->link->db, "main", SQLITE_FCNTL_FILE_POINTER, &file) || !file ||
        !file->pMethods || file->pMethods->iVersion < 2 ||
        file->pMethods->xShmMap(file, 0, REGION_BYTES, 0, &index) || !index)
        return NULL;
    const atomic_uint *words = (const atomic_uint *)index;
    return atomic_load(&words[0]) == VERSION ? &words[2] : NULL;
}

/* Housekeeping. */

/* Neither kind makes readers wait, and with no busy timeout none waits for readers. */
static void checkpoint(struct db_conn *conn, int mode)
{
    struct db_link *link = conn->link;
    int pages = 0, moved = 0;
    sqlite3_busy_timeout(link->db, 0);
    int rc = sqlite3_wal_checkpoint_v2(link->db, "main", mode, &pages, &moved);
    link->checkpoint_error = rc && rc != SQLITE_BUSY ? sqlite_fail(conn) : OK;
    if (link->checkpoint_error)
        metric_add(METRIC_DB_CHECKPOINT_FAILURES, 1);
    sqlite3_busy_timeout(link->db, SQLITE_BUSY_MS);
    if (pages >= 0) /* -1: it failed before it knew */
        link->wal_pages = pages;
    if (pages == 0)
        link->wal_next_pages = 0;
    link->wal_pending = rc || moved < pages;
}

/* Busy: only when the WAL has grown by checkpoint_pages since the last attempt, since a reader may
 * keep old pages in it. Idle: whenever something is left to move. */
static enum err maintain(struct db_conn *conn, bool idle, bool *again)
{
    struct db_link *link = conn->link;
    if (!idle) {
        if (link->wal_next_pages == 0)
            link->wal_next_pages = (int)conn->setup->checkpoint_pages;
        if (link->wal_pending && link->wal_pages >= link->wal_next_pages) {
            checkpoint(conn, SQLITE_CHECKPOINT_PASSIVE);
            link->wal_next_pages = link->wal_pages + (int)conn->setup->checkpoint_pages;
        }
        *again = true;
        return link->checkpoint_error;
    }
    if (link->wal_pages > WAL_BIG_PAGES)
        checkpoint(conn, SQLITE_CHECKPOINT_TRUNCATE);
    else if (link->wal_pending)
        checkpoint(conn, SQLITE_CHECKPOINT_PASSIVE);
    sqlite3_db_release_memory(link->db);
    *again = link->wal_pending;
    return link->checkpoint_error;
}

static uint64_t size_of(str dir, const char *name)
{
    char path[4096];
    struct stat st;
    int n = snprintf(path, sizeof path, "%.*s/%s", STR_ARG(dir), name);
    bool known = n > 0 && (size_t)n < sizeof path && stat(path, &st) == 0;
    return known ? (uint64_t)st.st_size : 0;
}

static void sizes(const struct db_setup *setup, uint64_t *file_bytes, uint64_t *wal_bytes)
{
    *file_bytes = size_of(setup->dir, "berth.db");
    *wal_bytes = size_of(setup->dir, "berth.db-wal");
}

const struct db_driver db_driver_sqlite = {
    .open = sqlite_open,
    .connect = sqlite_connect,
    .open_reading = sqlite_open_reading,
    .verify = sqlite_verify,
    .disconnect = disconnect,
    .begin = begin,
    .commit = commit,
    .rollback = rollback,
    .in_transaction = in_transaction,
    .savepoint = savepoint,
    .savepoint_keep = savepoint_keep,
    .savepoint_undo = savepoint_undo,
    .start = start,
    .step = step,
    .reset = reset,
    .changes = changes,
    .column_n = column_n,
    .column_type = column_type,
    .column_int = column_int,
    .column_text = column_text,
    .column_bytes = column_bytes,
    .column_is_null = column_is_null,
    .name = "sqlite",
    .version = sqlite3_libversion,
    .sizes = sizes,
    .count_of_changes = wal_changes,
    .maintain = maintain,
    .probe = probe,
};
