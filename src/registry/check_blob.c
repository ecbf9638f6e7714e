/* Blobs against their files, files against their rows, uploads. */
#include "base/hex.h"
#include "registry/check_private.h"
#include "registry/damage.h"

enum { USERS_NAMED = 3 };

struct row {
    int64_t id;
    struct digest digest;
    uint64_t size_bytes;
    char key[STORE_KEY_LEN];
    bool damaged, linked, condemned;
};

struct blobs {
    struct check *check;
    struct arena arena; /* of one blob */
    uint64_t bytes_done, bytes_total;
};

static enum err pace(void *arg, uint64_t bytes)
{
    struct blobs *b = arg;
    b->bytes_done += bytes;
    check_progress(b->check, "blobs", b->bytes_done, b->bytes_total);
    return OK;
}

/* "blob sha256:... of team/app, team/base" */
static enum err name_blob(struct blobs *b, const struct row *row, str *ret)
{
    struct arena *a = &b->arena;
    str text = arena_printf(a, "blob %.*s", STR_ARG(digest_text(a, &row->digest)));
    DB_CURSOR struct db_cursor c = db_query(check_conn(b->check), Q_CHECK_BLOB_USERS,
                                            DB_INT(row->id), DB_INT(USERS_NAMED + 1));
    for (unsigned i = 0; db_next(&c); i++) {
        if (i == USERS_NAMED)
            text = arena_printf(a, "%.*s and others", STR_ARG(text));
        else
            text = arena_printf(a, "%.*s%s%.*s", STR_ARG(text), i ? ", " : " of ",
                                STR_ARG(db_text(&c, 0)));
    }
    *ret = text;
    return c.err;
}

static enum err look(struct blobs *b, const struct row *row, uint64_t *actual)
{
    struct store *store = b->check->store;
    str key = str_make(row->key, STORE_KEY_LEN);
    enum err e = store_blob_stat(store, key, actual);
    if (!e && *actual != row->size_bytes)
        e = ERR_SIZE_INVALID;
    if (e || b->check->quick)
        return e;
    return blob_verify(store, key, row->size_bytes, &row->digest, pace, b);
}

/* Marked before. With the file back in its place the mark may go. A file that was not read may be a
 * good one that somebody has just put there: it stays. */
static enum err check_marked(struct blobs *b, const struct row *row, str where)
{
    struct check *c = b->check;
    uint64_t actual;
    enum err e = c->quick ? ERR_NOT_FOUND : look(b, row, &actual);
    if (e && !blob_verify_condemns(e))
        return e;
    if (!e) {
        if (c->repair && (e = check_exec(c, Q_CHECK_BLOB_HEAL, DB_INT(row->id))))
            return e;
        check_found(c, FINDING_BLOB_HEALED, check_repaired(c), where, "%s", "");
        return OK;
    }
    if (c->repair && !c->quick &&
        (e = store_blob_quarantine(c->store, str_make(row->key, STORE_KEY_LEN))))
        return e;
    check_found(c, row->linked ? FINDING_BLOB_DAMAGED : FINDING_BLOB_DAMAGED_UNUSED, FINDING_LEFT,
                where, "%s", "");
    return OK;
}

/* A blob nobody links is waiting to be collected, perhaps half-way through that. */
static enum err condemn(struct blobs *b, const struct row *row, str where, enum err verdict,
                        uint64_t actual)
{
    struct check *c = b->check;
    bool marked;
    if (c->repair) {
        enum err e =
            blob_quarantine(c->db, c->store, row->id, str_make(row->key, STORE_KEY_LEN), &marked);
        if (e)
            return e;
    }
    enum finding_kind kind = verdict == ERR_NOT_FOUND      ? FINDING_BLOB_MISSING
                             : verdict == ERR_SIZE_INVALID ? FINDING_BLOB_SIZE
                                                           : FINDING_BLOB_ROTTEN;
    str file = arena_printf(&b->arena, "blobs/%.2s/%.*s", row->key, STORE_KEY_LEN, row->key);
    if (verdict == ERR_SIZE_INVALID)
        check_found(c, row->linked ? kind : FINDING_BLOB_DAMAGED_UNUSED, check_contained(c), where,
                    "%.*s has %llu bytes, not %llu", STR_ARG(file), (unsigned long long)actual,
                    (unsigned long long)row->size_bytes);
    else
        check_found(c, row->linked ? kind : FINDING_BLOB_DAMAGED_UNUSED, check_contained(c), where,
                    "%.*s%s", STR_ARG(file), verdict == ERR_IO ? " cannot be read" : "");
    return OK;
}

static enum err spare(struct blobs *b, const struct row *row)
{
    struct check *c = b->check;
    str where;
    enum err e = name_blob(b, row, &where);
    if (!e && c->repair)
        e = check_exec(c, Q_DEAD_BLOB_DROP, DB_TEXT(str_make(row->key, STORE_KEY_LEN)));
    if (!e)
        check_found(c, FINDING_BLOB_CONDEMNED, check_repaired(c), where, "%s", "");
    return e;
}

static enum err check_blob(struct blobs *b, const struct row *row)
{
    uint64_t actual = 0;
    str where;
    b->check->blobs++;
    b->check->blob_bytes += row->size_bytes;
    enum err e = row->condemned ? spare(b, row) : OK;
    if (e)
        return e;
    enum err verdict = row->damaged ? OK : look(b, row, &actual);
    if (!row->damaged && !verdict)
        return OK;
    if (verdict && !blob_verify_condemns(verdict))
        return verdict;
    e = name_blob(b, row, &where);
    if (e)
        return e;
    return row->damaged ? check_marked(b, row, where) : condemn(b, row, where, verdict, actual);
}

/* Rows whose values are none are reported and passed over. *read_n counts those too. */
static enum err read_chunk(struct check *c, int64_t *last, struct row rows[CHECK_CHUNK], size_t *n,
                           size_t *read_n)
{
    DB_CURSOR struct db_cursor cursor =
        db_query(check_conn(c), Q_CHECK_BLOBS, DB_INT(*last), DB_INT(CHECK_CHUNK));
    *n = *read_n = 0;
    while (db_next(&cursor)) {
        struct row *row = &rows[*n];
        str key = db_text(&cursor, 3);
        *row = (struct row){
            .id = db_int(&cursor, 0),
            .size_bytes = (uint64_t)db_int(&cursor, 2),
            .damaged = db_int(&cursor, 4),
            .linked = db_int(&cursor, 5),
            .condemned = db_int(&cursor, 6),
        };
        *last = row->id;
        ++*read_n;
        if (!digest_from_stored(db_bytes(&cursor, 1), &row->digest) ||
            digest_algorithm(&row->digest) == DIGEST_OTHER || key.n != STORE_KEY_LEN) {
            check_found(c, FINDING_ROW, FINDING_LEFT, STR("table blob"), "id %lld",
                        (long long)row->id);
            continue;
        }
        memcpy(row->key, key.p, STORE_KEY_LEN);
        ++*n;
    }
    return cursor.err;
}

enum err check_blobs(struct check *c)
{
    ARENA_CLEANUP struct arena chunk = {0};
    struct row *rows = ARENA_ARRAY(&chunk, CHECK_CHUNK, struct row);
    struct blobs b = {.check = c};
    uint64_t count;
    int64_t last = 0;
    size_t n, read_n;
    enum err e = check_count(c, Q_CHECK_BLOB_COUNT, &count, &b.bytes_total);
    do {
        if (!e)
            e = read_chunk(c, &last, rows, &n, &read_n);
        for (size_t i = 0; !e && i < n; i++) {
            e = check_blob(&b, &rows[i]);
            arena_reset(&b.arena);
        }
    } while (!e && read_n);
    arena_release(&b.arena);
    return e;
}

/* Files. */

static enum err has_row(struct check *c, enum query q, str name, bool *ret)
{
    DB_CURSOR struct db_cursor cursor = db_query(check_conn(c), q, DB_TEXT(name));
    *ret = db_next(&cursor);
    return cursor.err;
}

struct folder {
    struct check *check;
    const char *name;
    enum query find;
    enum finding_kind stray;
    enum err (*unlink)(struct store *s, str name);
};

static enum err check_file(void *arg, const struct store_entry *entry)
{
    const struct folder *folder = arg;
    struct check *c = folder->check;
    ARENA_CLEANUP struct arena a = {0};
    str where = arena_printf(&a, "%s/%.*s", folder->name, STR_ARG(entry->name));
    if (!entry->is_proper) {
        check_found(c, FINDING_FOREIGN_FILE, FINDING_LEFT, where, "%s", "");
        return OK;
    }
    bool known;
    enum err e = has_row(c, folder->find, entry->name, &known);
    if (e || known)
        return e;
    if (c->repair && (e = folder->unlink(c->store, entry->name)))
        return e;
    check_found(c, folder->stray, check_repaired(c), where, "%llu bytes",
                (unsigned long long)entry->size_bytes);
    return OK;
}

/* What lies in DIR itself. */
static enum err check_top(void *arg, const struct store_entry *entry)
{
    static const str known[] = {
        STR_INIT("berth.db"), STR_INIT("berth.db-wal"), STR_INIT("berth.db-shm"),
        STR_INIT("lock"),     STR_INIT("hold"),         STR_INIT("blobs"),
        STR_INIT("uploads"),  STR_INIT("quarantine"),   STR_INIT("admin-password"),
        STR_INIT("."),        STR_INIT("lost+found"),   STR_INIT("berth.yaml"),
    };
    struct check *c = arg;
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (str_eq(entry->name, known[i]))
            return OK;
    if (!entry->is_proper) /* sockets come and go with the server */
        return OK;
    if (!str_ends(entry->name, STR(".new"))) {
        check_found(c, FINDING_FOREIGN_FILE, FINDING_LEFT, entry->name, "%s", "");
        return OK;
    }
    enum err e = c->repair ? store_dir_unlink(c->store, entry->name) : OK;
    if (!e)
        check_found(c, FINDING_STRAY_NEW, check_repaired(c), entry->name, "%s", "");
    return e;
}

enum err check_files(struct check *c)
{
    enum err e = store_list_dir(c->store, check_top, c);
    for (unsigned i = 0; !e && i < STORE_SHARDS; i++) {
        char name[] = "blobs/xx";
        uint8_t byte = (uint8_t)i;
        hex_encode(name + 6, &byte, 1);
        struct folder folder = {c, name, Q_CHECK_BLOB_BY_KEY, FINDING_STRAY_BLOB,
                                store_blob_unlink};
        check_progress(c, "files", i, STORE_SHARDS);
        e = store_list_blobs(c->store, i, check_file, &folder);
    }
    struct folder uploads = {c, "uploads", Q_CHECK_UPLOAD_BY_UUID, FINDING_STRAY_UPLOAD,
                             store_upload_discard};
    return e ? e : store_list_uploads(c->store, check_file, &uploads);
}

/* Uploads. */

struct upload_seen {
    str uuid, repository;
    uint64_t offset_bytes;
};

static enum err check_upload(struct check *c, struct arena *a, const struct upload_seen *u)
{
    uint64_t actual = 0;
    c->uploads++;
    enum err e = u->offset_bytes ? store_upload_stat(c->store, u->uuid, &actual) : OK;
    if (e && e != ERR_NOT_FOUND)
        return e;
    if (!e && actual >= u->offset_bytes)
        return OK;
    enum finding_kind kind = e ? FINDING_UPLOAD_LOST : FINDING_UPLOAD_SHORT;
    e = c->repair ? check_exec(c, Q_UPLOAD_DELETE, DB_TEXT(u->uuid)) : OK;
    if (!e && c->repair)
        e = store_upload_discard(c->store, u->uuid);
    if (!e)
        check_found(
            c, kind, check_repaired(c),
            arena_printf(a, "upload %.*s to %.*s", STR_ARG(u->uuid), STR_ARG(u->repository)),
            "%llu bytes of %llu", (unsigned long long)actual, (unsigned long long)u->offset_bytes);
    return e;
}

enum err check_uploads(struct check *c)
{
    ARENA_CLEANUP struct arena keys = {0};
    str last = STR("");
    size_t n;
    enum err e = OK;
    do {
        ARENA_CLEANUP struct arena a = {0};
        struct upload_seen *rows = ARENA_ARRAY(&a, CHECK_CHUNK, struct upload_seen);
        n = 0;
        {
            DB_CURSOR struct db_cursor cursor =
                db_query(check_conn(c), Q_CHECK_UPLOADS, DB_TEXT(last), DB_INT(CHECK_CHUNK));
            for (; db_next(&cursor); n++)
                rows[n] = (struct upload_seen){db_copy(&cursor, 0, &a), db_copy(&cursor, 1, &a),
                                               (uint64_t)db_int(&cursor, 2)};
            e = cursor.err;
        }
        if (n)
            last = arena_str(&keys, rows[n - 1].uuid);
        for (size_t i = 0; !e && i < n; i++)
            e = check_upload(c, &a, &rows[i]);
    } while (!e && n);
    return e;
}
