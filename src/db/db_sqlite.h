/* Private to db/: the SQLite driver's parts. db_sqlite.c is connections and statements at work,
 * db_sqlite_open.c what happens once at start: file, identity, migrations, check of statements;
 * db_sqlite_copy.c looks at the whole file: verifying and copying it; db_sqlite_guard.c watches
 * over the files the writer has open. */
#pragma once

#include "db/db_driver.h"

#include <sqlite3.h>
#include <sys/types.h>

/* "Bert" in the file's header (PRAGMA application_id): what file(1) and we know the file by. */
enum { SQLITE_APPLICATION_ID = 0x42657274 };

/* Only strangers (the sqlite3 shell) can make us wait. Who holds the lock for longer than that is
 * not waited for each time: reads need the workers that would wait. */
enum { SQLITE_BUSY_MS = 2000 };

/* Connects conn to DIR/berth.db, which exists, with everything set but foreign keys. */
NODISCARD enum err sqlite_connect(struct db_conn *conn);
sqlite3 *sqlite_handle(const struct db_conn *conn);

/* What keeps the writer from acknowledging what would not be there tomorrow (db_sqlite_guard.c). */
struct sqlite_guard {
    /* The files the writer has open, and where they were. When a name leads elsewhere, what is
     * written goes to a file that nobody will ever open again. */
    struct sqlite_place {
        char path[4096];
        dev_t dev;
        ino_t ino;
    } * places; /* NULL: not known yet */
    unsigned place_n;
    /* The log was written by another process, whose last sync may have failed: then the kernel
     * calls pages clean that the disk does not have, and transactions behind them would be lost
     * with them. It is copied into the database file, and begun anew, before anything is added. */
    bool foreign_log;
    enum err foreign_error; /* why that could not be done so far */
};
/* Notes where the files are, and deals with the log. The database is in WAL mode. */
void sqlite_guard_start(struct sqlite_guard *g, struct db_conn *writer);
void sqlite_guard_release(struct sqlite_guard *g);
/* Before a transaction. ERR_MOVED, or why it cannot be said; that the log stands in the way only
 * counts for a transaction that writes: g->foreign_log is still set, then. */
NODISCARD enum err sqlite_guard_check(struct sqlite_guard *g, struct db_conn *writer);
/* The guard of a connection. */
struct sqlite_guard *sqlite_guard_of(struct db_conn *conn);

/* Code for the last failure on the handle; keeps its text in conn. */
enum err sqlite_fail(struct db_conn *conn);

/* Driver's open. */
NODISCARD enum err sqlite_open(struct db_conn *writer, struct arena *a, struct error *why);
/* The same for a reader of a store that is left as it is. */
NODISCARD enum err sqlite_open_reading(struct db_conn *reader, struct arena *a, struct error *why);
/* Driver's verify (db_sqlite_copy.c, like db_backup). */
NODISCARD enum err sqlite_verify(struct db_conn *reader, enum db_verify what, db_verify_fn *found,
                                 void *arg);
