#include "base/test.h"
#include "blob/upload_state.h"

#include <pthread.h>
#include <stdatomic.h>

static struct store *open_store(void)
{
    ARENA_CLEANUP struct arena a = {0};
    struct error why = {0};
    struct store *s = NULL;
    CHECK_INT(store_open(&s, arena_printf(&a, "%s/store", test_dir()), &a, &why), OK);
    return s;
}

static str uuid_of(char text[UUID_LEN])
{
    uint8_t id[16];
    uuid_new(id);
    return uuid_format(id, text);
}

/* What a request does: resumes, appends, acknowledges, keeps. */
static void append(struct upload_table *t, str uuid, uint64_t offset, str bytes, bool keep)
{
    struct upload *u = NULL;
    CHECK_INT(upload_checkout(t, uuid, &u), OK);
    CHECK_INT(upload_resume(u, offset, DIGEST_sha256), OK);
    CHECK_INT(u->offset, offset);
    CHECK_INT(u->hashed, offset);
    CHECK_INT(store_upload_write(u->file, offset, bytes), OK);
    hasher_update(u->hasher, bytes.p, bytes.n);
    u->hashed += bytes.n;
    CHECK_INT(upload_sync(u, offset + bytes.n), OK);
    CHECK_INT(u->offset, offset + bytes.n);
    upload_checkin(u, keep);
}

static void check_digest(struct upload *u, str content, enum digest_algorithm alg)
{
    struct digest got, want;
    CHECK_INT(upload_digest(u, content.n, alg, &got), OK);
    digest_of(alg, content, &want);
    CHECK(digest_eq(&got, &want));
}

static void check_content(struct upload_table *t, str uuid, str content)
{
    struct upload *u = NULL;
    CHECK_INT(upload_checkout(t, uuid, &u), OK);
    CHECK_INT(upload_resume(u, content.n, DIGEST_sha256), OK);
    CHECK_INT(store_upload_size(u->file), content.n);
    check_digest(u, content, DIGEST_sha256);
    check_digest(u, content, DIGEST_sha512);
    upload_checkin(u, true);
}

static void goes_on(void)
{
    struct store *s = open_store();
    struct upload_table *t = upload_table_new(s, 4);
    char text[UUID_LEN], key[STORE_KEY_LEN];
    str uuid = uuid_of(text);
    append(t, uuid, 0, STR("one "), true);
    append(t, uuid, 4, STR("two "), false); /* the next one hashes again */
    append(t, uuid, 8, STR("three"), true);
    check_content(t, uuid, STR("one two three"));

    struct upload *u = NULL;
    struct file *f = NULL;
    CHECK_INT(upload_checkout(t, uuid, &u), OK);
    CHECK_INT(upload_resume(u, 13, DIGEST_sha256), OK);
    CHECK_INT(upload_publish(u, 13, key), OK);
    CHECK_INT(upload_discard(u), OK);
    CHECK(u->file == NULL);
    upload_checkin(u, true); /* there is nothing left to keep */
    CHECK_INT(store_blob_open(s, str_make(key, sizeof key), 13, &f), OK);
    file_unref(f);
    CHECK_INT(upload_checkout(t, uuid, &u), OK);
    CHECK_INT(upload_resume(u, 13, DIGEST_sha256), ERR_BLOB_UPLOAD_UNKNOWN);
    upload_checkin(u, false);
    upload_table_free(t);
    store_close(s);
}

static void one_holder(void)
{
    struct store *s = open_store();
    struct upload_table *t = upload_table_new(s, 4);
    char text[UUID_LEN], other_text[UUID_LEN];
    str uuid = uuid_of(text);
    struct upload *u = NULL, *busy = NULL, *other = NULL;
    CHECK_INT(upload_checkout(t, uuid, &u), OK);
    CHECK_INT(upload_checkout(t, uuid, &busy), ERR_BLOB_UPLOAD_BUSY);
    CHECK(busy == NULL);
    CHECK_INT(upload_checkout(t, uuid_of(other_text), &other), OK);
    upload_checkin(other, false);
    upload_checkin(u, false);
    append(t, uuid, 0, STR("x"), true);
    CHECK_INT(upload_checkout(t, uuid, &u), OK);
    CHECK_INT(upload_checkout(t, uuid, &busy), ERR_BLOB_UPLOAD_BUSY);
    upload_checkin(u, true);
    CHECK_INT(upload_checkout(t, STR("../x"), &busy), ERR_BLOB_UPLOAD_UNKNOWN);
    upload_checkin(NULL, true);
    upload_table_free(t);
    upload_table_free(NULL);
    store_close(s);
}

static void evicts_the_longest_unused(void)
{
    struct store *s = open_store();
    struct upload_table *t = upload_table_new(s, 2);
    char text[3][UUID_LEN];
    struct upload *u = NULL;
    for (int i = 0; i < 3; i++)
        append(t, uuid_of(text[i]), 0, STR("begun, "), true);
    for (int i = 0; i < 3; i++) {
        CHECK_INT(upload_checkout(t, str_make(text[i], UUID_LEN), &u), OK);
        CHECK((u->file != NULL) == (i > 0));
        upload_checkin(u, i > 0);
    }
    /* Nothing acknowledged was lost, and the hash is the same as if it had been kept. */
    for (int i = 0; i < 3; i++) {
        append(t, str_make(text[i], UUID_LEN), 7, STR("done"), true);
        check_content(t, str_make(text[i], UUID_LEN), STR("begun, done"));
    }
    upload_table_free(t);
    store_close(s);
}

static void survives_restart(void)
{
    struct store *s = open_store();
    struct upload_table *t = upload_table_new(s, 2);
    char text[UUID_LEN];
    str uuid = uuid_of(text);
    append(t, uuid, 0, STR("before "), true);
    upload_table_free(t);
    store_close(s);

    s = open_store();
    t = upload_table_new(s, 2);
    append(t, uuid, 7, STR("after"), true);
    check_content(t, uuid, STR("before after"));
    upload_table_free(t);
    store_close(s);
}

/* The row is what counts: synced bytes it does not know of are cut, in the file and in the hash. */
static void follows_the_row(void)
{
    struct store *s = open_store();
    struct upload_table *t = upload_table_new(s, 2);
    char text[UUID_LEN];
    str uuid = uuid_of(text);
    append(t, uuid, 0, STR("abcdef"), true);
    append(t, uuid, 3, STR("DEF"), true);
    check_content(t, uuid, STR("abcDEF"));

    /* Written and hashed, but never synced: the connection broke. */
    struct upload *u = NULL;
    CHECK_INT(upload_checkout(t, uuid, &u), OK);
    CHECK_INT(upload_resume(u, 6, DIGEST_sha256), OK);
    CHECK_INT(store_upload_write(u->file, 6, STR("ghi")), OK);
    hasher_update(u->hasher, "ghi", 3);
    u->hashed += 3;
    upload_checkin(u, true);
    check_content(t, uuid, STR("abcDEF"));
    upload_table_free(t);
    store_close(s);
}

static void gives_back_what_was_not_acknowledged(void)
{
    struct store *s = open_store();
    struct upload_table *t = upload_table_new(s, 2);
    char text[UUID_LEN];
    str uuid = uuid_of(text);
    uint64_t size = 0;
    append(t, uuid, 0, STR("abc"), true);

    struct upload *u = NULL;
    CHECK_INT(upload_checkout(t, uuid, &u), OK);
    CHECK_INT(upload_resume(u, 3, DIGEST_sha256), OK);
    CHECK_INT(store_upload_write(u->file, 3, STR("defghi")), OK);
    upload_checkin(u, false);
    CHECK_INT(store_upload_stat(s, uuid, &size), OK);
    CHECK_INT(size, 3);
    check_content(t, uuid, STR("abc"));
    upload_table_free(t);
    store_close(s);
}

static void changes_algorithm(void)
{
    struct store *s = open_store();
    struct upload_table *t = upload_table_new(s, 2);
    char text[UUID_LEN];
    str uuid = uuid_of(text);
    struct upload *u = NULL;
    append(t, uuid, 0, STR("abc"), true);
    CHECK_INT(upload_checkout(t, uuid, &u), OK);
    CHECK_INT(upload_resume(u, 3, DIGEST_sha512), OK);
    CHECK_INT(hasher_algorithm(u->hasher), DIGEST_sha512);
    check_digest(u, STR("abc"), DIGEST_sha512);
    upload_checkin(u, true);
    upload_table_free(t);
    store_close(s);
}

static void discards(void)
{
    struct store *s = open_store();
    struct upload_table *t = upload_table_new(s, 2);
    char text[UUID_LEN];
    str uuid = uuid_of(text);
    struct upload *u = NULL;
    append(t, uuid, 0, STR("abc"), true);
    CHECK_INT(upload_checkout(t, uuid, &u), OK);
    CHECK_INT(upload_discard(u), OK);
    upload_checkin(u, true);
    CHECK_INT(upload_checkout(t, uuid, &u), OK);
    CHECK_INT(upload_resume(u, 3, DIGEST_sha256), ERR_BLOB_UPLOAD_UNKNOWN);
    upload_checkin(u, false);
    upload_table_free(t);
    store_close(s);
}

static void rehashes_in_steps(void)
{
    struct store *s = open_store();
    struct upload_table *t = upload_table_new(s, 2);
    ARENA_CLEANUP struct arena a = {0};
    size_t n = (600 << 10) + 7; /* more than two steps, and not a whole number of them */
    char text[UUID_LEN], *bytes = arena_alloc(&a, n);
    for (size_t i = 0; i < n; i++)
        bytes[i] = (char)(i * 31 >> 3);
    str uuid = uuid_of(text), content = str_make(bytes, n);
    append(t, uuid, 0, content, false);
    check_content(t, uuid, content);

    struct upload *u = NULL;
    HASHER_CLEANUP struct hasher *h = hasher_new(DIGEST_sha256);
    CHECK_INT(upload_checkout(t, uuid, &u), OK);
    CHECK_INT(upload_resume(u, n, DIGEST_sha256), OK);
    CHECK_INT(upload_rehash(u->file, h, 0, n + 1), ERR_IO);
    upload_checkin(u, false);
    upload_table_free(t);
    store_close(s);
}

enum { RIVALS = 4, ROUNDS = 200 };

struct rival {
    pthread_t thread;
    struct upload_table *table;
    str uuid;
    atomic_int *holders;
    unsigned won;
    bool overlapped;
};

static void *compete(void *arg)
{
    struct rival *r = arg;
    for (int i = 0; i < ROUNDS; i++) {
        struct upload *u = NULL;
        if (upload_checkout(r->table, r->uuid, &u))
            continue;
        r->overlapped |= atomic_fetch_add(r->holders, 1) != 0;
        r->won += upload_resume(u, 0, DIGEST_sha256) == OK;
        atomic_fetch_sub(r->holders, 1);
        upload_checkin(u, i % 2);
    }
    return NULL;
}

static void excludes_across_threads(void)
{
    struct store *s = open_store();
    struct upload_table *t = upload_table_new(s, 1);
    char text[UUID_LEN];
    atomic_int holders = 0;
    struct rival rivals[RIVALS];
    unsigned won = 0;
    uuid_of(text);
    for (int i = 0; i < RIVALS; i++) {
        rivals[i] =
            (struct rival){.table = t, .uuid = str_make(text, UUID_LEN), .holders = &holders};
        pthread_create(&rivals[i].thread, NULL, compete, &rivals[i]);
    }
    for (int i = 0; i < RIVALS; i++) {
        pthread_join(rivals[i].thread, NULL);
        CHECK(!rivals[i].overlapped);
        won += rivals[i].won;
    }
    CHECK(won > 0);
    upload_table_free(t);
    store_close(s);
}

TESTS({"goes on", goes_on}, {"one holder", one_holder},
      {"evicts the longest unused", evicts_the_longest_unused},
      {"survives restart", survives_restart}, {"follows the row", follows_the_row},
      {"gives back what was not acknowledged", gives_back_what_was_not_acknowledged},
      {"changes algorithm", changes_algorithm}, {"discards", discards},
      {"rehashes in steps", rehashes_in_steps},
      {"excludes across threads", excludes_across_threads})
