#include "auth/password.h"
#include "base/test.h"

#include <crypt.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

static atomic_ullong work; /* the sum of 2^cost */

/* In place of libcrypt's. */
char *crypt_rn(const char *phrase, const char *setting, void *data, int size)
{
    CHECK(size >= (int)sizeof(struct crypt_data));
    char *hash = crypt_r(phrase, setting, data);
    if (hash[0] == '*')
        return NULL;
    atomic_fetch_add(&work, 1ULL << strtoul(setting + 4, NULL, 10));
    return hash;
}

/* "U*U" under the salt of all zero bits: the first vector of the crypt_blowfish test suite. */
static const char *const VECTOR = "$2a$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW";

/* The empty password under the same salt, as some other program might have stored it. */
static const char *const EMPTY = "$2a$05$CCCCCCCCCCCCCCCCCCCCC.7uG0VCzI2bS7j6ymqJi9CdcdxiRTWNy";

static struct passwords *fresh(uint64_t cache_ms)
{
    return passwords_new(&(struct password_config){
        .cost = 4, .checks_max = 2, .queue_max = 8, .cache_ms = cache_ms});
}

static enum err check(struct passwords *p, const char *hash, str password, uint64_t now_ms)
{
    struct password_attempt attempt = {
        .user = 7, .epoch = 1, .hash = str_from(hash), .password = password};
    return passwords_check(p, &attempt, now_ms);
}

static void verifies_a_known_vector(void)
{
    struct passwords *p = fresh(0);
    CHECK_INT(check(p, VECTOR, STR("U*U"), 0), OK);
    CHECK_INT(check(p, VECTOR, STR("U*V"), 0), ERR_UNAUTHORIZED);
    passwords_free(p);
}

static void hashes(void)
{
    char one[PASSWORD_HASH_MAX + 1], two[PASSWORD_HASH_MAX + 1];
    CHECK_INT(password_hash(STR("correct horse"), 4, one), OK);
    CHECK_INT(password_hash(STR("correct horse"), 4, two), OK);
    CHECK(str_starts(str_from(one), STR("$2b$04$")));
    CHECK(strcmp(one, two) != 0);
    struct passwords *p = fresh(0);
    CHECK_INT(check(p, one, STR("correct horse"), 0), OK);
    CHECK_INT(check(p, one, STR("correct horsf"), 0), ERR_UNAUTHORIZED);
    passwords_free(p);
}

static void refuses_what_bcrypt_would_cut(void)
{
    char long_password[73], hash[PASSWORD_HASH_MAX + 1];
    memset(long_password, 'x', sizeof long_password);
    CHECK_INT(password_hash(str_make(long_password, 73), 4, hash), ERR_LIMIT);
    CHECK_INT(password_hash(STR("a\0b"), 4, hash), ERR_LIMIT);
    CHECK_INT(password_hash(STR(""), 4, hash), ERR_BAD_REQUEST);
    CHECK_INT(password_hash(str_make(long_password, 72), 4, hash), OK);
    struct passwords *p = fresh(0);
    CHECK_INT(check(p, hash, str_make(long_password, 72), 0), OK);
    CHECK_INT(check(p, hash, str_make(long_password, 73), 0), ERR_UNAUTHORIZED);
    CHECK_INT(password_hash(STR("a"), 4, hash), OK);
    CHECK_INT(check(p, hash, STR("a\0b"), 0), ERR_UNAUTHORIZED);
    CHECK_INT(check(p, EMPTY, STR(""), 0), ERR_UNAUTHORIZED);
    passwords_free(p);
}

static void unknown_users_cost_a_computation(void)
{
    struct passwords *p = fresh(1000);
    CHECK_INT(check(p, NULL, STR("anything"), 0), ERR_UNAUTHORIZED);
    CHECK_INT(passwords_counts(p).dummies, 1);
    CHECK_INT(check(p, VECTOR, STR("wrong"), 0), ERR_UNAUTHORIZED);
    CHECK_INT(passwords_counts(p).computed, 1);
    CHECK_INT(passwords_counts(p).dummies, 1);
    /* Hashes that are not bcrypt's match nothing, and are no faster. */
    CHECK_INT(check(p, "", STR("x"), 0), ERR_UNAUTHORIZED);
    CHECK_INT(check(p, "!", STR("x"), 0), ERR_UNAUTHORIZED);
    CHECK_INT(check(p, "$2b$04$short", STR("x"), 0), ERR_UNAUTHORIZED);
    CHECK_INT(check(p, "$1$abc$BXBqpb9BZcZhXLgbee.0s/", STR("x"), 0), ERR_UNAUTHORIZED);
    CHECK_INT(passwords_counts(p).dummies, 5);
    passwords_free(p);
}

/* The time must not tell that there is a user, whatever his hash once cost. */
static void wrong_passwords_cost_what_unknown_users_do(void)
{
    enum { COST = 10 };
    struct passwords *p = passwords_new(
        &(struct password_config){.cost = COST, .checks_max = 2, .queue_max = 8, .cache_ms = 1000});
    char hash[PASSWORD_HASH_MAX + 1];
    for (unsigned cost = 4; cost <= COST; cost++) {
        CHECK_INT(password_hash(STR("right"), cost, hash), OK);
        CHECK(str_starts(str_from(hash), cost < 10 ? STR("$2b$0") : STR("$2b$10")));
        atomic_store(&work, 0);
        CHECK_INT(check(p, hash, STR("wrong"), 0), ERR_UNAUTHORIZED);
        CHECK_INT(atomic_load(&work), 1 << COST);
        atomic_store(&work, 0);
        CHECK_INT(check(p, hash, STR("right"), cost * 1000), OK);
        CHECK_INT(atomic_load(&work), 1 << cost);
    }
    const char *const none[] = {NULL, "", "!", "$2b$04$short"};
    for (size_t i = 0; i < sizeof none / sizeof none[0]; i++) {
        atomic_store(&work, 0);
        CHECK_INT(check(p, none[i], STR("wrong"), 0), ERR_UNAUTHORIZED);
        CHECK_INT(atomic_load(&work), 1 << COST);
    }
    passwords_free(p);
}

static void remembers_only_right_ones(void)
{
    struct passwords *p = fresh(1000);
    CHECK_INT(check(p, VECTOR, STR("U*U"), 0), OK);
    CHECK_INT(check(p, VECTOR, STR("U*U"), 999), OK);
    CHECK_INT(passwords_counts(p).computed, 1);
    CHECK_INT(passwords_counts(p).cached, 1);
    CHECK_INT(check(p, VECTOR, STR("U*U"), 1000), OK); /* expired */
    CHECK_INT(passwords_counts(p).computed, 2);
    CHECK_INT(check(p, VECTOR, STR("no"), 1), ERR_UNAUTHORIZED);
    CHECK_INT(check(p, VECTOR, STR("no"), 1), ERR_UNAUTHORIZED);
    CHECK_INT(passwords_counts(p).computed, 4);
    passwords_free(p);
}

static void verdicts_belong_to_user_and_epoch(void)
{
    struct passwords *p = fresh(1000);
    struct password_attempt attempt = {
        .user = 7, .epoch = 1, .hash = str_from(VECTOR), .password = STR("U*U")};
    CHECK_INT(passwords_check(p, &attempt, 0), OK);
    attempt.epoch = 2;
    CHECK_INT(passwords_check(p, &attempt, 0), OK);
    attempt.user = 8;
    CHECK_INT(passwords_check(p, &attempt, 0), OK);
    CHECK_INT(passwords_counts(p).computed, 3);
    CHECK_INT(passwords_counts(p).cached, 0);
    passwords_free(p);
}

static struct passwords *shared;

static void *check_shared(void *arg)
{
    enum err *ret = arg;
    *ret = check(shared, VECTOR, STR("U*U"), 0);
    return NULL;
}

/* Six callers, two places, room for eight: all pass, and those who waited were answered by the
 * verdict of those before them. */
static void parallel_checks_share_a_verdict(void)
{
    enum { N = 6 };
    pthread_t threads[N];
    enum err results[N];
    shared = fresh(1000);
    for (int i = 0; i < N; i++)
        CHECK(pthread_create(&threads[i], NULL, check_shared, &results[i]) == 0);
    for (int i = 0; i < N; i++) {
        pthread_join(threads[i], NULL);
        CHECK_INT(results[i], OK);
    }
    struct password_counts counts = passwords_counts(shared);
    CHECK(counts.computed >= 1 && counts.computed <= 2);
    CHECK_INT(counts.computed + counts.cached, N);
    passwords_free(shared);
}

static void full_queue_refuses(void)
{
    struct passwords *p =
        passwords_new(&(struct password_config){.cost = 4, .checks_max = 0, .queue_max = 0});
    CHECK_INT(check(p, VECTOR, STR("U*U"), 0), ERR_TOO_MANY_REQUESTS);
    CHECK_INT(passwords_counts(p).refused, 1);
    passwords_free(p);
}

TESTS({"verifies_a_known_vector", verifies_a_known_vector}, {"hashes", hashes},
      {"refuses_what_bcrypt_would_cut", refuses_what_bcrypt_would_cut},
      {"unknown_users_cost_a_computation", unknown_users_cost_a_computation},
      {"wrong_passwords_cost_what_unknown_users_do", wrong_passwords_cost_what_unknown_users_do},
      {"remembers_only_right_ones", remembers_only_right_ones},
      {"verdicts_belong_to_user_and_epoch", verdicts_belong_to_user_and_epoch},
      {"parallel_checks_share_a_verdict", parallel_checks_share_a_verdict},
      {"full_queue_refuses", full_queue_refuses});
