#include "base/test.h"
#include "blob/store_file.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>

static const char *uuid_a = "00000000-0000-4000-8000-00000000000a";

enum { CONTENT_BYTES = 7 };

struct fixture {
    struct arena a;
    str dir;
    struct store *store;
};

static struct fixture fixture_open(const char *name, size_t files_max)
{
    struct fixture f = {0};
    struct error why = {0};
    f.dir = arena_printf(&f.a, "%s/%s", test_dir(), name);
    if (store_open(&f.store, f.dir, &f.a, &why)) {
        printf("Bail out! %.*s\n", STR_ARG(why.message));
        exit(99);
    }
    store_keep_open(f.store, files_max);
    return f;
}

static void fixture_close(struct fixture *f)
{
    store_close(f->store);
    arena_release(&f->a);
}

static str publish(struct fixture *f)
{
    struct store_upload *u;
    char *key = arena_alloc(&f->a, STORE_KEY_LEN);
    CHECK_INT(store_upload_open(f->store, str_from(uuid_a), 0, &u), OK);
    CHECK_INT(store_upload_write(u, 0, STR("content")), OK);
    CHECK_INT(store_upload_publish(u, CONTENT_BYTES, key), OK);
    store_upload_close(u);
    CHECK_INT(store_upload_discard(f->store, str_from(uuid_a)), OK);
    return str_make(key, STORE_KEY_LEN);
}

/* As published, but without waiting for the disk. */
static str plant(struct fixture *f, unsigned i)
{
    str key = arena_printf(&f->a, "00%030x", i);
    int fd = open(arena_printf(&f->a, "%.*s/blobs/00/%.*s", STR_ARG(f->dir), STR_ARG(key)).p,
                  O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    CHECK(fd >= 0 && write(fd, "content", CONTENT_BYTES) == CONTENT_BYTES);
    close(fd);
    return key;
}

/* Asks for it and lets go of it at once. */
static void serve(struct fixture *f, str key)
{
    struct file *file = NULL;
    CHECK_INT(store_blob_open_kept(f->store, key, CONTENT_BYTES, &file), OK);
    file_unref(file);
}

static bool is_kept(struct fixture *f, str key)
{
    struct file *file = store_blob_find_kept(f->store, key, CONTENT_BYTES);
    file_unref(file);
    return file;
}

static unsigned descriptors(void)
{
    unsigned n = 0;
    struct stat st;
    for (int fd = 0; fd < 2048; fd++)
        n += fstat(fd, &st) == 0;
    return n;
}

static void keeps_what_was_served(void)
{
    struct fixture f = fixture_open("keeps", 8);
    str key = publish(&f);
    struct file *one = NULL, *two = NULL;
    unsigned before = descriptors();
    CHECK(!is_kept(&f, key));
    CHECK_INT(store_blob_open(f.store, key, CONTENT_BYTES, &one), OK);
    CHECK(!is_kept(&f, key)); /* who only looks after it leaves nothing */
    file_unref(one);
    CHECK_INT(store_blob_open_kept(f.store, key, CONTENT_BYTES, &one), OK);
    CHECK_INT(store_blob_open_kept(f.store, key, CONTENT_BYTES, &two), OK);
    CHECK(one == two);
    file_unref(two);
    two = store_blob_find_kept(f.store, key, CONTENT_BYTES);
    CHECK(one == two);
    file_unref(two);
    CHECK(!store_blob_find_kept(f.store, key, CONTENT_BYTES + 1));
    CHECK_INT(store_blob_open_kept(f.store, key, CONTENT_BYTES + 1, &two), ERR_SIZE_INVALID);
    CHECK_INT(descriptors(), before + 1);
    CHECK_INT(store_blob_open_kept(f.store, STR("00112233445566778899aabbccddeeff"), 1, &two),
              ERR_NOT_FOUND);

    /* A reader's file outlives the store's. */
    char byte = 0;
    CHECK_INT(store_blob_unlink(f.store, key), OK);
    CHECK_INT(pread(one->fd, &byte, 1, 0), 1);
    CHECK_INT(byte, 'c');
    file_unref(one);
    CHECK_INT(descriptors(), before);
    fixture_close(&f);
}

static void lets_go_of_what_is_removed(void)
{
    struct fixture f = fixture_open("removed", 8);
    str unlinked = publish(&f), moved = publish(&f), stolen = publish(&f);
    unsigned before = descriptors();
    serve(&f, unlinked);
    serve(&f, moved);
    CHECK_INT(descriptors(), before + 2);
    CHECK_INT(store_blob_unlink(f.store, unlinked), OK);
    CHECK(!is_kept(&f, unlinked) && is_kept(&f, moved));
    CHECK_INT(descriptors(), before + 1);
    CHECK_INT(store_blob_quarantine(f.store, moved), OK);
    CHECK(!is_kept(&f, moved));
    CHECK_INT(descriptors(), before);

    /* The cache is asked for what is over, whoever removed the file. */
    serve(&f, stolen);
    store_close_kept(f.store);
    CHECK(is_kept(&f, stolen));
    cache_expire(f.store->kept, CACHE_FOREVER - 1);
    CHECK(!is_kept(&f, stolen));
    CHECK_INT(descriptors(), before);
    fixture_close(&f);
}

static void stays_below_its_bound(void)
{
    struct fixture f = fixture_open("bound", 8);
    str first = publish(&f);
    unsigned before = descriptors();
    for (unsigned i = 0; i < 64; i++)
        serve(&f, plant(&f, i));
    CHECK(descriptors() > before && descriptors() <= before + 8);
    serve(&f, first);
    CHECK(is_kept(&f, first));
    fixture_close(&f);

    struct fixture none = fixture_open("none", 0);
    str key = publish(&none);
    serve(&none, key);
    CHECK(!is_kept(&none, key));
    store_close_kept(none.store);
    CHECK_INT(store_blob_unlink(none.store, key), OK);
    fixture_close(&none);
}

static void gives_way_when_descriptors_are_short(void)
{
    struct fixture f = fixture_open("short", 8);
    struct rlimit before;
    str kept = publish(&f), other = publish(&f);
    char bytes[CONTENT_BYTES + 1];
    serve(&f, kept);
    CHECK_INT(getrlimit(RLIMIT_NOFILE, &before), 0);
    CHECK_INT(setrlimit(RLIMIT_NOFILE, &(struct rlimit){descriptors(), before.rlim_max}), 0);
    CHECK_INT(store_blob_read(f.store, other, CONTENT_BYTES, bytes), OK);
    CHECK(!is_kept(&f, kept));
    /* One descriptor is free now, and the second file takes its turn in it. */
    serve(&f, kept);
    serve(&f, other);
    CHECK(is_kept(&f, other) && !is_kept(&f, kept));
    struct file *held = store_blob_find_kept(f.store, other, CONTENT_BYTES), *file = NULL;
    CHECK_INT(store_blob_open_kept(f.store, kept, CONTENT_BYTES, &file), ERR_NO_FILES);
    file_unref(held);
    CHECK_INT(setrlimit(RLIMIT_NOFILE, &before), 0);
    fixture_close(&f);
}

struct reader {
    struct fixture *f;
    str key;
    atomic_bool unlinked;
};

static void *read_on(void *arg)
{
    struct reader *r = arg;
    bool last = false;
    while (!last) {
        struct file *file = NULL;
        last = atomic_load(&r->unlinked);
        enum err e = store_blob_open_kept(r->f->store, r->key, CONTENT_BYTES, &file);
        CHECK(e == OK || e == ERR_NOT_FOUND);
        file_unref(file);
    }
    return NULL;
}

/* Who opened the file before it was unlinked must not keep it after it was let go of. */
static void is_not_outrun(void)
{
    struct fixture f = fixture_open("outrun", 8);
    unsigned before = descriptors();
    for (unsigned i = 0; i < 2000; i++) {
        struct reader r = {.f = &f, .key = plant(&f, i)};
        pthread_t thread;
        CHECK_INT(pthread_create(&thread, NULL, read_on, &r), 0);
        for (unsigned turns = i % 30; turns > 0; turns--) {
            serve(&f, r.key);
            store_kept_forget(f.store, r.key);
        }
        CHECK_INT(store_blob_unlink(f.store, r.key), OK);
        atomic_store(&r.unlinked, true);
        pthread_join(thread, NULL);
        CHECK(!is_kept(&f, r.key));
    }
    CHECK_INT(descriptors(), before);
    fixture_close(&f);
}

TESTS({"keeps what was served", keeps_what_was_served},
      {"lets go of what is removed", lets_go_of_what_is_removed},
      {"stays below its bound", stays_below_its_bound},
      {"gives way when descriptors are short", gives_way_when_descriptors_are_short},
      {"is not outrun", is_not_outrun});
