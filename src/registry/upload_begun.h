/* Uploads that were begun and to which nothing was added yet. Their rows are not written until
 * something is: most uploads are of one small blob and over within milliseconds, and a commit to
 * say that one has begun costs them as much as the one that ends it. So a crash forgets uploads
 * that hold nothing; a stop does not (upload_keep_begun).
 *
 * An upload is either here or has a row, for its whole life. Its row is committed before it leaves
 * here, so who looks here first and then, in no older snapshot, for a row does not miss it on its
 * way. Which of the two only changes while the upload is checked out (blob/upload_state.h).
 *
 * All functions may be called from any thread and never block on the disk. */
#pragma once

#include "base/hex.h"
#include "blob/digest.h"

struct upload_begun_table;

/* What its row will hold. */
struct upload_begun {
    char uuid[UUID_LEN];
    enum digest_algorithm algorithm;
    str full_name, principal;
    int64_t begun_us, touched_us; /* wall clock */
};

struct upload_begun_table *upload_begun_table_new(void);
/* NULL-safe. */
void upload_begun_table_free(struct upload_begun_table *t);

/* Copies `what`; its uuid is a fresh one. How many there may be is for the caller to bound. */
void upload_begun_add(struct upload_begun_table *t, const struct upload_begun *what);
/* Whether it is here, whoever asks. */
bool upload_begun_has(struct upload_begun_table *t, str uuid);
/* Whether it is here, of this principal in this repository; ret->full_name and principal are the
 * caller's own texts. */
NODISCARD bool upload_begun_find(struct upload_begun_table *t, str uuid, str full_name,
                                 str principal, struct upload_begun *ret);
/* Somebody has been at it. Fine when it is not here. */
void upload_begun_touch(struct upload_begun_table *t, str uuid, int64_t now_us);
/* It has ended, or has a row. False when it was not here. */
bool upload_begun_remove(struct upload_begun_table *t, str uuid);
/* Removes it if nobody has touched it since `until_us`. False when it is not here, or was not
 * idle. */
bool upload_begun_expire(struct upload_begun_table *t, str uuid, int64_t until_us);
/* Up to `max` of those that nobody has touched since `until_us`, without the first `skip` of them;
 * longest idle first. Returns how many. */
size_t upload_begun_idle(struct upload_begun_table *t, int64_t until_us, size_t skip,
                         char (*uuids)[UUID_LEN], size_t max);
/* Removes the one that is idle for longest; texts are copied to the arena. False when none is
 * left. */
NODISCARD bool upload_begun_take(struct upload_begun_table *t, struct arena *a,
                                 struct upload_begun *ret);
