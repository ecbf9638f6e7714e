#include "cli/welcome.h"

#include <stdio.h>
#include <unistd.h>

/* The host[:port] to give to clients: that of `url`, else the listener's, with a wildcard address
 * replaced by the loopback one; empty when there are only unix sockets. */
static str host_of(const struct welcome *w, struct arena *a)
{
    str rest = w->url;
    if (str_starts(rest, STR("http://")))
        return str_skip(rest, 7);
    if (str_starts(rest, STR("https://")))
        return str_skip(rest, 8);
    if (str_starts(w->address, STR("unix:")))
        return STR("");
    size_t colon = str_rfind(w->address, ':');
    str host = str_first(w->address, colon), port = str_skip(w->address, colon + 1);
    if (str_eq(host, STR("0.0.0.0")) || str_eq(host, STR("[::]")))
        return arena_printf(a, "127.0.0.1:%.*s", STR_ARG(port));
    return w->address;
}

static void print_login(const struct welcome *w, str host)
{
    if (w->open_to_all)
        printf("  Anyone may push and pull; no login is needed.\n\n");
    else if (w->password.p && isatty(STDOUT_FILENO))
        printf("    echo %.*s | docker login -u admin --password-stdin %.*s\n",
               STR_ARG(w->password), STR_ARG(host));
    else if (w->password.p)
        printf("    docker login -u admin --password-stdin %.*s < %.*s/admin-password\n",
               STR_ARG(host), STR_ARG(w->data));
    else
        printf("    docker login -u admin %.*s\n", STR_ARG(host));
}

/* Port 443 is left out of names of registries. */
static void print_trust(str host, str cert)
{
    if (str_ends(host, STR(":443")))
        host.n -= 4;
    printf("  Its certificate is self-signed. docker trusts it after, as root,\n\n"
           "    mkdir -p /etc/docker/certs.d/%.*s\n"
           "    cp %.*s /etc/docker/certs.d/%.*s/ca.crt\n\n"
           "  and podman, buildah and skopeo after the same in /etc/containers/certs.d.\n\n",
           STR_ARG(host), STR_ARG(cert), STR_ARG(host));
}

bool welcome_print(const struct welcome *w, struct arena *a)
{
    str host = host_of(w, a);
    const char *scheme = w->url.n || !host.n ? "" : w->secure ? "https://" : "http://";
    printf("\nBerth " BERTH_VERSION " serves %s%.*s (data in %.*s)\n\n", scheme,
           STR_ARG(w->url.n ? w->url
                   : host.n ? host
                            : w->address),
           STR_ARG(w->data));
    if (w->self_signed.n && host.n)
        print_trust(host, w->self_signed);
    if (w->password.p && isatty(STDOUT_FILENO))
        printf("  The password of the user admin is shown this once:  %.*s\n\n",
               STR_ARG(w->password));
    if (host.n) {
        print_login(w, host);
        printf("    docker tag IMAGE %.*s/library/IMAGE\n"
               "    docker push %.*s/library/IMAGE\n\n",
               STR_ARG(host), STR_ARG(host));
    }
    printf("  Ctrl-C stops it; everything acknowledged stays.\n\n");
    return fflush(stdout) == 0 && !ferror(stdout);
}
