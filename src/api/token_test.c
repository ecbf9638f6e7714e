#include "api/app.h"
#include "api/routes.h"
#include "auth/auth_fixture.h"
#include "auth/password.h"
#include "base/clock.h"
#include "base/hex.h"
#include "json/read.h"

/* One exchange with the token endpoint. */
struct exchange {
    struct request req;
    struct response res;
    struct field field;
    enum err err;
    json_t *claims; /* of the token in the answer */
    str body;
};

static void open_registry(struct fixture *f, const char *name)
{
    char hash[PASSWORD_HASH_MAX + 1];
    fixture_open(f, name, &fixture_config);
    CHECK_INT(password_hash(STR("wonderland"), 4, hash), OK);
    fixture_sql(f, arena_printf(&f->arena,
                                "INSERT INTO user (id, name, password_hash, created_at) "
                                "VALUES (2, 'alice', '%s', 0);"
                                "DELETE FROM project;"
                                "INSERT INTO project (name, public, created_at, created_by) "
                                "VALUES ('library', 1, 0, ''), ('team', 0, 0, '')",
                                hash)
                       .p);
}

static const struct route *route(enum method method, const char *pattern)
{
    const struct route *r = token_routes;
    while (r->pattern && (r->method != method || strcmp(r->pattern, pattern) != 0))
        r++;
    return r;
}

static str value_of(const struct exchange *x, const char *header)
{
    for (size_t i = 0; i < x->res.header_n; i++)
        if (str_eq(x->res.headers[i].name, str_from(header)))
            return x->res.headers[i].value;
    return (str){0};
}

static void read_claims(struct exchange *x, struct arena *a)
{
    JSON_CLEANUP json_t *body = NULL;
    str why, token, head, rest, payload, signature, json;
    CHECK_INT(json_read(a, x->body, &body, &why), OK);
    if (!json_member_str(body, "token", &token))
        return;
    str_cut(token, '.', &head, &rest);
    str_cut(rest, '.', &payload, &signature);
    CHECK(base64url_decode(a, payload, &json));
    CHECK_INT(json_read(a, json, &x->claims, &why), OK);
}

static void ask_by(struct fixture *f, struct exchange *x, enum method method, const char *query,
                   const char *credentials)
{
    static struct app app;
    app = (struct app){.db = f->db, .auth = f->auth};
    *x = (struct exchange){
        .req = {.arena = &f->arena, .method = method, .query = str_from(query), .app = &app}};
    if (credentials) {
        x->field = (struct field){STR("authorization"), str_from(credentials)};
        x->req.fields = &x->field;
        x->req.field_n = 1;
    }
    response_init(&x->res, &x->req);
    x->err = route(METHOD_GET, "/service/token")->handler(&x->req, &x->res);
    if (x->err)
        return;
    x->body = x->res.first->memory;
    read_claims(x, &f->arena);
}

static void ask(struct fixture *f, struct exchange *x, const char *query, const char *credentials)
{
    ask_by(f, x, METHOD_GET, query, credentials);
}

#define FORM "application/x-www-form-urlencoded"

static void post(struct fixture *f, struct exchange *x, const char *path, const char *type,
                 str form)
{
    static struct app app;
    app = (struct app){.db = f->db, .auth = f->auth};
    *x = (struct exchange){
        .req = {.arena = &f->arena, .method = METHOD_POST, .body = form, .app = &app},
        .field = {STR("content-type"), str_from(type)},
    };
    x->req.fields = &x->field;
    x->req.field_n = type ? 1 : 0;
    response_init(&x->res, &x->req);
    x->err = route(METHOD_POST, path)->handler(&x->req, &x->res);
    CHECK_INT(x->err, OK);
    x->body = x->res.first->memory;
    if (x->res.status == 200)
        read_claims(x, &f->arena);
}

/* A member of the answer, or "absent". */
static str member(const struct exchange *x, const char *name)
{
    JSON_CLEANUP json_t *body = NULL;
    str why, value;
    struct arena *a = x->req.arena;
    CHECK_INT(json_read(a, x->body, &body, &why), OK);
    return json_member_str(body, name, &value) ? arena_str(a, value) : STR("absent");
}

static void done(struct exchange *x)
{
    json_decref(x->claims);
    response_release(&x->res);
}

#define ALICE "Basic YWxpY2U6d29uZGVybGFuZA=="

/* "name:actions name:actions", as the token has them. */
static void check_access(struct fixture *f, const char *query, const char *credentials,
                         const char *want)
{
    struct exchange x;
    ask(f, &x, query, credentials);
    CHECK_INT(x.err, OK);
    str got = STR("");
    const json_t *access = json_member(x.claims, "access");
    for (size_t i = 0; i < json_array_size(access); i++) {
        const json_t *entry = json_array_get(access, i), *actions = json_member(entry, "actions");
        str name = STR("?");
        json_member_str(entry, "name", &name);
        got = arena_printf(&f->arena, "%.*s%s%.*s:", STR_ARG(got), i ? " " : "", STR_ARG(name));
        for (size_t j = 0; j < json_array_size(actions); j++)
            got = arena_printf(&f->arena, "%.*s%s%s", STR_ARG(got), j ? "," : "",
                               json_string_value(json_array_get(actions, j)));
    }
    CHECK_STR(got, want);
    done(&x);
}

static void grants_what_is_asked_and_allowed(void)
{
    struct fixture f;
    open_registry(&f, "grants");
    check_access(&f, "", ALICE, "");
    check_access(&f, "service=berth&account=alice&offline_token=true&scope=repository:alice/a:*",
                 ALICE, "alice/a:pull,push,delete");
    check_access(&f, "scope=repository%3Aalice%2Fa%3Apush%2Cpull", ALICE, "alice/a:pull,push");
    check_access(&f, "scope=repository:team/a:pull,push", ALICE, "");
    check_access(&f, "scope=repository:ghost/a:pull", ALICE, "");
    check_access(&f, "scope=repository:app:pull,push", ALICE, "app:pull");
    check_access(&f, "scope=repository:alice/a:pull+repository:app:pull&scope=registry:catalog:*",
                 ALICE, "alice/a:pull app:pull catalog:*");
    check_access(&f, "scope=junk&scope=&scope=repository:A:pull&scope=repository:alice/a:push",
                 ALICE, "alice/a:push");
    fixture_close(&f);
}

static void serves_anonymous(void)
{
    struct fixture f;
    struct exchange x;
    open_registry(&f, "anonymous");
    check_access(&f, "scope=repository:app:pull,push+repository:team/a:pull", NULL, "app:pull");
    check_access(&f, "scope=repository:app:pull", "Basic Og==", "app:pull");
    ask(&f, &x, "account=alice", NULL);
    CHECK_INT(x.err, OK);
    str subject = STR("?");
    CHECK(json_member_str(x.claims, "sub", &subject));
    CHECK_STR(subject, "");
    done(&x);
    fixture_close(&f);
}

static void answers_as_clients_expect(void)
{
    struct fixture f;
    struct exchange x;
    open_registry(&f, "shape");
    ask(&f, &x, "service=other&scope=repository:alice/a:pull", ALICE);
    CHECK_INT(x.err, OK);
    CHECK_INT(x.res.status, 200);
    CHECK_STR(value_of(&x, "Cache-Control"), "no-store");
    CHECK_STR(value_of(&x, "Content-Type"), "application/json");
    CHECK_STR(x.req.log_principal, "alice");
    JSON_CLEANUP json_t *body = NULL;
    str why, token = {0}, access_token = {0}, at = {0};
    int64_t expires_in = 0;
    CHECK_INT(json_read(&f.arena, x.body, &body, &why), OK);
    CHECK_INT(json_object_size(body), 4);
    CHECK(json_member_str(body, "token", &token) && token.n);
    CHECK(json_member_str(body, "access_token", &access_token) && str_eq(token, access_token));
    CHECK(json_member_int(body, "expires_in", &expires_in));
    CHECK_INT(expires_in, 300);
    CHECK(json_member_str(body, "issued_at", &at) && at.n == CLOCK_RFC3339_LEN);
    CHECK_STR(str_skip(at, 19), ".000000Z");
    str audience = {0};
    CHECK(json_member_str(x.claims, "aud", &audience));
    CHECK_STR(audience, "berth");
    done(&x);
    fixture_close(&f);
}

static void refuses_wrong_credentials(void)
{
    static const struct {
        const char *credentials, *message;
    } cases[] = {
        {"Basic YWxpY2U6d3Jvbmc=", "wrong user name or password"},
        {"Basic bm9ib2R5Ondyb25n", "wrong user name or password"},
        {"basic !!!", "wrong user name or password"},
        {"Basic OnNlY3JldA==", "wrong user name or password"},
        {"Bearer x.y.z", "tokens are given for a user name and password"},
        {"", "tokens are given for a user name and password"},
    };
    struct fixture f;
    open_registry(&f, "refuses");
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct exchange x;
        ask(&f, &x, "scope=repository:app:pull", cases[i].credentials);
        CHECK_INT(x.err, ERR_UNAUTHORIZED);
        CHECK_STR(x.req.error.message, cases[i].message);
        CHECK_STR(value_of(&x, "WWW-Authenticate"), "Basic realm=\"Berth\",charset=\"UTF-8\"");
        CHECK_INT(x.req.log_principal.n, 0);
        done(&x);
    }
    fixture_close(&f);
}

/* A token cannot be traded for a longer or a wider one. */
static void takes_no_token_for_a_token(void)
{
    struct fixture f;
    struct exchange x;
    open_registry(&f, "trade");
    ask(&f, &x, "", ALICE);
    JSON_CLEANUP json_t *body = NULL;
    str why, token = {0};
    CHECK_INT(json_read(&f.arena, x.body, &body, &why), OK);
    CHECK(json_member_str(body, "token", &token));
    str bearer = arena_printf(&f.arena, "Bearer %.*s", STR_ARG(token));
    done(&x);
    ask(&f, &x, "scope=repository:alice/a:pull", bearer.p);
    CHECK_INT(x.err, ERR_UNAUTHORIZED);
    done(&x);
    fixture_close(&f);
}

static void publishes_its_keys(void)
{
    struct fixture f;
    struct exchange x;
    open_registry(&f, "jwks");
    ask(&f, &x, "", NULL);
    response_clear(&x.res);
    CHECK_INT(route(METHOD_GET, "/service/jwks")->handler(&x.req, &x.res), OK);
    CHECK_INT(x.res.status, 200);
    CHECK(str_eq(x.res.first->memory, auth_jwks(f.auth, &f.arena)));
    done(&x);
    fixture_close(&f);
}

static void posts_a_password(void)
{
    struct fixture f;
    struct exchange x;
    open_registry(&f, "password");
    static const char *const types[] = {FORM, FORM "; charset=utf-8",
                                        "Application/X-WWW-Form-urlencoded ;charset=UTF-8"};
    for (size_t i = 0; i < 3; i++) {
        post(&f, &x, "/service/token", types[i],
             STR("grant_type=password&service=berth&client_id=oras-go&username=alice"
                 "&password=wonder%6cand&scope=repository:alice/a:pull,push+repository:app:*"));
        CHECK_INT(x.res.status, 200);
        CHECK_STR(member(&x, "scope"), "repository:alice/a:pull,push repository:app:pull");
        CHECK(str_eq(member(&x, "access_token"), member(&x, "token")));
        CHECK_STR(member(&x, "token_type"), "Bearer");
        CHECK_STR(member(&x, "refresh_token"), "absent");
        CHECK(member(&x, "issued_at").n == CLOCK_RFC3339_LEN);
        CHECK_STR(value_of(&x, "Cache-Control"), "no-store");
        CHECK_STR(value_of(&x, "Pragma"), "no-cache");
        CHECK_STR(x.req.log_principal, "alice");
        str subject = {0};
        CHECK(json_member_str(x.claims, "sub", &subject));
        CHECK_STR(subject, "alice");
        done(&x);
    }
    /* Repeated scopes; more than are granted, spread over more fields. */
    str form = STR("grant_type=password&username=alice&password=wonderland");
    for (int i = 0; i < 2 * GRANTS_MAX; i++)
        form = arena_printf(&f.arena, "%.*s&scope=junk", STR_ARG(form));
    form = arena_printf(&f.arena, "%.*s&scope=repository:app:pull&scope=repository:alice/a:pull",
                        STR_ARG(form));
    post(&f, &x, "/service/token", FORM, form);
    CHECK_STR(member(&x, "scope"), "repository:app:pull repository:alice/a:pull");
    done(&x);
    fixture_close(&f);
}

static void refreshes(void)
{
    struct fixture f;
    struct exchange x;
    open_registry(&f, "refresh");
    post(&f, &x, "/service/token", FORM,
         STR("grant_type=password&username=alice&password=wonderland&access_type=offline"));
    str token = member(&x, "refresh_token");
    CHECK_INT(token.n, REFRESH_TOKEN_LEN);
    CHECK_STR(member(&x, "scope"), "");
    done(&x);
    str form = arena_printf(&f.arena,
                            "grant_type=refresh_token&client_id=docker&access_type=offline"
                            "&scope=repository:alice/a:push&refresh_token=%.*s",
                            STR_ARG(token));
    for (int i = 0; i < 3; i++) {
        post(&f, &x, "/service/token", FORM, form);
        CHECK_INT(x.res.status, 200);
        CHECK(str_eq(member(&x, "refresh_token"), token));
        CHECK_STR(member(&x, "scope"), "repository:alice/a:push");
        CHECK_STR(x.req.log_principal, "alice");
        done(&x);
    }
    form = arena_printf(&f.arena, "token_type_hint=access_token&token=%.*s", STR_ARG(token));
    for (int i = 0; i < 2; i++) {
        post(&f, &x, "/service/token/revoke", FORM, form);
        CHECK_INT(x.res.status, 200);
        CHECK_STR(x.body, "{}\n");
        done(&x);
    }
    post(&f, &x, "/service/token", FORM,
         arena_printf(&f.arena, "grant_type=refresh_token&refresh_token=%.*s", STR_ARG(token)));
    CHECK_INT(x.res.status, 401);
    CHECK_STR(member(&x, "error"), "invalid_grant");
    done(&x);
    fixture_close(&f);
}

static void gives_refresh_tokens_by_get(void)
{
    static const struct {
        const char *query, *credentials;
        enum method method;
        bool given;
    } cases[] = {
        {"offline_token=true&client_id=docker", ALICE, METHOD_GET, true},
        {"offline_token=true", ALICE, METHOD_GET, true},
        {"offline_token=true", ALICE, METHOD_HEAD, false},
        {"offline_token=false", ALICE, METHOD_GET, false},
        {"offline_token=", ALICE, METHOD_GET, false},
        {"", ALICE, METHOD_GET, false},
        {"offline_token=true", NULL, METHOD_GET, false},
        {"offline_token=true", "Basic Og==", METHOD_GET, false},
    };
    struct fixture f;
    open_registry(&f, "offline");
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct exchange x;
        ask_by(&f, &x, cases[i].method, cases[i].query, cases[i].credentials);
        CHECK_INT(x.err, OK);
        str token = member(&x, "refresh_token");
        CHECK_INT(token.n, cases[i].given ? REFRESH_TOKEN_LEN : 6);
        done(&x);
        if (!cases[i].given)
            continue;
        post(&f, &x, "/service/token", FORM,
             arena_printf(&f.arena, "grant_type=refresh_token&refresh_token=%.*s", STR_ARG(token)));
        CHECK_INT(x.res.status, 200);
        done(&x);
    }
    fixture_close(&f);
}

static void refuses_forms(void)
{
    static const struct {
        const char *path, *type, *form;
        int status;
        const char *error, *message;
    } cases[] = {
        {"/service/token", FORM, "grant_type=password&username=alice&password=wrong", 401,
         "invalid_grant", "wrong user name or password"},
        {"/service/token", FORM, "grant_type=password&username=nobody&password=wrong", 401,
         "invalid_grant", "wrong user name or password"},
        {"/service/token", FORM, "grant_type=refresh_token&refresh_token=x", 401, "invalid_grant",
         "the refresh token was revoked, was not used for too long, or is from before the password "
         "changed: log in again"},
        {"/service/token", FORM, "grant_type=password&username=alice", 400, "invalid_request",
         "the grant password needs username and password"},
        {"/service/token", FORM, "grant_type=password&username=&password=x", 400, "invalid_request",
         "the grant password needs username and password"},
        {"/service/token", FORM, "grant_type=refresh_token", 400, "invalid_request",
         "the grant refresh_token needs refresh_token"},
        {"/service/token", FORM, "", 400, "invalid_request", "grant_type is missing"},
        {"/service/token", FORM, "grant_type=&username=alice&password=wonderland", 400,
         "invalid_request", "grant_type is missing"},
        {"/service/token", FORM, "grant_type=authorization_code&code=x", 400,
         "unsupported_grant_type", "grant_type must be password or refresh_token"},
        {"/service/token", FORM, "grant_type=PASSWORD&username=alice&password=wonderland", 400,
         "unsupported_grant_type", "grant_type must be password or refresh_token"},
        {"/service/token", FORM,
         "grant_type=password&username=alice&password=wonderland&password=x", 400,
         "invalid_request", "password is given twice"},
        {"/service/token", NULL, "grant_type=password&username=alice&password=wonderland", 400,
         "invalid_request", "the body must be a form: application/x-www-form-urlencoded"},
        {"/service/token", "application/json", "{\"grant_type\":\"password\"}", 400,
         "invalid_request", "the body must be a form: application/x-www-form-urlencoded"},
        {"/service/token", FORM "x", "grant_type=password", 400, "invalid_request",
         "the body must be a form: application/x-www-form-urlencoded"},
        {"/service/token/revoke", FORM, "", 400, "invalid_request", "token is missing"},
        {"/service/token/revoke", FORM, "token=a.b.c", 400, "unsupported_token_type",
         "access tokens cannot be revoked; they end by themselves in minutes"},
    };
    struct fixture f;
    open_registry(&f, "forms");
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct exchange x;
        post(&f, &x, cases[i].path, cases[i].type, str_from(cases[i].form));
        CHECK_INT(x.res.status, cases[i].status);
        CHECK_STR(member(&x, "error"), cases[i].error);
        CHECK_STR(member(&x, "error_description"), cases[i].message);
        CHECK(str_starts(x.body, STR("{\"errors\":[{\"code\":\"")));
        CHECK_STR(value_of(&x, "Cache-Control"), "no-store");
        CHECK_STR(value_of(&x, "WWW-Authenticate"),
                  cases[i].status == 401 ? "Basic realm=\"Berth\",charset=\"UTF-8\"" : "");
        CHECK_INT(x.req.log_principal.n, 0);
        done(&x);
    }
    fixture_close(&f);
}

TESTS({"grants_what_is_asked_and_allowed", grants_what_is_asked_and_allowed},
      {"serves_anonymous", serves_anonymous},
      {"answers_as_clients_expect", answers_as_clients_expect},
      {"refuses_wrong_credentials", refuses_wrong_credentials},
      {"takes_no_token_for_a_token", takes_no_token_for_a_token},
      {"posts_a_password", posts_a_password}, {"refreshes", refreshes},
      {"gives_refresh_tokens_by_get", gives_refresh_tokens_by_get},
      {"refuses_forms", refuses_forms}, {"publishes_its_keys", publishes_its_keys});
