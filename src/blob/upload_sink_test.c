#include "base/test.h"
#include "blob/store_file.h"
#include "blob/upload_sink.h"
#include "http/request.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

/* Buffers as http/ would give them, without a reactor to go home to. */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t came_home = PTHREAD_COND_INITIALIZER;
static size_t outstanding_bytes;

void iobuf_ref(struct iobuf *b)
{
    atomic_fetch_add(&b->refs, 1);
}

void iobuf_unref(struct iobuf *b)
{
    if (atomic_fetch_sub(&b->refs, 1) > 1)
        return;
    pthread_mutex_lock(&lock);
    outstanding_bytes -= b->cap;
    free(b->p);
    free(b);
    pthread_cond_signal(&came_home);
    pthread_mutex_unlock(&lock);
}

static void await_home(size_t left_bytes)
{
    pthread_mutex_lock(&lock);
    while (outstanding_bytes > left_bytes)
        pthread_cond_wait(&came_home, &lock);
    pthread_mutex_unlock(&lock);
}

/* Pushes one buffer, with at most 1 MiB behind it still being worked on. */
static void push(struct sink *s, uint64_t offset, str bytes)
{
    await_home(1 << 20);
    struct iobuf *b = calloc(1, sizeof *b);
    char *p = malloc(bytes.n);
    if (!b || !p)
        abort();
    memcpy(p, bytes.p, bytes.n);
    *b = (struct iobuf){.p = p, .n = bytes.n, .cap = bytes.n, .offset = offset, .refs = 1};
    pthread_mutex_lock(&lock);
    outstanding_bytes += b->cap;
    pthread_mutex_unlock(&lock);
    s->ops->push(s, b);
    iobuf_unref(b);
}

static int pwrites_left = -1; /* until one fails with ENOSPC; below 0: never */

static ssize_t filling_pwrite(int fd, const void *p, size_t n, off_t offset)
{
    if (pwrites_left >= 0 && pwrites_left-- == 0) {
        errno = ENOSPC;
        return -1;
    }
    return pwrite(fd, p, n, offset);
}

static bool writeback_fails;

static int failing_range(int fd, off_t offset, off_t n, unsigned flags)
{
    (void)fd, (void)offset, (void)n, (void)flags;
    errno = EIO;
    return writeback_fails ? -1 : 0;
}

struct fixture {
    struct arena arena;
    struct store_sys sys;
    struct store *store;
    struct upload_table *table;
    struct pool *pool;
    struct upload *upload;
    char uuid[UUID_LEN];
    /* What finish or abort was told. */
    unsigned finished, aborted;
    uint64_t total_bytes;
    enum err why;
};

static void fixture_init(struct fixture *f, unsigned threads_n)
{
    *f = (struct fixture){.sys = store_sys_kernel};
    f->sys.pwrite = filling_pwrite;
    f->sys.sync_file_range = failing_range;
    pwrites_left = -1;
    writeback_fails = false;
    struct error why = {0};
    uint8_t id[16];
    uuid_new(id);
    uuid_format(id, f->uuid);
    str dir = arena_printf(&f->arena, "%s/store", test_dir());
    if (store_open_with(&f->store, dir, &f->sys, &f->arena, &why) ||
        pool_new(&f->pool, threads_n, 16)) {
        printf("Bail out! %.*s\n", STR_ARG(why.message));
        exit(99);
    }
    f->table = upload_table_new(f->store, 4);
}

static void fixture_release(struct fixture *f)
{
    upload_checkin(f->upload, false);
    pool_free(f->pool);
    upload_table_free(f->table);
    store_close(f->store);
    arena_release(&f->arena);
}

static enum err on_finish(void *arg, struct request *req, struct response *res,
                          uint64_t total_bytes)
{
    struct fixture *f = arg;
    (void)req, (void)res;
    f->finished++;
    f->total_bytes = total_bytes;
    return OK;
}

static enum err on_abort(void *arg, struct request *req, struct response *res, uint64_t total_bytes,
                         enum err why)
{
    struct fixture *f = arg;
    (void)req, (void)res;
    f->aborted++;
    f->total_bytes = total_bytes;
    f->why = why;
    return why;
}

static void resume(struct fixture *f, uint64_t offset)
{
    if (!f->upload)
        CHECK_INT(upload_checkout(f->table, str_make(f->uuid, UUID_LEN), &f->upload), OK);
    CHECK_INT(upload_resume(f->upload, offset, DIGEST_sha256), OK);
}

/* A sink that holds the upload, as a request would. */
static enum err make_sink(struct fixture *f, uint64_t size_max, uint64_t body_bytes, bool no_hash,
                          struct sink **ret)
{
    return upload_sink_new(
        &(struct upload_sink_options){
            .pool = f->pool,
            .upload = f->upload,
            .no_hash = no_hash,
            .size_max = size_max,
            .body_bytes = body_bytes,
            .finish = on_finish,
            .abort = on_abort,
            .arg = f,
        },
        ret);
}

static enum err finish(struct sink *s)
{
    await_home(0);
    return s->ops->finish(s, NULL, NULL);
}

static enum err abandon(struct sink *s)
{
    await_home(0);
    return s->ops->abort(s, NULL, NULL);
}

static void check_content(struct fixture *f, str content)
{
    struct digest got, want;
    CHECK_INT(upload_digest(f->upload, content.n, DIGEST_sha256, &got), OK);
    digest_of(DIGEST_sha256, content, &want);
    CHECK(digest_eq(&got, &want));
    /* What was hashed is also what was written. */
    HASHER_CLEANUP struct hasher *h = hasher_new(DIGEST_sha256);
    CHECK_INT(upload_rehash(f->upload->file, h, 0, content.n), OK);
    hasher_peek(h, &got);
    CHECK(digest_eq(&got, &want));
}

/* The same numbers in every run. */
static uint64_t next_random(uint64_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state;
}

static str random_content(struct arena *a, size_t n, uint64_t *state)
{
    char *p = arena_alloc(a, n);
    for (size_t i = 0; i < n; i++)
        p[i] = (char)next_random(state);
    return str_make(p, n);
}

/* Sends all of `body` in buffers of 1 .. max bytes. */
static void send_body(struct sink *s, str body, size_t max, uint64_t *state)
{
    uint64_t offset = 0;
    while (body.n) {
        str part = str_first(body, 1 + next_random(state) % max);
        push(s, offset, part);
        offset += part.n;
        body = str_skip(body, part.n);
    }
}

static void any_buffer_sizes(void)
{
    uint64_t state = 0x9e3779b97f4a7c15u;
    static const size_t sizes_max[] = {1 << 10, 64 << 10, 100 << 10, 300 << 10};
    for (unsigned round = 0; round < 12; round++) {
        struct fixture f;
        struct sink *s = NULL;
        fixture_init(&f, 1 + round % 3);
        size_t max = sizes_max[round % 4];
        str content = random_content(&f.arena, 1 + next_random(&state) % (12 * max), &state);
        size_t first = next_random(&state) % content.n;
        resume(&f, 0);
        CHECK_INT(make_sink(&f, content.n, first, false, &s), OK);
        send_body(s, str_first(content, first), max, &state);
        CHECK_INT(finish(s), OK);
        CHECK_INT(f.total_bytes, first);
        CHECK_INT(upload_sync(f.upload, first), OK);

        /* The second request of the upload, chunked. */
        CHECK_INT(make_sink(&f, content.n, BODY_UNKNOWN, false, &s), OK);
        send_body(s, str_skip(content, first), max, &state);
        CHECK(!s->ops->failed(s));
        CHECK_INT(finish(s), OK);
        CHECK_INT(f.total_bytes, content.n);
        CHECK_INT(f.upload->hashed, content.n);
        CHECK_INT(f.finished, 2);
        CHECK_INT(f.aborted, 0);
        check_content(&f, content);
        fixture_release(&f);
    }
}

static void without_hash(void)
{
    struct fixture f;
    struct sink *s = NULL;
    uint64_t state = 5;
    fixture_init(&f, 2);
    str content = random_content(&f.arena, 300 << 10, &state);
    resume(&f, 0);
    CHECK_INT(make_sink(&f, content.n, content.n, true, &s), OK);
    send_body(s, content, 100 << 10, &state);
    CHECK_INT(finish(s), OK);
    CHECK_INT(f.upload->hashed, 0);
    check_content(&f, content);
    fixture_release(&f);
}

static void empty_body(void)
{
    struct fixture f;
    struct sink *s = NULL;
    fixture_init(&f, 1);
    resume(&f, 0);
    CHECK_INT(make_sink(&f, 0, BODY_UNKNOWN, false, &s), OK);
    CHECK_INT(finish(s), OK);
    CHECK_INT(f.total_bytes, 0);
    check_content(&f, STR(""));
    fixture_release(&f);
}

static void too_large(void)
{
    struct fixture f;
    struct sink *s = NULL;
    fixture_init(&f, 1);
    resume(&f, 0);
    CHECK_INT(make_sink(&f, 10, 11, false, &s), ERR_BODY_TOO_LARGE);
    CHECK(s == NULL);

    CHECK_INT(make_sink(&f, 10, BODY_UNKNOWN, false, &s), OK);
    push(s, 0, STR("0123456"));
    CHECK(!s->ops->failed(s));
    await_home(0);
    push(s, 7, STR("789a"));
    CHECK(s->ops->failed(s));
    push(s, 11, STR("b"));
    CHECK_INT(abandon(s), ERR_BODY_TOO_LARGE);
    CHECK_INT(f.why, ERR_BODY_TOO_LARGE);
    CHECK_INT(f.total_bytes, 7);
    CHECK_INT(f.finished, 0);

    /* The limit is the whole blob's. */
    CHECK_INT(upload_sync(f.upload, 7), OK);
    CHECK_INT(make_sink(&f, 10, 4, false, &s), ERR_BODY_TOO_LARGE);
    CHECK_INT(make_sink(&f, 6, BODY_UNKNOWN, false, &s), ERR_BODY_TOO_LARGE);
    CHECK_INT(make_sink(&f, 10, 3, false, &s), OK);
    push(s, 0, STR("789"));
    CHECK_INT(finish(s), OK);
    check_content(&f, STR("0123456789"));
    fixture_release(&f);
}

static void other_length_than_announced(void)
{
    struct fixture f;
    struct sink *s = NULL;
    fixture_init(&f, 1);
    resume(&f, 0);
    CHECK_INT(make_sink(&f, 10, 5, false, &s), OK);
    push(s, 0, STR("012"));
    CHECK_INT(finish(s), ERR_SIZE_INVALID);
    CHECK_INT(f.total_bytes, 3);
    CHECK_INT(f.aborted, 1);

    resume(&f, 0);
    CHECK_INT(make_sink(&f, 10, 5, false, &s), OK);
    push(s, 0, STR("012345"));
    CHECK(s->ops->failed(s));
    CHECK_INT(abandon(s), ERR_SIZE_INVALID);
    CHECK_INT(f.total_bytes, 0);
    fixture_release(&f);
}

static void sender_gone(void)
{
    struct fixture f;
    struct sink *s = NULL;
    fixture_init(&f, 2);
    resume(&f, 0);
    CHECK_INT(make_sink(&f, 100, 100, false, &s), OK);
    push(s, 0, STR("the first "));
    push(s, 10, STR("half"));
    CHECK_INT(abandon(s), ERR_CLOSED);
    CHECK_INT(f.total_bytes, 14);
    /* All of it may be kept. */
    CHECK_INT(upload_sync(f.upload, 14), OK);
    check_content(&f, STR("the first half"));
    CHECK_INT(f.upload->hashed, 14);
    fixture_release(&f);
}

static void disk_full(void)
{
    uint64_t state = 77;
    for (int good = 0; good < 6; good++) {
        struct fixture f;
        struct sink *s = NULL;
        fixture_init(&f, 2);
        str content = random_content(&f.arena, 800 << 10, &state);
        resume(&f, 0);
        CHECK_INT(make_sink(&f, content.n, content.n, false, &s), OK);
        pwrites_left = good;
        for (uint64_t i = 0; i < 8; i++)
            push(s, i * (100 << 10), str_first(str_skip(content, i * (100 << 10)), 100 << 10));
        CHECK_INT(finish(s), ERR_NO_SPACE);
        CHECK_INT(f.why, ERR_NO_SPACE);
        CHECK_INT(f.total_bytes, good * (100 << 10));
        CHECK_INT(f.finished, 0);

        /* What was written is acknowledged; the client sends the rest once there is room. */
        uint64_t kept = f.total_bytes;
        CHECK_INT(upload_sync(f.upload, kept), OK);
        upload_checkin(f.upload, true);
        f.upload = NULL;
        resume(&f, kept);
        CHECK_INT(make_sink(&f, content.n, content.n - kept, false, &s), OK);
        send_body(s, str_skip(content, kept), 200 << 10, &state);
        CHECK_INT(finish(s), OK);
        check_content(&f, content);
        fixture_release(&f);
    }
}

/* An upload whose bytes the disk lost is not kept, whoever asks for it. */
static void disk_broken(void)
{
    struct fixture f;
    struct sink *s = NULL;
    fixture_init(&f, 2);
    str content = str_make(arena_alloc(&f.arena, 1 << 20), 1 << 20);
    resume(&f, 0);
    CHECK_INT(make_sink(&f, 16 << 20, BODY_UNKNOWN, false, &s), OK);
    writeback_fails = true;
    for (uint64_t i = 0; i < 9; i++)
        push(s, i << 20, content);
    CHECK_INT(abandon(s), ERR_IO);
    upload_checkin(f.upload, true);
    f.upload = NULL;
    CHECK_INT(upload_checkout(f.table, str_make(f.uuid, UUID_LEN), &f.upload), OK);
    CHECK(f.upload->file == NULL);
    CHECK_INT(upload_resume(f.upload, 7 << 20, DIGEST_sha256), ERR_BLOB_UPLOAD_UNKNOWN);
    fixture_release(&f);
}

TESTS({"any buffer sizes", any_buffer_sizes}, {"without hash", without_hash},
      {"empty body", empty_body}, {"too large", too_large},
      {"other length than announced", other_length_than_announced}, {"sender gone", sender_gone},
      {"disk full", disk_full}, {"disk broken", disk_broken})
