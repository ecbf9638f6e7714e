#include "cli/backup_dir.h"

#include "base/hex.h"
#include "cli/data_dir.h"
#include "json/read.h"
#include "json/write.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

enum { MARK_BYTES_MAX = 4096, PIECE_BYTES = 1 << 20 };

static void close_fd(int *fd)
{
    if (*fd >= 0)
        close(*fd);
}
#define FD_CLEANUP __attribute__((cleanup(close_fd)))

enum err backup_fail(struct arena *a, struct error *why, const char *verb, str path)
{
    int errnum = errno;
    return error_set(a, why, err_from_errno(errnum), "cannot %s %.*s: %s", verb, STR_ARG(path),
                     strerrordesc_np(errnum));
}

enum err backup_sync_dir(str path, struct arena *a, struct error *why)
{
    FD_CLEANUP int fd = open(arena_cstr(a, path), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    return fd < 0 || fsync(fd) ? backup_fail(a, why, "sync directory", path) : OK;
}

enum err backup_make_dir(str path, struct arena *a, struct error *why)
{
    if (mkdir(arena_cstr(a, path), 0700) != 0 && errno != EEXIST)
        return backup_fail(a, why, "make directory", path);
    return OK;
}

enum err backup_hash(str path, struct arena *a, struct digest *ret, struct error *why)
{
    ARENA_CLEANUP struct arena tmp = {0};
    HASHER_CLEANUP struct hasher *h = hasher_new(DIGEST_sha256);
    FD_CLEANUP int fd = open(arena_cstr(a, path), O_RDONLY | O_CLOEXEC);
    char *piece = arena_alloc(&tmp, PIECE_BYTES);
    ssize_t n = fd < 0 ? -1 : read(fd, piece, PIECE_BYTES);
    for (; n > 0; n = read(fd, piece, PIECE_BYTES))
        hasher_update(h, piece, (size_t)n);
    if (n < 0)
        return backup_fail(a, why, "read", path);
    hasher_peek(h, ret);
    return OK;
}

/* The mark. */

static bool mark_parse(str text, struct arena *a, struct backup_mark *ret)
{
    JSON_CLEANUP json_t *root = NULL;
    str problem, database, digest, created;
    int64_t format, blobs, bytes;
    if (json_read(a, text, &root, &problem) || !json_member_int(root, "format", &format) ||
        format != BACKUP_FORMAT || !json_member_str(root, "database", &database) ||
        !json_member_str(root, "digest", &digest) || !json_member_str(root, "created", &created) ||
        !json_member_int(root, "blobs", &blobs) || !json_member_int(root, "bytes", &bytes))
        return false;
    if (!str_starts(database, STR("database-")) || str_find(database, '/') < database.n)
        return false;
    *ret = (struct backup_mark){arena_str(a, database), arena_str(a, digest), arena_str(a, created),
                                (uint64_t)blobs, (uint64_t)bytes};
    return true;
}

enum err backup_mark_read(str dir, struct arena *a, struct backup_mark *ret, struct error *why)
{
    str path = arena_printf(a, "%.*s/backup.json", STR_ARG(dir));
    FD_CLEANUP int fd = open(path.p, O_RDONLY | O_CLOEXEC);
    if (fd < 0 && (errno == ENOENT || errno == ENOTDIR))
        return error_set(a, why, ERR_NOT_FOUND, "%.*s holds no complete backup: there is no %.*s",
                         STR_ARG(dir), STR_ARG(path));
    char *text = arena_alloc(a, MARK_BYTES_MAX);
    ssize_t n = fd < 0 ? -1 : pread(fd, text, MARK_BYTES_MAX, 0);
    if (n < 0)
        return backup_fail(a, why, "read", path);
    if (!mark_parse(str_make(text, (size_t)n), a, ret))
        return error_set(a, why, ERR_SYNTAX, "%.*s is not one of this version of berth",
                         STR_ARG(path));
    return OK;
}

enum err backup_mark_write(str dir, const struct backup_mark *mark, struct arena *a,
                           struct error *why)
{
    BUF_CLEANUP struct buf text = BUF_INIT(MARK_BYTES_MAX);
    struct json_writer w = {.out = &text};
    jw_object(&w);
    jw_key(&w, "format");
    jw_int(&w, BACKUP_FORMAT);
    jw_field(&w, "version", STR(BERTH_VERSION));
    jw_field(&w, "created", mark->created);
    jw_field(&w, "database", mark->database);
    jw_field(&w, "digest", mark->digest);
    jw_key(&w, "blobs");
    jw_int(&w, (int64_t)mark->blobs);
    jw_key(&w, "bytes");
    jw_int(&w, (int64_t)mark->bytes);
    jw_end(&w);
    buf_byte(&text, '\n');
    return data_dir_write_secret(dir, "backup.json", buf_str(&text), a, why);
}

/* Blobs. */

enum { CHUNK = 256, SHARDS = 256 };

struct row {
    int64_t id;
    struct digest digest;
    uint64_t size_bytes;
    char name[64]; /* file's, NUL-terminated */
    unsigned shard;
    bool linked;
};

struct shards {
    int from[SHARDS], to[SHARDS];
};

static enum err open_shards(struct backup_blobs *b, struct shards *s, struct arena *a,
                            struct error *why)
{
    enum err e = backup_make_dir(b->to, a, why);
    for (unsigned i = 0; !e && i < SHARDS; i++) {
        str from = arena_printf(a, "%.*s/%02x", STR_ARG(b->from), i);
        str to = arena_printf(a, "%.*s/%02x", STR_ARG(b->to), i);
        if ((e = backup_make_dir(to, a, why)))
            return e;
        /* One that is missing is a shard without files. */
        s->from[i] = open(from.p, O_PATH | O_DIRECTORY | O_CLOEXEC);
        if (s->from[i] < 0 && errno != ENOENT)
            return backup_fail(a, why, "open", from);
        s->to[i] = open(to.p, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (s->to[i] < 0)
            return backup_fail(a, why, "open", to);
    }
    return e ? e : backup_sync_dir(b->to, a, why);
}

static void close_shards(struct shards *s)
{
    for (unsigned i = 0; i < SHARDS; i++) {
        close_fd(&s->from[i]);
        close_fd(&s->to[i]);
    }
}

/* A key is 32 hexadecimal digits; anything else in that column is damage. */
static enum err read_row(struct db_cursor *c, struct row *row)
{
    uint8_t key[16];
    str text = db_text(c, 3);
    *row = (struct row){
        .id = db_int(c, 0), .size_bytes = (uint64_t)db_int(c, 2), .linked = db_int(c, 4)};
    if (!hex_decode(text, true, key, sizeof key) ||
        !digest_from_stored(db_bytes(c, 1), &row->digest) ||
        digest_algorithm(&row->digest) == DIGEST_OTHER)
        return ERR_DB_CORRUPT;
    memcpy(row->name, text.p, text.n);
    row->shard = key[0];
    return OK;
}

static enum err read_rows(struct db_conn *conn, int64_t after, struct row rows[CHUNK], size_t *n)
{
    DB_CURSOR struct db_cursor c = db_query(conn, Q_BACKUP_BLOBS, DB_INT(after), DB_INT(CHUNK));
    for (*n = 0; db_next(&c); ++*n) {
        enum err e = read_row(&c, &rows[*n]);
        if (e)
            return e;
    }
    return c.err;
}

static bool is_loss(enum err e)
{
    return e == ERR_NOT_FOUND || e == ERR_SIZE_INVALID || e == ERR_DIGEST_INVALID;
}

static enum err copy_row(struct backup_blobs *b, const struct shards *s, const struct row *row,
                         struct arena *a, struct error *why)
{
    ARENA_CLEANUP struct arena tmp = {0};
    enum err e = s->from[row->shard] < 0
                     ? ERR_NOT_FOUND
                     : copy_file(&b->copy, s->from[row->shard], s->to[row->shard], row->name,
                                 row->size_bytes, &row->digest);
    if (!e) {
        b->blobs++;
        b->bytes += row->size_bytes;
        return OK;
    }
    str file = arena_printf(&tmp, "%.*s/%02x/%s", STR_ARG(b->from), row->shard, row->name);
    if (!is_loss(e))
        return error_set(a, why, e, "cannot copy %.*s: %s", STR_ARG(file), err_text(e));
    if (row->linked) {
        b->lost_n++;
        b->lost(b->arg, digest_text(&tmp, &row->digest), file, e);
    }
    return OK;
}

static enum err copy_all(struct backup_blobs *b, const struct shards *s, struct arena *a,
                         struct error *why)
{
    ARENA_CLEANUP struct arena tmp = {0};
    struct row *rows = ARENA_ARRAY(&tmp, CHUNK, struct row);
    int64_t last = 0;
    size_t n;
    do {
        enum err e = read_rows(b->conn, last, rows, &n);
        if (e)
            return error_set(a, why, e, "cannot read the list of blobs: %.*s",
                             STR_ARG(db_error_text(b->conn, a)));
        for (size_t i = 0; i < n; i++)
            if ((e = copy_row(b, s, &rows[i], a, why)))
                return e;
        if (n)
            last = rows[n - 1].id;
    } while (n);
    for (unsigned i = 0; i < SHARDS; i++)
        if (fsync(s->to[i]) != 0)
            return backup_fail(a, why, "sync", arena_printf(a, "%.*s/%02x", STR_ARG(b->to), i));
    return OK;
}

enum err backup_copy_blobs(struct backup_blobs *b, struct arena *a, struct error *why)
{
    __attribute__((cleanup(close_shards))) struct shards s;
    for (unsigned i = 0; i < SHARDS; i++)
        s.from[i] = s.to[i] = -1;
    enum err e = open_shards(b, &s, a, why);
    return e ? e : copy_all(b, &s, a, why);
}
