#include "base/test.h"
#include "http/response.h"

#include <sys/mman.h>
#include <unistd.h>

struct fixture {
    struct arena arena;
    struct request req;
    struct response res;
};

static void start(struct fixture *f)
{
    *f = (struct fixture){.req.arena = &f->arena};
    response_init(&f->res, &f->req);
}

static void end(struct fixture *f)
{
    response_release(&f->res);
    arena_release(&f->arena);
}

static void builds_a_plan(void)
{
    struct fixture f;
    start(&f);
    CHECK_INT(f.res.status, 0);
    response_json(&f.res, 202, STR("{}"));
    response_header_printf(&f.res, "Range", "%d-%d", 0, 9);
    response_memory(&f.res, STR(""));
    response_memory(&f.res, STR("abc"));
    CHECK_INT(f.res.status, 202);
    CHECK_INT(f.res.header_n, 2);
    CHECK_STR(f.res.headers[0].name, "Content-Type");
    CHECK_STR(f.res.headers[0].value, "application/json");
    CHECK_STR(f.res.headers[1].value, "0-9");
    CHECK_INT(f.res.body_bytes, 5);
    CHECK_STR(f.res.first->memory, "{}");
    CHECK_STR(f.res.first->next->memory, "abc");
    CHECK(f.res.first->next->next == NULL);
    end(&f);
}

static void owns_files(void)
{
    struct fixture f;
    start(&f);
    struct file *file = file_new(memfd_create("content", MFD_CLOEXEC), 10);
    response_file(&f.res, file_ref(file), 2, 3);
    response_file(&f.res, file_ref(file), 2, 0);
    CHECK_INT(atomic_load(&file->refs), 2);
    CHECK_INT(f.res.body_bytes, 3);
    CHECK_INT(f.res.first->offset, 2);
    CHECK(f.res.first->next == NULL);

    f.res.status = 200;
    f.res.close = true;
    response_header(&f.res, "A", STR("b"));
    response_clear(&f.res);
    CHECK_INT(atomic_load(&file->refs), 1);
    CHECK_INT(f.res.status, 0);
    CHECK_INT(f.res.header_n, 0);
    CHECK_INT(f.res.body_bytes, 0);
    CHECK(f.res.close && f.res.first == NULL);

    response_memory(&f.res, STR("again"));
    CHECK_STR(f.res.first->memory, "again");
    file_unref(file);
    end(&f);
}

TESTS({"builds a plan", builds_a_plan}, {"owns files", owns_files});
