#include "db/db_sqlite.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

enum { FILES_MAX = 3 };

static void note_place(struct sqlite_guard *g, const char *path, const char *suffix)
{
    struct sqlite_place *place = &g->places[g->place_n];
    struct stat st;
    int n = snprintf(place->path, sizeof place->path, "%s%s", path, suffix);
    if (n < 0 || (size_t)n >= sizeof place->path || stat(place->path, &st) != 0)
        return; /* not a file, as with a database in memory */
    place->dev = st.st_dev;
    place->ino = st.st_ino;
    g->place_n++;
}

static enum err check_place(const struct sqlite_place *place, struct db_conn *writer)
{
    struct stat st;
    char text[DB_ERROR_MAX];
    bool seen = stat(place->path, &st) == 0;
    if (seen && st.st_dev == place->dev && st.st_ino == place->ino)
        return OK;
    enum err e = !seen && errno == EACCES ? ERR_PERMISSION : ERR_MOVED;
    snprintf(text, sizeof text, "%.180s is not the file any more that the server has open",
             place->path);
    return db_conn_fail(writer, e, text);
}

/* Restarting moves all frames into the database file, syncs that, and lets the next transaction
 * begin at the log's start: written anew, every page it needs is dirty. Strangers that read the log
 * keep it from being begun anew, but not from being copied whole. */
static void take_over_log(struct sqlite_guard *g, struct db_conn *writer)
{
    int pages = 0, moved = 0;
    sqlite3_busy_timeout(sqlite_handle(writer), 0);
    int rc = sqlite3_wal_checkpoint_v2(sqlite_handle(writer), "main", SQLITE_CHECKPOINT_RESTART,
                                       &pages, &moved);
    bool whole = rc == SQLITE_OK || (rc == SQLITE_BUSY && pages >= 0 && moved == pages);
    g->foreign_error = whole ? OK : sqlite_fail(writer);
    g->foreign_log = !whole;
    sqlite3_busy_timeout(sqlite_handle(writer), SQLITE_BUSY_MS); /* migrations are to wait */
}

void sqlite_guard_start(struct sqlite_guard *g, struct db_conn *writer)
{
    g->places = calloc(FILES_MAX, sizeof *g->places);
    if (!g->places)
        abort();
    const char *path = sqlite3_db_filename(sqlite_handle(writer), "main");
    take_over_log(g, writer); /* opens it */
    note_place(g, path, "");
    note_place(g, path, "-wal");
    note_place(g, path, "-shm");
}

void sqlite_guard_release(struct sqlite_guard *g)
{
    free(g->places);
    *g = (struct sqlite_guard){0};
}

enum err sqlite_guard_check(struct sqlite_guard *g, struct db_conn *writer)
{
    for (unsigned i = 0; i < g->place_n; i++) {
        enum err e = check_place(&g->places[i], writer);
        if (e)
            return e;
    }
    if (g->foreign_log)
        take_over_log(g, writer);
    return OK;
}
