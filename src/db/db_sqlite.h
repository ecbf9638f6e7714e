/* Private to db/: the SQLite driver's parts. db_sqlite.c is connections and statements at work,
 * db_sqlite_open.c what happens once at start: file, identity, migrations, check of statements;
 * db_sqlite_copy.c looks at the whole file: verifying and copying it. */
#pragma once

#include "db/db_driver.h"

#include <sqlite3.h>

/* "Bert" in the file's header (PRAGMA application_id): what file(1) and we know the file by. */
enum { SQLITE_APPLICATION_ID = 0x42657274 };

/* Connects conn to DIR/berth.db, which exists, with everything set but foreign keys. */
NODISCARD enum err sqlite_connect(struct db_conn *conn);
sqlite3 *sqlite_handle(const struct db_conn *conn);

/* Code for the last failure on the handle; keeps its text in conn. */
enum err sqlite_fail(struct db_conn *conn);

/* Driver's open. */
NODISCARD enum err sqlite_open(struct db_conn *writer, struct arena *a, struct error *why);
/* The same for a reader of a store that is left as it is. */
NODISCARD enum err sqlite_open_reading(struct db_conn *reader, struct arena *a, struct error *why);
/* Driver's verify (db_sqlite_copy.c, like db_backup). */
NODISCARD enum err sqlite_verify(struct db_conn *reader, enum db_verify what, db_verify_fn *found,
                                 void *arg);
