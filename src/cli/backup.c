/* berth backup: first a snapshot of the database, then the blobs it names, then the mark that makes
 * them a backup. Blobs are durable before the row that names them, and while the hold is taken none
 * is unlinked, so what the snapshot names is there. A running server only shares its disk. */
#include "base/clock.h"
#include "base/hex.h"
#include "blob/store.h"
#include "cli/backup_dir.h"
#include "cli/data_dir.h"
#include "cli/options.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

struct backup {
    struct arena arena;
    struct conf conf;
    struct error why;
    str target;
    int lock_fd, hold_fd;
    struct backup_mark mark;
    struct backup_blobs blobs;
    struct db *snapshot;
    bool copy; /* --copy */
};

static str in_target(struct backup *b, str name)
{
    return arena_printf(&b->arena, "%.*s/%.*s", STR_ARG(b->target), STR_ARG(name));
}

static bool exists(struct backup *b, str dir, const char *name)
{
    struct stat st;
    return stat(arena_printf(&b->arena, "%.*s/%s", STR_ARG(dir), name).p, &st) == 0;
}

static void close_dir(DIR **d)
{
    if (*d)
        closedir(*d);
}
#define DIR_CLEANUP __attribute__((cleanup(close_dir)))

/* Only an empty directory becomes a backup, so that a mistyped one keeps what is in it. */
static enum err take_target(struct backup *b)
{
    enum err e = data_dir_make(b->target, &b->arena, &b->why);
    if (e)
        return e;
    if (!exists(b, b->target, "backup.lock")) {
        DIR_CLEANUP DIR *d = opendir(arena_cstr(&b->arena, b->target));
        if (!d)
            return backup_fail(&b->arena, &b->why, "read directory", b->target);
        for (struct dirent *entry; (entry = readdir(d));)
            if (entry->d_name[0] != '.' && strcmp(entry->d_name, "lost+found") != 0)
                return error_set(&b->arena, &b->why, ERR_EXISTS,
                                 "%.*s is neither empty nor a backup", STR_ARG(b->target));
    }
    str path = in_target(b, STR("backup.lock"));
    b->lock_fd = open(path.p, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (b->lock_fd < 0)
        return backup_fail(&b->arena, &b->why, "open", path);
    if (flock(b->lock_fd, LOCK_EX | LOCK_NB))
        return error_set(&b->arena, &b->why, ERR_BUSY, "another backup to %.*s is under way",
                         STR_ARG(b->target));
    return OK;
}

/* Removing what no backup that counts needs. */

static enum err remove_database(struct backup *b, str name, struct error *why)
{
    str dir = in_target(b, name);
    unlink(arena_printf(&b->arena, "%.*s/berth.db-journal", STR_ARG(dir)).p);
    unlink(arena_printf(&b->arena, "%.*s/berth.db", STR_ARG(dir)).p);
    return rmdir(dir.p) == 0 || errno == ENOENT ? OK : backup_fail(&b->arena, why, "remove", dir);
}

/* All but `keep`. */
static enum err remove_databases(struct backup *b, str keep, struct error *why)
{
    DIR_CLEANUP DIR *d = opendir(arena_cstr(&b->arena, b->target));
    if (!d)
        return backup_fail(&b->arena, why, "read directory", b->target);
    enum err e = OK;
    for (struct dirent *entry; !e && (entry = readdir(d));) {
        str name = str_from(entry->d_name);
        if (str_starts(name, STR("database-")) && !str_eq(name, keep))
            e = remove_database(b, name, why);
    }
    return e;
}

static bool is_named(struct db_conn *conn, str key)
{
    DB_CURSOR struct db_cursor c = db_query(conn, Q_BACKUP_BLOB_BY_KEY, DB_TEXT(key));
    return db_next(&c) || c.err;
}

/* Files of interrupted copies, and, where there is a snapshot, of blobs that it does not name. */
static enum err remove_blobs(struct backup *b, unsigned shard, struct error *why)
{
    ARENA_CLEANUP struct arena tmp = {0};
    str path = arena_printf(&tmp, "%.*s/blobs/%02x", STR_ARG(b->target), shard);
    DIR_CLEANUP DIR *d = opendir(path.p);
    if (!d)
        return errno == ENOENT ? OK : backup_fail(&b->arena, why, "read directory", path);
    for (struct dirent *entry; (entry = readdir(d));) {
        str name = str_from(entry->d_name);
        uint8_t key[16];
        bool temporary = str_ends(name, STR(".new"));
        bool blob = hex_decode(name, true, key, sizeof key) && key[0] == shard;
        if (!temporary && (!blob || !b->snapshot || is_named(db_reader(b->snapshot, 0), name)))
            continue;
        if (unlinkat(dirfd(d), entry->d_name, 0) != 0 && errno != ENOENT)
            return backup_fail(&b->arena, why, "remove from", path);
    }
    return OK;
}

/* What backups that did not come to their end have left, so that one that fails every night does
 * not fill the target. Only what cannot count: the database that backup.json names stays, and its
 * blobs; and where it cannot be read, or is not known to be on the disk, everything. What cannot be
 * removed is told at the end of a backup, by prune. */
static void remove_leftovers(struct backup *b)
{
    struct error ignored = {0};
    struct backup_mark mark = {0};
    enum err e = backup_mark_read(b->target, &b->arena, &mark, &ignored);
    if (e && e != ERR_NOT_FOUND)
        return;
    e = backup_sync_dir(b->target, &b->arena, &ignored);
    if (!e)
        e = remove_databases(b, mark.database, &ignored);
    for (unsigned i = 0; !e && i < STORE_SHARDS; i++)
        e = remove_blobs(b, i, &ignored);
}

/* Only before the mark was to be written: from then on it may be the one that counts. */
static void remove_own(struct backup *b)
{
    struct error ignored = {0};
    if (b->snapshot)
        db_close(b->snapshot);
    b->snapshot = NULL;
    if (b->mark.database.n)
        (void)remove_database(b, b->mark.database, &ignored);
}

/* What only the backup before needed. */
static enum err prune(struct backup *b)
{
    enum err e = remove_databases(b, b->mark.database, &b->why);
    for (unsigned i = 0; !e && i < STORE_SHARDS; i++)
        e = remove_blobs(b, i, &b->why);
    return e;
}

/* A name of its own, so that the database of the backup before stays until the mark has moved. */
static void name_database(struct backup *b)
{
    char when[CLOCK_RFC3339_LEN], id[8];
    uint8_t bytes[4];
    b->mark.created = arena_str(&b->arena, clock_rfc3339(clock_wall_us(), when));
    random_bytes(bytes, sizeof bytes);
    hex_encode(id, bytes, sizeof bytes);
    b->mark.database = arena_printf(&b->arena, "database-%.10s-%.8s", b->mark.created.p, id);
}

static enum err take_snapshot(struct backup *b)
{
    struct arena *a = &b->arena;
    struct digest digest;
    name_database(b);
    str dir = in_target(b, b->mark.database), file = arena_printf(a, "%.*s/berth.db", STR_ARG(dir));
    enum err e = backup_make_dir(dir, a, &b->why);
    if (!e)
        e = db_backup(b->conf.data, file, a, &b->why);
    if (!e)
        e = backup_sync_dir(dir, a, &b->why);
    if (!e)
        e = backup_hash(file, a, &digest, &b->why);
    if (e)
        return e;
    b->mark.digest = digest_text(a, &digest);
    return db_open_reading(&b->snapshot, dir, 1, a, &b->why);
}

static void lost(void *arg, str blob, str file, enum err why)
{
    cli_error("blob %.*s is not in the backup: %.*s %s; \"berth fsck\" tells more", STR_ARG(blob),
              STR_ARG(file),
              why == ERR_NOT_FOUND      ? "is missing"
              : why == ERR_SIZE_INVALID ? "has a wrong size"
                                        : "does not hash to the digest");
}

static enum err copy_blobs(struct backup *b)
{
    b->blobs = (struct backup_blobs){
        .conn = db_reader(b->snapshot, 0),
        .from = arena_printf(&b->arena, "%.*s/blobs", STR_ARG(b->conf.data)),
        .to = in_target(b, STR("blobs")),
        .copy = {.links = !b->copy, .clones = !b->copy},
        .lost = lost,
        .arg = b,
    };
    enum err e = backup_copy_blobs(&b->blobs, &b->arena, &b->why);
    if (!e)
        e = backup_sync_dir(b->target, &b->arena, &b->why);
    b->mark.blobs = b->blobs.blobs;
    b->mark.bytes = b->blobs.bytes;
    return e;
}

static enum err back_up(struct backup *b)
{
    if (!exists(b, b->conf.data, "berth.db"))
        return error_set(&b->arena, &b->why, ERR_NOT_FOUND,
                         "there is no registry in %.*s; name its directory with --data",
                         STR_ARG(b->conf.data));
    if (exists(b, b->target, "berth.db"))
        return error_set(&b->arena, &b->why, ERR_EXISTS, "%.*s is a data directory, not a backup",
                         STR_ARG(b->target));
    enum err e = take_target(b);
    if (e)
        return e;
    remove_leftovers(b);
    e = store_hold(b->conf.data, &b->arena, &b->hold_fd, &b->why);
    if (!e)
        e = take_snapshot(b);
    if (!e)
        e = copy_blobs(b);
    if (e) {
        remove_own(b);
        return e;
    }
    e = backup_mark_write(b->target, &b->mark, &b->arena, &b->why);
    return e ? e : prune(b);
}

static int print_result(const struct backup *b)
{
    BUF_CLEANUP struct buf out = BUF_INIT(4096);
    const struct copy *c = &b->blobs.copy;
    buf_printf(&out,
               "%.*s: %llu blobs with %llu bytes: %llu kept, %llu linked, %llu cloned, "
               "%llu copied, %llu not there\n",
               STR_ARG(b->target), (unsigned long long)b->blobs.blobs,
               (unsigned long long)b->blobs.bytes, (unsigned long long)c->files[COPY_KEPT],
               (unsigned long long)c->files[COPY_LINKED], (unsigned long long)c->files[COPY_CLONED],
               (unsigned long long)c->files[COPY_WRITTEN], (unsigned long long)b->blobs.lost_n);
    return cli_print(&out);
}

static int run(struct backup *b)
{
    enum err e = back_up(b);
    if (b->snapshot)
        db_close(b->snapshot);
    if (b->hold_fd >= 0)
        close(b->hold_fd);
    if (b->lock_fd >= 0)
        close(b->lock_fd);
    if (e) {
        cli_error("%.*s", STR_ARG(b->why.message.n ? b->why.message : str_from(err_text(e))));
        return CLI_FAILED;
    }
    int code = print_result(b);
    return code || b->blobs.lost_n ? CLI_FAILED : CLI_OK;
}

int cmd_backup(int argc, char **argv)
{
    struct backup b = {.lock_fd = -1, .hold_fd = -1};
    struct flags flags;
    int code;
    if (cli_parse("backup", backup_flags, argc, argv, &b.arena, &flags, &code) &&
        cli_load("backup", &flags, 1, &b.arena, &b.conf, &code)) {
        b.copy = flags_value(&flags, "copy").p;
        b.target = flags.word_n ? flags.words[0] : STR("");
        if (b.target.n) {
            code = run(&b);
        } else {
            cli_error("backup: name the directory to back up to; see \"berth help backup\"");
            code = CLI_USAGE;
        }
    }
    arena_release(&b.arena);
    return code;
}
