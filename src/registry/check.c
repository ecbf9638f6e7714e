#include "registry/check_private.h"

static const struct {
    const char *word;
    enum finding_severity severity;
    const char *meaning, *repair;
} kinds[] = {
#define FINDING(name, word, severity, meaning, repair) {word, FINDING_##severity, meaning, repair},
#include "registry/check.def"
#undef FINDING
};

const char *finding_word(enum finding_kind k)
{
    return kinds[k].word;
}

enum finding_severity finding_severity(enum finding_kind k)
{
    return kinds[k].severity;
}

const char *finding_meaning(enum finding_kind k)
{
    return kinds[k].meaning;
}

const char *finding_repair(enum finding_kind k)
{
    return kinds[k].repair;
}

void check_found(struct check *c, enum finding_kind kind, enum finding_outcome outcome, str where,
                 const char *fmt, ...)
{
    ARENA_CLEANUP struct arena a = {0};
    va_list args;
    va_start(args, fmt);
    struct finding f = {
        .kind = kind,
        .outcome = outcome,
        .where = where,
        .detail = arena_vprintf(&a, fmt, args),
    };
    va_end(args);
    if (outcome == FINDING_REPAIRED)
        c->repaired++;
    else if (kinds[kind].severity == FINDING_ERROR)
        c->errors++;
    else
        c->notes++;
    c->report(c->arg, &f);
}

void check_progress(struct check *c, const char *phase, uint64_t done, uint64_t total)
{
    if (c->progress)
        c->progress(c->arg, phase, done, total);
}

struct exec {
    enum query q;
    int64_t changes;
    const struct db_value *values;
    size_t n;
};

static enum err exec_tx(struct db_conn *conn, void *arg)
{
    struct exec *exec = arg;
    return db_exec_values(conn, exec->q, &exec->changes, exec->values, exec->n);
}

enum err check_exec_values(struct check *c, enum query q, int64_t *changes,
                           const struct db_value *values, size_t n)
{
    struct exec exec = {q, 0, values, n};
    enum err e = db_tx(c->db, exec_tx, &exec);
    if (!e && changes)
        *changes = exec.changes;
    return e;
}

enum err check_count(struct check *c, enum query q, uint64_t *first, uint64_t *second)
{
    DB_CURSOR struct db_cursor cursor = db_query(check_conn(c), q);
    if (!db_next(&cursor))
        return cursor.err ? cursor.err : ERR_DB;
    *first = (uint64_t)db_int(&cursor, 0);
    if (second)
        *second = (uint64_t)db_int(&cursor, 1);
    return OK;
}

/* The database file. */

static void damage_found(void *arg, str line)
{
    struct check *c = arg;
    c->cut_short = true;
    check_found(c, FINDING_DATABASE, FINDING_LEFT, STR("berth.db"), "%.*s", STR_ARG(line));
}

static void reference_found(void *arg, str line)
{
    check_found(arg, FINDING_REFERENCE, FINDING_LEFT, STR("berth.db"), "%.*s", STR_ARG(line));
}

/* Rows that link, repeat or count what is gone. They are of no use to anybody, and collection
 * stops at a link that leads nowhere. What they were the last use of is found at the end. */
static enum err remove_orphans(struct check *c)
{
    static const struct {
        enum query q;
        const char *table;
    } tables[] = {
        {Q_CHECK_ORPHAN_LINKS, "repository_blob"},
        {Q_CHECK_ORPHAN_MANIFESTS, "manifest"},
        {Q_CHECK_ORPHAN_TAGS, "tag"},
        {Q_CHECK_ORPHAN_REVIEWS, "manifest_body_review"},
        {Q_CHECK_ORPHAN_CHILDREN, "manifest_child"},
        {Q_CHECK_ORPHAN_BLOB_REFS, "manifest_blob"},
        {Q_CHECK_ORPHAN_FACTS, "fact"},
        {Q_CHECK_ORPHAN_REFERRERS, "referrer"},
        {Q_CHECK_ORPHAN_PROJECT_BLOBS, "project_blob"},
    };
    for (size_t i = 0; i < sizeof tables / sizeof *tables; i++) {
        int64_t removed = 0;
        enum err e = check_exec_values(c, tables[i].q, &removed, NULL, 0);
        if (e)
            return e;
        if (removed)
            check_found(c, FINDING_REFERENCE, FINDING_REPAIRED, STR("berth.db"), "%lld of table %s",
                        (long long)removed, tables[i].table);
    }
    return OK;
}

static enum err check_database(struct check *c)
{
    check_progress(c, "database", 0, 0);
    enum err e =
        db_verify(check_conn(c), c->quick ? DB_VERIFY_QUICK : DB_VERIFY_STRUCTURE, damage_found, c);
    if (!e && !c->cut_short && c->repair)
        e = remove_orphans(c);
    if (!e && !c->cut_short)
        e = db_verify(check_conn(c), DB_VERIFY_REFERENCES, reference_found, c);
    return e;
}

/* Repairs of one part make work for the next: what is marked or unlinked changes totals. */
static const struct {
    const char *name;
    enum err (*run)(struct check *c);
} parts[] = {
    {"the database", check_database},
    {"blobs", check_blobs},
    {"files", check_files},
    {"uploads", check_uploads},
    {"manifests", check_manifests},
    {"referrers", check_referrers},
    {"tags", check_tags},
    {"the counts of links", check_project_blobs},
    {"totals", check_totals},
    {"what is unused", check_forgotten},
};

enum err check_run(struct check *c, struct arena *a, struct error *why)
{
    for (size_t i = 0; i < sizeof parts / sizeof *parts && !c->cut_short; i++) {
        enum err e = parts[i].run(c);
        if (!e)
            continue;
        str text = db_error_text(check_conn(c), a);
        if (!text.n)
            text = db_writer_error_text(c->db, a);
        if (e == ERR_DB_CORRUPT) { /* met on the way, perhaps after others of its kind */
            if (!c->cut_short)
                damage_found(c, text);
            return OK;
        }
        return error_set(a, why, e, "could not check %s: %s%s%.*s", parts[i].name, err_text(e),
                         text.n ? ": " : "", STR_ARG(text));
    }
    return OK;
}
