/* Private to tls*.c. */
#pragma once

#include "net/tls.h"

#include <errno.h>
#include <stdlib.h>

/* A session with what is loaded now. Any thread. */
struct ssl_st *tls_session(struct tls *t);
