#pragma once
/* Asking before something is done that cannot be undone. */
#include <stdbool.h>

#include "daemon/wherryctl/commands.h"

/* Asks TEXT with "(Y/n)" or, where UNSURE, "(y/N)"; 0: yes. --yes and --force answer so, and --non-interactive where it
 * is the default. Otherwise the exit status: no, or nobody is there to answer, which is said. */
int ask(const Options *options, const char *text, bool unsure);
