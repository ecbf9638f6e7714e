/* berth restore: the files of a backup become a data directory. The file "restoring" is there until
 * all is, and keeps everything but another restore away. */
#include "blob/store.h"
#include "cli/backup_dir.h"
#include "cli/data_dir.h"
#include "cli/options.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

struct restore {
    struct arena arena;
    struct conf conf;
    struct error why;
    str backup, database; /* path of the database's folder */
    int lock_fd;
    struct backup_mark mark;
    struct backup_blobs blobs;
};

static enum err open_backup(struct restore *r)
{
    struct digest digest, want;
    enum err e = backup_mark_read(r->backup, &r->arena, &r->mark, &r->why);
    if (e)
        return e;
    r->database =
        arena_printf(&r->arena, "%.*s/%.*s", STR_ARG(r->backup), STR_ARG(r->mark.database));
    str file = arena_printf(&r->arena, "%.*s/berth.db", STR_ARG(r->database));
    e = backup_hash(file, &r->arena, &digest, &r->why);
    if (e)
        return e;
    if (digest_parse(r->mark.digest, false, &want) || !digest_eq(&digest, &want))
        return error_set(&r->arena, &r->why, ERR_DIGEST_INVALID,
                         "%.*s is damaged: its bytes do not hash to what the backup noted",
                         STR_ARG(file));
    return OK;
}

/* Empty but for the lock; or left by a restore that was interrupted. */
static enum err check_empty(struct restore *r)
{
    DIR *d = opendir(arena_cstr(&r->arena, r->conf.data));
    if (!d)
        return backup_fail(&r->arena, &r->why, "read directory", r->conf.data);
    bool empty = true, again = false;
    for (struct dirent *entry; (entry = readdir(d));) {
        str name = str_from(entry->d_name);
        again |= str_eq(name, STR(DATA_DIR_RESTORING));
        empty &= str_eq(name, STR(".")) || str_eq(name, STR("..")) || str_eq(name, STR("lock")) ||
                 str_eq(name, STR("lost+found")) || str_eq(name, STR(DATA_DIR_RESTORING ".new"));
    }
    closedir(d);
    if (empty || again)
        return OK;
    return error_set(&r->arena, &r->why, ERR_EXISTS,
                     "%.*s is not empty; restore into a new directory and exchange them",
                     STR_ARG(r->conf.data));
}

static void lost(void *arg, str blob, str file, enum err why)
{
    cli_error("blob %.*s is lost: %.*s %s", STR_ARG(blob), STR_ARG(file),
              why == ERR_NOT_FOUND      ? "is missing"
              : why == ERR_SIZE_INVALID ? "has a wrong size"
                                        : "does not hash to the digest");
}

static enum err copy_blobs(struct restore *r)
{
    struct db *db;
    enum err e = db_open_reading(&db, r->database, 1, &r->arena, &r->why);
    if (e)
        return e;
    r->blobs = (struct backup_blobs){
        .conn = db_reader(db, 0),
        .from = arena_printf(&r->arena, "%.*s/blobs", STR_ARG(r->backup)),
        .to = arena_printf(&r->arena, "%.*s/blobs", STR_ARG(r->conf.data)),
        .copy = {.clones = true, .verify = true},
        .lost = lost,
    };
    e = backup_copy_blobs(&r->blobs, &r->arena, &r->why);
    db_close(db);
    return e;
}

/* Of a restore that was interrupted. A log that stays would be played into the database that comes
 * next, whatever that holds; so it is gone for good before there is one. */
static enum err remove_database(struct restore *r, int dir)
{
    static const char *const names[] = {"berth.db", "berth.db-wal", "berth.db-shm",
                                        "berth.db-journal"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (unlinkat(dir, names[i], 0) != 0 && errno != ENOENT)
            return backup_fail(&r->arena, &r->why,
                               arena_printf(&r->arena, "replace %s in", names[i]).p, r->conf.data);
    return fsync(dir) == 0 ? OK : backup_fail(&r->arena, &r->why, "sync", r->conf.data);
}

static enum err copy_database(struct restore *r)
{
    struct copy copy = {.clones = true, .verify = true};
    struct digest digest;
    str to = r->conf.data;
    int from_dir = open(r->database.p, O_PATH | O_DIRECTORY | O_CLOEXEC);
    int to_dir = open(arena_cstr(&r->arena, to), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    struct stat st;
    enum err e = OK;
    if (from_dir < 0 || to_dir < 0 || fstatat(from_dir, "berth.db", &st, 0) != 0)
        e = backup_fail(&r->arena, &r->why, "open", r->database);
    if (!e)
        e = remove_database(r, to_dir);
    if (!e)
        e = digest_parse(r->mark.digest, false, &digest);
    if (!e && (e = copy_file(&copy, from_dir, to_dir, "berth.db", (uint64_t)st.st_size, &digest)))
        error_set(&r->arena, &r->why, e, "cannot copy the database: %s", err_text(e));
    if (!e && fsync(to_dir) != 0)
        e = backup_fail(&r->arena, &r->why, "sync", to);
    if (from_dir >= 0)
        close(from_dir);
    if (to_dir >= 0)
        close(to_dir);
    return e;
}

static enum err end_uploads(struct db_conn *conn, void *arg)
{
    return db_exec(conn, Q_BACKUP_UPLOADS_END);
}

/* Brings the database up to this program's schema, too. */
static enum err settle_database(struct restore *r)
{
    struct db *db;
    enum err e = db_open(&db, r->conf.data, 1, &r->arena, &r->why);
    if (e)
        return e;
    e = db_tx(db, end_uploads, NULL);
    db_close(db);
    return e;
}

static enum err make_store(struct restore *r)
{
    struct store *store;
    enum err e = store_open(&store, r->conf.data, &r->arena, &r->why);
    if (!e)
        store_close(store);
    return e;
}

static enum err put_back(struct restore *r)
{
    struct arena *a = &r->arena;
    str dir = r->conf.data;
    enum err e = open_backup(r);
    if (!e)
        e = data_dir_take(dir, a, &r->lock_fd, &r->why);
    if (!e)
        e = check_empty(r);
    if (!e)
        e = data_dir_write_secret(dir, DATA_DIR_RESTORING, STR(""), a, &r->why);
    if (!e)
        e = make_store(r);
    if (!e)
        e = copy_blobs(r);
    if (!e)
        e = copy_database(r);
    if (!e)
        e = settle_database(r);
    if (e)
        return e;
    str mark = arena_printf(a, "%.*s/" DATA_DIR_RESTORING, STR_ARG(dir));
    if (unlink(mark.p) != 0)
        return backup_fail(a, &r->why, "remove", mark);
    return backup_sync_dir(dir, a, &r->why);
}

static int run(struct restore *r)
{
    BUF_CLEANUP struct buf out = BUF_INIT(4096);
    enum err e = put_back(r);
    if (r->lock_fd >= 0)
        close(r->lock_fd);
    if (e) {
        cli_error("%.*s", STR_ARG(r->why.message.n ? r->why.message : str_from(err_text(e))));
        return CLI_FAILED;
    }
    buf_printf(&out, "%.*s: %llu blobs with %llu bytes, as of %.*s\n", STR_ARG(r->conf.data),
               (unsigned long long)r->blobs.blobs, (unsigned long long)r->blobs.bytes,
               STR_ARG(r->mark.created));
    int code = cli_print(&out);
    if (r->blobs.lost_n)
        cli_error("%llu blobs are lost; \"berth fsck --repair\" marks them, so that pushing them "
                  "again repairs them",
                  (unsigned long long)r->blobs.lost_n);
    return code || r->blobs.lost_n ? CLI_FAILED : CLI_OK;
}

int cmd_restore(int argc, char **argv)
{
    struct restore r = {.lock_fd = -1};
    struct flags flags;
    int code;
    if (cli_parse("restore", restore_flags, argc, argv, &r.arena, &flags, &code) &&
        cli_load("restore", &flags, 1, &r.arena, &r.conf, &code)) {
        r.backup = flags.word_n ? flags.words[0] : STR("");
        if (r.backup.n) {
            code = run(&r);
        } else {
            cli_error("restore: name the directory of the backup; see \"berth help restore\"");
            code = CLI_USAGE;
        }
    }
    arena_release(&r.arena);
    return code;
}
