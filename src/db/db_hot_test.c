#include "db/db_fixture.h"
#include "db/db_hot.h"

#include <sched.h>
#include <sqlite3.h>

/* Items are things of two kinds here: as what FOUND names, and, under their parent's id, as lists.
 */
enum { S_ADD, S_SET, S_SET_ALL, S_RENAME, S_GET, S_CHILDREN, S_COUNT, S_N };
#define S(name) ((enum query)S_##name)

static const struct db_statement hot_statements[] = {
    {"ADD",
     "INSERT INTO item (name, parent, bytes) VALUES ($1, $2, $3)",
     DB_USE_WRITES,
     {{0}},
     TOUCHES(REPOSITORY, 2)},
    {"SET", "UPDATE item SET bytes = $1 WHERE id = $2", DB_USE_WRITES, {{0}}, TOUCHES(BLOB, 2)},
    {"SET_ALL", "UPDATE item SET bytes = $1", DB_USE_WRITES, {{0}}, TOUCHES_ALL},
    {"RENAME", "UPDATE item SET name = $1 WHERE id = $2", DB_USE_WRITES, {{0}}, TOUCHES_NOTHING},
    {"GET",
     "SELECT id, bytes, parent FROM item WHERE name = $1",
     DB_USE_HOT,
     DEPENDS(FOUND(BLOB, 0)),
     {0}},
    {"CHILDREN",
     "SELECT name, bytes FROM item WHERE parent = $1 ORDER BY id",
     DB_USE_HOT,
     DEPENDS(ON(REPOSITORY, 1)),
     {0}},
    {"COUNT", "SELECT count(*) FROM item", DB_USE_READS, {{0}}, {0}},
};

struct fixture {
    struct arena arena;
    str dir;
    struct db *db;
    struct db_conn *worker, *reactor;
};

static void open_fixture(struct fixture *f)
{
    *f = (struct fixture){0};
    f->dir = fixture_dir(&f->arena);
    struct db_setup setup = fixture_setup(f->dir);
    setup.readers_n = 8;
    setup.statements = hot_statements;
    setup.statement_n = S_N;
    f->db = fixture_open(&setup);
    CHECK_INT(db_remember(f->db, 4 << 20), OK);
    f->worker = db_reader(f->db, 0);
    f->reactor = db_reader(f->db, -1);
}

static void close_fixture(struct fixture *f)
{
    db_close(f->db);
    arena_release(&f->arena);
}

struct change {
    enum query q;
    str name, bytes;
    int64_t number; /* parent or id */
    enum err then;
};

static enum err change_tx(struct db_conn *conn, void *arg)
{
    const struct change *c = arg;
    enum err e = OK;
    switch ((int)c->q) {
    case S_ADD:
        e = db_exec(conn, c->q, DB_TEXT(c->name), c->number ? DB_INT(c->number) : DB_NULL,
                    DB_BYTES(c->bytes));
        break;
    case S_SET_ALL:
        e = db_exec(conn, c->q, DB_BYTES(c->bytes));
        break;
    default:
        e = db_exec(conn, c->q, DB_BYTES(c->bytes), DB_INT(c->number));
        break;
    }
    return e ? e : c->then;
}

static enum err change(struct fixture *f, struct change c)
{
    return db_tx(f->db, change_tx, &c);
}

static void add(struct fixture *f, const char *name, int64_t parent, str bytes)
{
    CHECK_INT(change(f, (struct change){S(ADD), str_from(name), bytes, parent, OK}), OK);
}

static void set(struct fixture *f, int64_t id, const char *bytes)
{
    CHECK_INT(change(f, (struct change){S(SET), {0}, str_from(bytes), id, OK}), OK);
}

/* The bytes of an item; "-": there is none, "?": this connection does not know. */
static str get(struct fixture *f, struct db_conn *conn, const char *name)
{
    DB_SNAPSHOT struct db_snapshot s = db_snapshot_begin(conn);
    DB_CURSOR struct db_cursor c = db_query(conn, S(GET), DB_TEXT(str_from(name)));
    if (db_next(&c))
        return db_copy(&c, 1, &f->arena);
    CHECK(c.err == OK || c.err == ERR_WOULD_BLOCK);
    return c.err ? STR("?") : STR("-");
}

/* "name=bytes,..." */
static str children(struct fixture *f, struct db_conn *conn, int64_t parent)
{
    str list = STR("");
    DB_SNAPSHOT struct db_snapshot s = db_snapshot_begin(conn);
    DB_CURSOR struct db_cursor c = db_query(conn, S(CHILDREN), DB_INT(parent));
    while (db_next(&c))
        list = arena_printf(&f->arena, "%.*s%.*s=%.*s,", STR_ARG(list), STR_ARG(db_text(&c, 0)),
                            STR_ARG(db_bytes(&c, 1)));
    return c.err ? STR("?") : list;
}

static void what_a_worker_read_a_reactor_has(void)
{
    struct fixture f;
    open_fixture(&f);
    add(&f, "a", 0, STR("one"));
    CHECK_STR(get(&f, f.reactor, "a"), "?");
    CHECK_STR(get(&f, f.worker, "a"), "one");
    CHECK_STR(get(&f, f.reactor, "a"), "one");
    {
        DB_SNAPSHOT struct db_snapshot s = db_snapshot_begin(f.reactor);
        DB_CURSOR struct db_cursor c = db_query(f.reactor, S(GET), DB_TEXT(STR("a")));
        CHECK(db_next(&c));
        CHECK_INT(db_int(&c, 0), 1);
        CHECK(!db_is_null(&c, 1) && db_is_null(&c, 2));
        CHECK(!db_bytes(&c, 2).p && db_int(&c, 2) == 0);
        CHECK(!db_next(&c) && c.err == OK);
    }
    CHECK_STR(get(&f, f.reactor, "b"), "?");
    DB_CURSOR struct db_cursor c = db_query(f.reactor, S(COUNT));
    CHECK(!db_next(&c));
    CHECK_INT(c.err, ERR_WOULD_BLOCK);
    close_fixture(&f);
}

static void lists_are_kept_even_when_empty(void)
{
    struct fixture f;
    open_fixture(&f);
    add(&f, "top", 0, STR(""));
    CHECK_STR(children(&f, f.worker, 1), "");
    CHECK_STR(children(&f, f.reactor, 1), "");
    add(&f, "x", 1, STR("1"));
    CHECK_STR(children(&f, f.reactor, 1), "?");
    add(&f, "y", 1, STR("2"));
    CHECK_STR(children(&f, f.worker, 1), "x=1,y=2,");
    CHECK_STR(children(&f, f.reactor, 1), "x=1,y=2,");
    CHECK_STR(children(&f, f.reactor, 2), "?");
    close_fixture(&f);
}

static void nothing_found_is_not_kept(void)
{
    struct fixture f;
    open_fixture(&f);
    CHECK_STR(get(&f, f.worker, "a"), "-");
    CHECK_STR(get(&f, f.reactor, "a"), "?");
    add(&f, "a", 0, STR("one"));
    CHECK_STR(get(&f, f.worker, "a"), "one");
    close_fixture(&f);
}

static void a_touch_ends_what_depends_on_it(void)
{
    struct fixture f;
    open_fixture(&f);
    add(&f, "a", 0, STR("one"));
    add(&f, "b", 0, STR("two"));
    get(&f, f.worker, "a");
    get(&f, f.worker, "b");
    set(&f, 1, "uno");
    CHECK_STR(get(&f, f.reactor, "a"), "?");
    CHECK_STR(get(&f, f.reactor, "b"), "two");
    CHECK_STR(get(&f, f.worker, "a"), "uno");
    CHECK_STR(get(&f, f.reactor, "a"), "uno");
    CHECK_INT(change(&f, (struct change){S(SET_ALL), {0}, STR("x"), 0, OK}), OK);
    CHECK_STR(get(&f, f.reactor, "a"), "?");
    CHECK_STR(get(&f, f.reactor, "b"), "?");
    close_fixture(&f);
}

static void an_undone_job_changes_nothing(void)
{
    struct fixture f;
    open_fixture(&f);
    add(&f, "a", 0, STR("one"));
    get(&f, f.worker, "a");
    CHECK_INT(change(&f, (struct change){S(SET), {0}, STR("uno"), 1, ERR_DENIED}), ERR_DENIED);
    CHECK_STR(get(&f, f.worker, "a"), "one");
    CHECK_STR(get(&f, f.reactor, "a"), "one");
    close_fixture(&f);
}

static void an_old_snapshot_fills_nothing(void)
{
    struct fixture f;
    open_fixture(&f);
    add(&f, "a", 0, STR("one"));
    {
        DB_SNAPSHOT struct db_snapshot s = db_snapshot_begin(f.worker);
        CHECK_STR(get(&f, f.worker, "a"), "one");
        CHECK_STR(get(&f, f.reactor, "a"), "one");
        set(&f, 1, "uno");
        CHECK_STR(get(&f, f.worker, "a"), "one"); /* its snapshot's, and its own */
        CHECK_STR(get(&f, f.reactor, "a"), "?");
    }
    CHECK_STR(get(&f, f.worker, "a"), "uno");
    CHECK_STR(get(&f, f.reactor, "a"), "uno");
    close_fixture(&f);
}

/* Without db_snapshot_begin an open cursor is what holds a snapshot. */
static void so_does_not_one_that_a_cursor_holds(void)
{
    struct fixture f;
    open_fixture(&f);
    add(&f, "a", 0, STR("one"));
    {
        DB_CURSOR struct db_cursor c = db_query(f.worker, S(COUNT));
        CHECK(db_next(&c));
        set(&f, 1, "uno");
        CHECK_STR(get(&f, f.worker, "a"), "one");
        CHECK_STR(get(&f, f.reactor, "a"), "?");
    }
    CHECK_STR(get(&f, f.worker, "a"), "uno");
    close_fixture(&f);
}

static void stranger(struct fixture *f, const char *sql)
{
    sqlite3 *other = NULL;
    CHECK_INT(sqlite3_open(arena_printf(&f->arena, "%.*s/berth.db", STR_ARG(f->dir)).p, &other),
              SQLITE_OK);
    CHECK_INT(sqlite3_exec(other, sql, NULL, NULL, NULL), SQLITE_OK);
    sqlite3_close(other);
}

static void what_strangers_did_is_noticed(void)
{
    struct fixture f;
    open_fixture(&f);
    add(&f, "a", 0, STR("one"));
    add(&f, "b", 0, STR("two"));
    get(&f, f.worker, "a");
    stranger(&f, "UPDATE item SET bytes = CAST('uno' AS BLOB) WHERE id = 1");
    CHECK_STR(get(&f, f.reactor, "a"), "?");
    CHECK_STR(get(&f, f.worker, "b"), "two"); /* settles it */
    CHECK_STR(get(&f, f.reactor, "b"), "two");
    CHECK_STR(get(&f, f.reactor, "a"), "?");
    CHECK_STR(get(&f, f.worker, "a"), "uno");
    CHECK_STR(get(&f, f.reactor, "a"), "uno");
    close_fixture(&f);
}

static void also_when_the_writer_comes_next(void)
{
    struct fixture f;
    open_fixture(&f);
    add(&f, "a", 0, STR("one"));
    get(&f, f.worker, "a");
    stranger(&f, "UPDATE item SET bytes = CAST('uno' AS BLOB) WHERE id = 1");
    CHECK_INT(change(&f, (struct change){S(RENAME), {0}, STR("z"), 99, OK}), OK);
    CHECK_STR(get(&f, f.reactor, "a"), "?");
    CHECK_STR(get(&f, f.worker, "a"), "uno");
    CHECK_STR(get(&f, f.reactor, "a"), "uno");
    close_fixture(&f);
}

static void large_answers_are_read_but_not_kept(void)
{
    struct fixture f;
    open_fixture(&f);
    str big = str_make(arena_alloc(&f.arena, HOT_ROWS_BYTES_MAX + 1), HOT_ROWS_BYTES_MAX + 1);
    add(&f, "a", 0, big);
    CHECK_INT(get(&f, f.worker, "a").n, big.n);
    CHECK_STR(get(&f, f.reactor, "a"), "?");
    char *name = arena_alloc(&f.arena, HOT_KEY_MAX + 1);
    memset(name, 'n', HOT_KEY_MAX);
    add(&f, name, 0, STR("x"));
    CHECK_STR(get(&f, f.worker, name), "x");
    CHECK_STR(get(&f, f.reactor, name), "?");
    close_fixture(&f);
}

/* Right and content are found one after the other. */
static void a_snapshot_in_memory_is_of_one_moment(void)
{
    struct fixture f;
    open_fixture(&f);
    add(&f, "right", 0, STR("yes"));
    add(&f, "content", 0, STR("public"));
    get(&f, f.worker, "right");
    get(&f, f.worker, "content");
    {
        DB_SNAPSHOT struct db_snapshot s = db_snapshot_begin(f.reactor);
        CHECK_STR(get(&f, f.reactor, "right"), "yes"); /* whose own snapshot ends before this one */
        CHECK_STR(get(&f, f.reactor, "content"), "public");
        set(&f, 1, "no");
        set(&f, 2, "secret");
        CHECK_STR(get(&f, f.worker, "content"), "secret");
        CHECK_STR(get(&f, f.reactor, "content"), "?");
    }
    CHECK_STR(get(&f, f.reactor, "content"), "secret");
    {
        DB_SNAPSHOT struct db_snapshot s = db_snapshot_begin(f.reactor);
        add(&f, "new", 0, STR("secret")); /* which touches nothing that is remembered */
        CHECK_STR(get(&f, f.worker, "new"), "secret");
        CHECK_STR(get(&f, f.reactor, "new"), "?");
        stranger(&f, "INSERT INTO item (name, bytes) VALUES ('s', CAST('secret' AS BLOB))");
        CHECK_STR(get(&f, f.worker, "s"), "secret");
        CHECK_STR(get(&f, f.reactor, "s"), "?");
    }
    CHECK_STR(get(&f, f.reactor, "s"), "secret");
    close_fixture(&f);
}

static void *get_main(void *arg)
{
    struct fixture *f = arg;
    CHECK_STR(get(f, f->reactor, "a"), "uno");
    return NULL;
}

static void each_thread_has_its_own(void)
{
    struct fixture f;
    pthread_t other;
    open_fixture(&f);
    add(&f, "a", 0, STR("one"));
    {
        DB_SNAPSHOT struct db_snapshot s = db_snapshot_begin(f.reactor);
        set(&f, 1, "uno");
        CHECK_STR(get(&f, f.worker, "a"), "uno");
        CHECK_INT(pthread_create(&other, NULL, get_main, &f), 0);
        pthread_join(other, NULL);
        CHECK_STR(get(&f, f.reactor, "a"), "?");
    }
    CHECK_STR(get(&f, f.reactor, "a"), "uno");
    close_fixture(&f);
}

/* Many threads. Item i is set to 1, 2, 3, ... by one writer of its own, who tells `acknowledged`
 * once db_tx has returned. Who then reads, from wherever, must find that or more; and nobody finds
 * less than he has found before. */
enum { ITEMS = 4, WRITERS = 2, WORKERS = 3, REACTORS = 3, CHANGES = 400 };

struct load {
    struct fixture f;
    atomic_uint acknowledged[ITEMS];
    atomic_uint writers_left, served, stale, backwards;
};

struct loader {
    struct load *load;
    unsigned index;
};

static void *write_main(void *arg)
{
    const struct loader *l = arg;
    for (unsigned n = 1; n <= CHANGES; n++) {
        for (unsigned i = l->index; i < ITEMS; i += WRITERS) {
            struct change c = {S(SET), {0}, str_make(&n, sizeof n), i + 1, OK};
            CHECK_INT(db_tx(l->load->f.db, change_tx, &c), OK);
            atomic_store(&l->load->acknowledged[i], n);
        }
    }
    atomic_fetch_sub(&l->load->writers_left, 1);
    return NULL;
}

/* A worker's snapshot, which grows old while it is used, is of its first statement; in memory
 * nothing is found in a snapshot that is old. */
static void read_all(struct load *load, struct db_conn *conn, unsigned *seen)
{
    DB_SNAPSHOT struct db_snapshot s = db_snapshot_begin(conn);
    CHECK_INT(s.err, OK);
    unsigned floors[ITEMS];
    for (unsigned i = 0; i < ITEMS; i++)
        floors[i] = atomic_load(&load->acknowledged[i]);
    for (unsigned i = 0; i < ITEMS; i++) {
        char name[] = {(char)('a' + i)};
        if (!db_may_block(conn))
            floors[i] = atomic_load(&load->acknowledged[i]);
        else
            sched_yield();
        DB_CURSOR struct db_cursor c = db_query(conn, S(GET), DB_TEXT(str_make(name, 1)));
        if (!db_next(&c)) {
            CHECK_INT(c.err, ERR_WOULD_BLOCK);
            continue;
        }
        unsigned n = 0;
        memcpy(&n, db_bytes(&c, 1).p, sizeof n);
        atomic_fetch_add(&load->stale, n < floors[i]);
        atomic_fetch_add(&load->backwards, n < seen[i]);
        atomic_fetch_add(&load->served, !db_may_block(conn));
        seen[i] = n;
    }
}

/* A worker's own answers and the reactors' after them: one client sees both. */
static void *read_main(void *arg)
{
    const struct loader *l = arg;
    struct load *load = l->load;
    struct db_conn *worker = l->index < WORKERS ? db_reader(load->f.db, (int)l->index) : NULL;
    unsigned seen[ITEMS] = {0};
    while (atomic_load(&load->writers_left)) {
        if (worker)
            read_all(load, worker, seen);
        read_all(load, load->f.reactor, seen);
    }
    return NULL;
}

static void nobody_sees_what_was_before(void)
{
    struct load load = {0};
    struct loader loaders[WRITERS + WORKERS + REACTORS];
    pthread_t threads[WRITERS + WORKERS + REACTORS];
    open_fixture(&load.f);
    unsigned zero = 0;
    for (unsigned i = 0; i < ITEMS; i++) {
        char name[] = {(char)('a' + i), 0};
        add(&load.f, name, 0, str_make(&zero, sizeof zero));
    }
    atomic_store(&load.writers_left, WRITERS);
    for (unsigned i = 0; i < WRITERS + WORKERS + REACTORS; i++) {
        loaders[i] = (struct loader){&load, i < WRITERS ? i : i - WRITERS};
        CHECK_INT(
            pthread_create(&threads[i], NULL, i < WRITERS ? write_main : read_main, &loaders[i]),
            0);
    }
    for (unsigned i = 0; i < WRITERS + WORKERS + REACTORS; i++)
        pthread_join(threads[i], NULL);
    CHECK_INT(load.stale, 0);
    CHECK_INT(load.backwards, 0);
    CHECK(load.served > 0);
    printf("# served from memory: %u\n", load.served);
    close_fixture(&load.f);
}

/* Round k: item "right" is set to k; then to 0, and item "c<k>" is made, in one transaction or in
 * two. Nobody may find both: right k, and c<k>. Workers remember c<k> as soon as it is there, and
 * reactors look for it until the round is over. */
enum { ROUNDS = 100, LOOKERS = 3, PATIENCE = 10000 };

struct enemy {
    struct fixture f;
    atomic_uint round; /* ROUNDS + 1: over */
    atomic_uint found; /* the last round whose right a reactor has found */
    atomic_uint rights, combined;
};

struct looker {
    struct enemy *enemy;
    struct db_conn *conn;
};

static str content_name(char out[16], unsigned round)
{
    return str_make(out, (size_t)snprintf(out, 16, "c%u", round));
}

struct taking {
    unsigned round, step;
};

static enum err take_right_tx(struct db_conn *conn, void *arg)
{
    const struct taking *taking = arg;
    char name[16];
    unsigned none = 0;
    enum err e = OK;
    if (taking->step != 2)
        e = db_exec(conn, S(SET), DB_BYTES(str_make(&none, sizeof none)), DB_INT(1));
    if (!e && taking->step != 1)
        e = db_exec(conn, S(ADD), DB_TEXT(content_name(name, taking->round)), DB_NULL,
                    DB_BYTES(STR("secret")));
    return e;
}

static void *right_main(void *arg)
{
    struct enemy *enemy = arg;
    struct db *db = enemy->f.db;
    for (unsigned k = 1; k <= ROUNDS; k++) {
        struct change give = {S(SET), {0}, str_make(&k, sizeof k), 1, OK};
        CHECK_INT(db_tx(db, change_tx, &give), OK);
        atomic_store(&enemy->round, k);
        for (int i = 0; i < PATIENCE && atomic_load(&enemy->found) < k; i++)
            sched_yield();
        for (unsigned step = k % 2; step < (k % 2 ? 3 : 1); step++) {
            struct taking taking = {k, step};
            CHECK_INT(db_tx(db, take_right_tx, &taking), OK);
        }
    }
    atomic_store(&enemy->round, ROUNDS + 1);
    return NULL;
}

static unsigned right_in(struct db_conn *conn)
{
    unsigned k = 0;
    DB_CURSOR struct db_cursor c = db_query(conn, S(GET), DB_TEXT(STR("right")));
    if (db_next(&c))
        memcpy(&k, db_bytes(&c, 1).p, sizeof k);
    return k;
}

static bool has(struct db_conn *conn, str name)
{
    DB_CURSOR struct db_cursor c = db_query(conn, S(GET), DB_TEXT(name));
    return db_next(&c);
}

static void *look_main(void *arg)
{
    struct looker *looker = arg;
    struct enemy *enemy = looker->enemy;
    char name[16];
    unsigned k;
    while ((k = atomic_load(&enemy->round)) <= ROUNDS) {
        DB_SNAPSHOT struct db_snapshot s = db_snapshot_begin(looker->conn);
        str content = content_name(name, k);
        bool right = k && right_in(looker->conn) == k, found = false;
        if (db_may_block(looker->conn)) {
            found = k && has(looker->conn, content);
        } else {
            if (right)
                atomic_store(&enemy->found, k);
            while (right && !found && atomic_load(&enemy->round) == k)
                found = has(looker->conn, content);
            atomic_fetch_add(&enemy->rights, right);
        }
        atomic_fetch_add(&enemy->combined, right && found);
    }
    return NULL;
}

static void a_right_and_what_came_after_it_are_not_combined(void)
{
    struct enemy enemy = {0};
    struct looker lookers[2 * LOOKERS];
    pthread_t writer, threads[2 * LOOKERS];
    unsigned none = 0;
    open_fixture(&enemy.f);
    add(&enemy.f, "right", 0, str_make(&none, sizeof none));
    for (int i = 0; i < 2 * LOOKERS; i++) {
        lookers[i] = (struct looker){&enemy, db_reader(enemy.f.db, i < LOOKERS ? i : -1)};
        CHECK_INT(pthread_create(&threads[i], NULL, look_main, &lookers[i]), 0);
    }
    CHECK_INT(pthread_create(&writer, NULL, right_main, &enemy), 0);
    pthread_join(writer, NULL);
    for (int i = 0; i < 2 * LOOKERS; i++)
        pthread_join(threads[i], NULL);
    CHECK_INT(enemy.combined, 0);
    CHECK(enemy.rights > 0);
    printf("# rights found in memory: %u\n", enemy.rights);
    close_fixture(&enemy.f);
}

TESTS({"what a worker read a reactor has", what_a_worker_read_a_reactor_has},
      {"lists are kept even when empty", lists_are_kept_even_when_empty},
      {"nothing found is not kept", nothing_found_is_not_kept},
      {"a touch ends what depends on it", a_touch_ends_what_depends_on_it},
      {"an undone job changes nothing", an_undone_job_changes_nothing},
      {"an old snapshot fills nothing", an_old_snapshot_fills_nothing},
      {"nor does one that a cursor holds", so_does_not_one_that_a_cursor_holds},
      {"what strangers did is noticed", what_strangers_did_is_noticed},
      {"also when the writer comes next", also_when_the_writer_comes_next},
      {"large answers are read but not kept", large_answers_are_read_but_not_kept},
      {"a snapshot in memory is of one moment", a_snapshot_in_memory_is_of_one_moment},
      {"each thread has its own", each_thread_has_its_own},
      {"nobody sees what was before", nobody_sees_what_was_before},
      {"a right and what came after it are not combined",
       a_right_and_what_came_after_it_are_not_combined})
