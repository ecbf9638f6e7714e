#include "auth/authorization.h"

#include "auth/jws.h"
#include "base/hex.h"

static enum err basic_parse(struct arena *a, str credentials, struct authorization *ret)
{
    str pair, user, password;
    if (credentials.n > BASIC_BYTES_MAX || !base64_decode(a, credentials, &pair) ||
        !str_cut(pair, ':', &user, &password))
        return ERR_UNAUTHORIZED;
    *ret = (struct authorization){0};
    if (user.n || password.n)
        *ret = (struct authorization){
            .scheme = AUTHORIZATION_BASIC, .user = user, .password = password};
    return OK;
}

enum err authorization_parse(struct arena *a, str value, struct authorization *ret)
{
    if (!value.p) {
        *ret = (struct authorization){0};
        return OK;
    }
    str scheme, credentials;
    if (!str_cut(value, ' ', &scheme, &credentials))
        return ERR_UNAUTHORIZED;
    credentials = str_trim(credentials);
    if (str_eq_nocase(scheme, STR("Basic")))
        return basic_parse(a, credentials, ret);
    if (!str_eq_nocase(scheme, STR("Bearer")) || !credentials.n || credentials.n > JWS_BYTES_MAX)
        return ERR_UNAUTHORIZED;
    *ret = (struct authorization){.scheme = AUTHORIZATION_BEARER, .token = credentials};
    return OK;
}
