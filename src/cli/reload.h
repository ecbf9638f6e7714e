/* Reading the configuration again while the server runs (SIGHUP). Used by the main thread only. */
#pragma once

#include "api/app.h"
#include "cli/confine.h"
#include "cli/flags.h"
#include "cli/serve_tls.h"

struct reload {
    const struct flags *flags;  /* as the program was started */
    const struct conf *started; /* by what all runs that cannot change */
    struct app *app;
    struct serve_tls *tls;
    const struct confinement *confinement;
    struct arena arena; /* of conf */
    struct conf conf;   /* as last read; unused before the first time */
    bool read;
};

/* Reads the sources of the configuration again, applies the options that are flagged RELOAD, and
 * names in the log each other one that has changed. A configuration that is not valid changes
 * nothing. Certificates are read again in any case. */
void reload_run(struct reload *r);
void reload_release(struct reload *r);
