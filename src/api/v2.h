/* What every handler below /v2/ and /api/berth/v1/ starts with: who asks, about which repository,
 * and may they. */
#pragma once

#include "api/app.h"
#include "registry/name.h"
#include "registry/repository.h"

/* One call's context; request.state while its handler runs. */
struct v2_call {
    struct app *app;
    struct db_conn *conn; /* this worker's reader */
    struct credentials who;
    struct name name; /* empty for routes without a repository */
    enum action action;
    bool refused;    /* a challenge belongs to the answer */
    bool management; /* entered by api_enter */
};

/* The audience of our tokens and the `service` of our challenges. A constant, so that a token stays
 * good whatever name the client reached us by. */
#define V2_SERVICE STR("berth")

/* This is where a request is authorised: verifies the credentials and asks whether they allow
 * `action` on the repository in args[0]. A refusal is ERR_UNAUTHORIZED (with a challenge for the
 * missing scope) or, with a password that was right, ERR_DENIED; a repository that is hidden and
 * one that does not exist are refused alike. */
NODISCARD enum err v2_enter(struct request *req, struct response *res, enum action action,
                            struct v2_call **ret);
/* The same below /api/berth/v1/, whose callers are people and their tools: ERR_UNAUTHORIZED, with a
 * Basic challenge, to who did not log in, ERR_DENIED to who did and may not. */
NODISCARD enum err api_enter(struct request *req, struct response *res, enum action action,
                             struct v2_call **ret);
/* The same for routes of administrators, without a repository. */
NODISCARD enum err api_enter_admin(struct request *req, struct response *res, struct v2_call **ret);
/* The same below /v2/ for routes without a repository: any valid credentials, or none if anonymous
 * access is configured, will do. */
NODISCARD enum err v2_enter_registry(struct request *req, struct response *res, enum action action,
                                     struct v2_call **ret);

/* For handlers that only read: from here to the handle's end all statements see one state, and cost
 * a third of what they cost alone. Taken before v2_enter, so that nobody is shown what was stored
 * after his right to see it had ended. A password that has to be computed ends that state and
 * begins another: nothing is read before v2_enter. */
struct db_snapshot v2_snapshot(const struct request *req);

/* A sink's finish runs on another worker than its handler did: takes that one's reader. */
void v2_resume(struct v2_call *call, const struct request *req);

/* Digest in a path or query. ERR_DIGEST_INVALID with a message. */
NODISCARD enum err v2_digest(struct request *req, str text, struct digest *ret);

/* Before content is taken: ERR_NO_SPACE with a message while storage.reserve is not free. */
NODISCARD enum err v2_check_space(struct request *req);

/* Page size from `n`: ERR_PAGE_INVALID unless it is a whole number; cut to limits.page. */
NODISCARD enum err v2_page_size(struct request *req, size_t *ret);
/* Link header to the next page (RFC 8288), path-only, with `last` percent-encoded. */
void v2_link_next(struct response *res, str path, size_t n, str last);

/* A list as of now: 200 with a copy of `body`, an entity tag made from it, and the wish to be asked
 * again; or what the request's conditions make of it (response_entity). */
NODISCARD enum err v2_answer_document(struct response *res, str type, str body);

/* Whether the one who asks might push here, be it with another token than this one. */
bool v2_may_push(const struct v2_call *call);

/* Who makes repositories and tags in this call. */
struct maker v2_maker(const struct v2_call *call);
