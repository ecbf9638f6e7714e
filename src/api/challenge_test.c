#include "api/challenge.h"
#include "api/v2.h"
#include "base/test.h"

struct fixture {
    struct arena arena;
    struct conf conf;
    struct app app;
    struct request req;
    struct response res;
    struct v2_call call;
    struct field authorization;
};

static const str hosts[] = {STR_INIT("reg.example.com"), STR_INIT("other.example.com:8443")};

static void start(struct fixture *f, enum action action, const char *name)
{
    struct error why;
    *f = (struct fixture){0};
    f->conf.server_hosts = (struct conf_list){hosts, 2};
    f->app.conf = &f->conf;
    f->req = (struct request){.arena = &f->arena,
                              .method = METHOD_GET,
                              .host = STR("localhost:5000"),
                              .local = STR("10.0.0.5:5000")};
    f->call = (struct v2_call){.app = &f->app, .action = action};
    if (name)
        CHECK_INT(name_parse(&f->arena, str_from(name), &f->call.name, &why), OK);
    response_init(&f->res, &f->req);
}

static void end(struct fixture *f)
{
    response_release(&f->res);
    arena_release(&f->arena);
}

static void check(struct fixture *f, const char *want)
{
    challenge_add(&f->res, &f->call);
    CHECK_INT(f->res.header_n, 1);
    CHECK_STR(f->res.headers[0].name, "WWW-Authenticate");
    CHECK_STR(f->res.headers[0].value, want);
    end(f);
}

#define BEARER "Bearer realm=\"http://localhost:5000/service/token\",service=\"berth\""

static void names_the_scope(void)
{
    struct fixture f;
    start(&f, ACTION_PULL, NULL);
    check(&f, BEARER);
    start(&f, ACTION_PULL, "team/app");
    check(&f, BEARER ",scope=\"repository:team/app:pull\"");
    start(&f, ACTION_PUSH, "app"); /* as asked, not library/app */
    check(&f, BEARER ",scope=\"repository:app:pull,push\"");
    start(&f, ACTION_DELETE, "a/b/c");
    check(&f, BEARER ",scope=\"repository:a/b/c:delete\"");
    start(&f, ACTION_CATALOG, NULL);
    check(&f, BEARER ",scope=\"registry:catalog:*\"");
}

static void adds_the_source_of_a_mount(void)
{
    static const struct {
        const char *query, *want;
    } cases[] = {
        {"mount=x&from=b%2Fc", BEARER ",scope=\"repository:a/b:pull,push repository:b/c:pull\""},
        {"from=app", BEARER ",scope=\"repository:a/b:pull,push repository:app:pull\""},
        {"from=a/b", BEARER ",scope=\"repository:a/b:pull,push\""},
        {"from=%22,error=%22", BEARER ",scope=\"repository:a/b:pull,push\""},
        {"from=x%0d%0aSet-Cookie:a", BEARER ",scope=\"repository:a/b:pull,push\""},
        {"from=", BEARER ",scope=\"repository:a/b:pull,push\""},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct fixture f;
        start(&f, ACTION_PUSH, "a/b");
        f.req.method = METHOD_POST;
        f.req.query = str_from(cases[i].query);
        check(&f, cases[i].want);
    }
}

static void tells_what_was_wrong_with_a_token(void)
{
    struct fixture f;
    start(&f, ACTION_PULL, "a/b");
    f.authorization = (struct field){STR("authorization"), STR("bearer x.y.z")};
    f.req.fields = &f.authorization;
    f.req.field_n = 1;
    check(&f, BEARER ",scope=\"repository:a/b:pull\",error=\"invalid_token\"");
    start(&f, ACTION_PULL, "a/b");
    f.authorization = (struct field){STR("authorization"), STR("Bearer x.y.z")};
    f.req.fields = &f.authorization;
    f.req.field_n = 1;
    f.call.who.presented = f.call.who.has_ceiling = true;
    check(&f, BEARER ",scope=\"repository:a/b:pull\",error=\"insufficient_scope\"");
    start(&f, ACTION_PULL, "a/b");
    f.authorization = (struct field){STR("authorization"), STR("Basic Og==")};
    f.req.fields = &f.authorization;
    f.req.field_n = 1;
    check(&f, BEARER ",scope=\"repository:a/b:pull\"");
}

static void trusts_known_hosts_only(void)
{
    static const struct {
        const char *host, *want;
    } cases[] = {
        {"localhost", "http://localhost"},
        {"LocalHost:5000", "http://LocalHost:5000"},
        {"reg.localhost:5000", "http://reg.localhost:5000"},
        {"127.0.0.1:5000", "http://127.0.0.1:5000"},
        {"127.9.9.9", "http://127.9.9.9"},
        {"[::1]:5000", "http://[::1]:5000"},
        {"[::1]", "http://[::1]"},
        {"reg.example.com", "http://reg.example.com"},
        {"REG.example.com:99", "http://REG.example.com:99"},
        {"other.example.com:8443", "http://other.example.com:8443"},
        {"other.example.com", "http://10.0.0.5:5000"},
        {"other.example.com:1", "http://10.0.0.5:5000"},
        {"xreg.example.com", "http://10.0.0.5:5000"},
        {"localhost.example.com", "http://10.0.0.5:5000"},
        {"127.0.0.1.example.com", "http://10.0.0.5:5000"},
        {".localhost", "http://10.0.0.5:5000"},
        {"[::2]:5000", "http://10.0.0.5:5000"},
        {"192.168.1.1:5000", "http://10.0.0.5:5000"},
        {"", "http://10.0.0.5:5000"},
        {"localhost:", "http://10.0.0.5:5000"},
        {"localhost:5000\"", "http://10.0.0.5:5000"},
        {"localhost:99999", "http://10.0.0.5:5000"},
        {"reg.example.com:x", "http://10.0.0.5:5000"},
        {"user@localhost", "http://10.0.0.5:5000"},
        {"localhost/\r\nx", "http://10.0.0.5:5000"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct fixture f;
        start(&f, ACTION_PULL, NULL);
        f.req.host = str_from(cases[i].host);
        CHECK_STR(server_url(&f.conf, &f.req), cases[i].want);
        end(&f);
    }
}

static void follows_scheme_and_configuration(void)
{
    struct fixture f;
    start(&f, ACTION_PULL, NULL);
    f.req.secure = true;
    CHECK_STR(server_url(&f.conf, &f.req), "https://localhost:5000");
    f.conf.server_url = STR("https://registry.example.com");
    f.req.secure = false;
    CHECK_STR(server_url(&f.conf, &f.req), "https://registry.example.com");
    end(&f);
}

TESTS({"names_the_scope", names_the_scope},
      {"adds_the_source_of_a_mount", adds_the_source_of_a_mount},
      {"tells_what_was_wrong_with_a_token", tells_what_was_wrong_with_a_token},
      {"trusts_known_hosts_only", trusts_known_hosts_only},
      {"follows_scheme_and_configuration", follows_scheme_and_configuration});
