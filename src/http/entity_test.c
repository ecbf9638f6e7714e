#include "base/test.h"
#include "http/response.h"

#include <sys/mman.h>
#include <unistd.h>

#define CONTENT "0123456789"
#define TAG     "\"sha256:ab\""

struct fixture {
    struct arena arena;
    struct field fields[4];
    struct request req;
    struct response res;
    struct entity entity;
};

static void start(struct fixture *f, enum method method)
{
    *f = (struct fixture){
        .req = {.arena = &f->arena, .method = method, .fields = f->fields, .ranges_max = 1024},
        .entity = {.etag = STR(TAG),
                   .type = STR("text/x"),
                   .cache_control = STR("max-age=1"),
                   .memory = STR(CONTENT),
                   .size_bytes = sizeof CONTENT - 1,
                   .ranges = true}};
    response_init(&f->res, &f->req);
}

static void add(struct fixture *f, const char *name, const char *value)
{
    f->fields[f->req.field_n++] = (struct field){str_from(name), str_from(value)};
}

static void end(struct fixture *f)
{
    response_release(&f->res);
    arena_release(&f->arena);
}

static str header(const struct fixture *f, const char *name)
{
    for (size_t i = 0; i < f->res.header_n; i++)
        if (str_eq(f->res.headers[i].name, str_from(name)))
            return f->res.headers[i].value;
    return STR("absent");
}

/* The body as the client gets it. */
static str body(struct fixture *f)
{
    char *text = arena_alloc(&f->arena, f->res.body_bytes);
    size_t n = 0;
    for (struct segment *s = f->res.first; s; s = s->next) {
        if (s->file)
            CHECK_INT(pread(s->file->fd, text + n, s->n, (off_t)s->offset), s->n);
        else
            memcpy(text + n, s->memory.p, s->n);
        n += s->n;
    }
    CHECK_INT(n, f->res.body_bytes);
    return str_make(text, n);
}

static void serves_the_whole(void)
{
    struct fixture f;
    start(&f, METHOD_GET);
    CHECK_INT(response_entity(&f.res, &f.entity), OK);
    CHECK_INT(f.res.status, 200);
    CHECK_STR(header(&f, "ETag"), TAG);
    CHECK_STR(header(&f, "Content-Type"), "text/x");
    CHECK_STR(header(&f, "Cache-Control"), "max-age=1");
    CHECK_STR(header(&f, "Accept-Ranges"), "bytes");
    CHECK_STR(header(&f, "Content-Range"), "absent");
    CHECK_STR(body(&f), CONTENT);
    end(&f);

    start(&f, METHOD_GET);
    add(&f, "range", "bytes=1-2");
    f.entity.ranges = false;
    f.entity.cache_control = STR("");
    CHECK_INT(response_entity(&f.res, &f.entity), OK);
    CHECK_INT(f.res.status, 200);
    CHECK_STR(header(&f, "Accept-Ranges"), "absent");
    CHECK_STR(header(&f, "Cache-Control"), "absent");
    end(&f);
}

static void heads_ignore_ranges(void)
{
    struct fixture f;
    start(&f, METHOD_HEAD);
    add(&f, "range", "bytes=500-0");
    f.entity.memory = STR("");
    CHECK_INT(response_entity(&f.res, &f.entity), OK);
    CHECK_INT(f.res.status, 200);
    CHECK_INT(f.res.body_bytes, 10);
    CHECK(f.res.first == NULL);
    CHECK_STR(header(&f, "Accept-Ranges"), "bytes");
    end(&f);
}

static void serves_one_range(void)
{
    static const struct {
        const char *range, *content_range, *body;
    } rows[] = {
        {"bytes=2-4", "bytes 2-4/10", "234"},     {"bytes=7-", "bytes 7-9/10", "789"},
        {"bytes=-2", "bytes 8-9/10", "89"},       {"bytes=-50", "bytes 0-9/10", CONTENT},
        {"bytes=3-3,77-78", "bytes 3-3/10", "3"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct fixture f;
        start(&f, METHOD_GET);
        add(&f, "range", rows[i].range);
        CHECK_INT(response_entity(&f.res, &f.entity), OK);
        CHECK_INT(f.res.status, 206);
        CHECK_STR(header(&f, "Content-Range"), rows[i].content_range);
        CHECK_STR(header(&f, "Content-Type"), "text/x");
        CHECK_STR(header(&f, "ETag"), TAG);
        CHECK_STR(body(&f), rows[i].body);
        end(&f);
    }
}

static void serves_several_ranges(void)
{
    struct fixture f;
    start(&f, METHOD_GET);
    add(&f, "range", "bytes=8-9, 0-0,-3");
    CHECK_INT(response_entity(&f.res, &f.entity), OK);
    CHECK_INT(f.res.status, 206);
    CHECK_STR(header(&f, "Content-Range"), "absent");
    CHECK_STR(header(&f, "ETag"), TAG);
    str type = header(&f, "Content-Type"), prefix = STR("multipart/byteranges; boundary=");
    CHECK(str_starts(type, prefix));
    str boundary = str_skip(type, prefix.n);
    CHECK(boundary.n >= 20 && boundary.n <= 70);
    for (size_t i = 0; i < boundary.n; i++) {
        char c = boundary.p[i];
        CHECK((c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z'));
    }
    str want = {0};
    static const char *const parts[][2] = {{"8-9", "89"}, {"0-0", "0"}, {"7-9", "789"}};
    for (size_t i = 0; i < 3; i++)
        want = arena_printf(&f.arena,
                            "%.*s--%.*s\r\nContent-Type: text/x\r\n"
                            "Content-Range: bytes %s/10\r\n\r\n%s\r\n",
                            STR_ARG(want), STR_ARG(boundary), parts[i][0], parts[i][1]);
    want = arena_printf(&f.arena, "%.*s--%.*s--\r\n", STR_ARG(want), STR_ARG(boundary));
    CHECK(str_eq(body(&f), want));
    end(&f);
}

static void serves_files(void)
{
    static const struct {
        const char *range;
        size_t files;
    } rows[] = {{"bytes=1-3", 1}, {"bytes=1-1,3-4,9-9", 3}, {"bytes=0-,0-", 1}};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct fixture f;
        start(&f, METHOD_GET);
        add(&f, "range", rows[i].range);
        int fd = memfd_create("content", MFD_CLOEXEC);
        CHECK_INT(write(fd, CONTENT, 10), 10);
        struct file *file = file_new(fd, 10);
        f.entity.memory = STR("");
        f.entity.file = file_ref(file);
        CHECK_INT(response_entity(&f.res, &f.entity), OK);
        CHECK_INT(atomic_load(&file->refs), 1 + rows[i].files);
        if (i == 0)
            CHECK_STR(body(&f), "123");
        response_release(&f.res);
        CHECK_INT(atomic_load(&file->refs), 1);
        file_unref(file);
        arena_release(&f.arena);
    }
}

/* Whatever is not served gives the reference back too. */
static void gives_files_back(void)
{
    static const char *const fields[][2] = {
        {"range", "bytes=10-"}, {"if-match", "\"x\""}, {"if-none-match", "*"}};
    static const enum err want[] = {ERR_RANGE_INVALID, ERR_PRECONDITION_FAILED, OK};
    for (size_t i = 0; i < 3; i++) {
        struct fixture f;
        start(&f, METHOD_GET);
        add(&f, fields[i][0], fields[i][1]);
        struct file *file = file_new(memfd_create("content", MFD_CLOEXEC), 10);
        f.entity.file = file_ref(file);
        CHECK_INT(response_entity(&f.res, &f.entity), want[i]);
        CHECK_INT(atomic_load(&file->refs), 1);
        file_unref(file);
        end(&f);
    }
}

static void refuses_ranges_outside(void)
{
    static const char *const ranges[] = {"bytes=10-", "bytes=500-0", "bytes=-0"};
    for (size_t i = 0; i < 3; i++) {
        struct fixture f;
        start(&f, METHOD_GET);
        add(&f, "range", ranges[i]);
        CHECK_INT(response_entity(&f.res, &f.entity), ERR_RANGE_INVALID);
        CHECK_INT(f.req.error.code, ERR_RANGE_INVALID);
        CHECK_STR(header(&f, "Content-Range"), "bytes */10");
        CHECK_STR(header(&f, "ETag"), "absent");
        CHECK_INT(f.res.status, 0);
        end(&f);
    }
}

static void answers_abuse_with_the_whole(void)
{
    struct fixture f;
    start(&f, METHOD_GET);
    add(&f, "range", "bytes=0-0,2-2,4-4");
    f.req.ranges_max = 2;
    CHECK_INT(response_entity(&f.res, &f.entity), OK);
    CHECK_INT(f.res.status, 200);
    CHECK_STR(body(&f), CONTENT);
    end(&f);
}

static void serves_1024_ranges(void)
{
    static char content[2048];
    struct fixture f;
    start(&f, METHOD_GET);
    str range = STR("bytes=0-0");
    for (int i = 1; i < 1024; i++)
        range = arena_printf(&f.arena, "%.*s,%d-%d", STR_ARG(range), 2 * i, 2 * i);
    f.fields[f.req.field_n++] = (struct field){STR("range"), range};
    f.entity.memory = str_make(content, sizeof content);
    f.entity.size_bytes = sizeof content;
    CHECK_INT(response_entity(&f.res, &f.entity), OK);
    CHECK_INT(f.res.status, 206);
    size_t segments = 0;
    for (struct segment *s = f.res.first; s; s = s->next)
        segments++;
    CHECK_INT(segments, 2 * 1024 + 1);
    end(&f);
}

static void checks_if_range(void)
{
    static const struct {
        const char *value;
        int status;
    } rows[] = {
        {TAG, 206},         {"\"sha256:cd\"", 200}, {"W/" TAG, 200},
        {"sha256:ab", 200}, {TAG ", " TAG, 200},    {"Sat, 31 Jan 2026 12:34:56 GMT", 200},
        {"", 200},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct fixture f;
        start(&f, METHOD_GET);
        add(&f, "range", "bytes=0-1");
        add(&f, "if-range", rows[i].value);
        CHECK_INT(response_entity(&f.res, &f.entity), OK);
        CHECK_INT(f.res.status, rows[i].status);
        end(&f);
    }
    /* The range of another version is not wrong, just not wanted. */
    struct fixture f;
    start(&f, METHOD_GET);
    add(&f, "range", "bytes=500-0");
    add(&f, "if-range", "\"sha256:cd\"");
    CHECK_INT(response_entity(&f.res, &f.entity), OK);
    CHECK_INT(f.res.status, 200);
    end(&f);
}

static void ignores_repeated_ranges(void)
{
    struct fixture f;
    start(&f, METHOD_GET);
    add(&f, "range", "bytes=0-1");
    add(&f, "range", "bytes=2-3");
    CHECK_INT(response_entity(&f.res, &f.entity), OK);
    CHECK_INT(f.res.status, 200);
    end(&f);
}

static void answers_not_modified(void)
{
    struct fixture f;
    start(&f, METHOD_GET);
    add(&f, "range", "bytes=500-0");
    add(&f, "if-none-match", TAG);
    CHECK_INT(response_entity(&f.res, &f.entity), OK);
    CHECK_INT(f.res.status, 304);
    CHECK_STR(header(&f, "ETag"), TAG);
    CHECK_STR(header(&f, "Cache-Control"), "max-age=1");
    CHECK_STR(header(&f, "Content-Type"), "absent");
    CHECK_INT(f.res.body_bytes, 0);
    end(&f);
}

struct condition_row {
    const char *name, *value;
    enum condition want;
};

static void check_conditions(enum method method, str etag, const struct condition_row *rows,
                             size_t n)
{
    for (size_t i = 0; i < n; i++) {
        struct fixture f;
        start(&f, method);
        add(&f, rows[i].name, rows[i].value);
        int got = (int)request_condition(&f.req, etag);
        if (got != (int)rows[i].want)
            test_fail(__FILE__, __LINE__, "%s: %s is %d", rows[i].name, rows[i].value, got);
        end(&f);
    }
}
#define CHECK_CONDITIONS(method, etag, rows) \
    check_conditions(method, etag, rows, sizeof(rows) / sizeof((rows)[0]))

static void compares_tags(void)
{
    static const struct condition_row rows[] = {
        {"if-none-match", TAG, CONDITION_NOT_MODIFIED},
        {"if-none-match", "W/" TAG, CONDITION_NOT_MODIFIED},
        {"if-none-match", "sha256:ab", CONDITION_NOT_MODIFIED},
        {"if-none-match", "*", CONDITION_NOT_MODIFIED},
        {"if-none-match", "\"x\", " TAG, CONDITION_NOT_MODIFIED},
        {"if-none-match", "x,sha256:ab", CONDITION_NOT_MODIFIED},
        {"if-none-match", ", ,\t" TAG ",", CONDITION_NOT_MODIFIED},
        {"if-none-match", "\"a,\"," TAG, CONDITION_NOT_MODIFIED},
        {"if-none-match", "\"a," TAG "\"", CONDITION_HOLDS},
        {"if-none-match", "\"x\"", CONDITION_HOLDS},
        {"if-none-match", "\"SHA256:ab\"", CONDITION_HOLDS},
        {"if-none-match", "\"sha256:ab", CONDITION_HOLDS},
        {"if-none-match", "\"x,sha256:ab\"", CONDITION_HOLDS},
        {"if-none-match", "w/" TAG "x", CONDITION_HOLDS},
        {"if-none-match", "", CONDITION_HOLDS},
        {"if-none-match", "W/", CONDITION_HOLDS},
        {"if-match", TAG, CONDITION_HOLDS},
        {"if-match", "*", CONDITION_HOLDS},
        {"if-match", "sha256:ab", CONDITION_HOLDS},
        {"if-match", "\"x\"," TAG, CONDITION_HOLDS},
        {"if-match", "W/" TAG, CONDITION_FAILED},
        {"if-match", "\"x\"", CONDITION_FAILED},
        {"if-match", "", CONDITION_FAILED},
        {"if-modified-since", "Sat, 31 Jan 2026 12:34:56 GMT", CONDITION_HOLDS},
    };
    CHECK_CONDITIONS(METHOD_GET, STR(TAG), rows);
    CHECK_CONDITIONS(METHOD_HEAD, STR(TAG), rows);
}

static void guards_writes(void)
{
    static const struct condition_row present[] = {
        {"if-none-match", "*", CONDITION_FAILED},    {"if-none-match", TAG, CONDITION_FAILED},
        {"if-none-match", "\"x\"", CONDITION_HOLDS}, {"if-match", TAG, CONDITION_HOLDS},
        {"if-match", "\"x\"", CONDITION_FAILED},
    };
    static const struct condition_row absent[] = {
        {"if-none-match", "*", CONDITION_HOLDS}, {"if-none-match", TAG, CONDITION_HOLDS},
        {"if-match", "*", CONDITION_FAILED},     {"if-match", TAG, CONDITION_FAILED},
        {"if-match", "\"\"", CONDITION_FAILED},
    };
    CHECK_CONDITIONS(METHOD_PUT, STR(TAG), present);
    CHECK_CONDITIONS(METHOD_PUT, str_make(NULL, 0), absent);
}

/* RFC 9110 13.2.2: If-Match goes first, and several fields of one name are one list. */
static void orders_conditions(void)
{
    struct fixture f;
    start(&f, METHOD_GET);
    add(&f, "if-none-match", TAG);
    add(&f, "if-match", "\"x\"");
    CHECK_INT(response_entity(&f.res, &f.entity), ERR_PRECONDITION_FAILED);
    end(&f);

    start(&f, METHOD_GET);
    add(&f, "if-match", "\"x\"");
    add(&f, "if-match", TAG);
    add(&f, "if-none-match", "\"x\"");
    add(&f, "if-none-match", TAG);
    CHECK_INT(response_entity(&f.res, &f.entity), OK);
    CHECK_INT(f.res.status, 304);
    end(&f);
}

TESTS({"serves the whole", serves_the_whole}, {"heads ignore ranges", heads_ignore_ranges},
      {"serves one range", serves_one_range}, {"serves several ranges", serves_several_ranges},
      {"serves files", serves_files}, {"gives files back", gives_files_back},
      {"refuses ranges outside", refuses_ranges_outside},
      {"answers abuse with the whole", answers_abuse_with_the_whole},
      {"serves 1024 ranges", serves_1024_ranges}, {"checks If-Range", checks_if_range},
      {"ignores repeated ranges", ignores_repeated_ranges},
      {"answers not modified", answers_not_modified}, {"compares tags", compares_tags},
      {"guards writes", guards_writes}, {"orders conditions", orders_conditions});
